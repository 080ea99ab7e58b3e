"""A team's store: MLflow's server on PostgreSQL, with a path prefix and sign-in, behind TLS, with artifacts apart."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gpt_experiments import names
from gpt_experiments.cli import program
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import TrackingError
from gpt_experiments.records import TrialRecord
from gpt_experiments.sweep.definition_file import load_definition
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.connection import resolve_uri
from tests.support.gateway import TOKEN, Gateway
from tests.support.listeners import Recorder
from tests.support.mlflow_server import Server
from tests.support.object_store import artifact_destination
from tests.support.postgres import postgres
from tests.support.stores import TRIAL_FILES

# MLflow's client leaves connections open.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

DEFINITION = """
name: tiny
method: one-at-a-time
baseline: {n_head: 2, n_layer: 1, n_embed: 8, dropout: 0.1, block_size: 32}
levels: {n_head: [1]}
training: {steps: 40, batch_size: 4, eval_interval: 20}
"""
COMPOSE = Path(__file__).parents[2] / "compose.yaml"
USER, PASSWORD = "admin", "a-password-of-the-team"


@dataclass(frozen=True)
class Shared:
    """A shared store: `inside` asks for user and password, `outside` for a token and a trusted certificate."""

    server: Server
    inside: str
    outside: str
    certificate: Path
    artifacts: str


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shared")
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        destination, variables = stack.enter_context(artifact_destination(folder))
        users = folder / "users.ini"
        configured = yaml.safe_load(COMPOSE.read_text())["configs"]["users"]["content"]
        users.write_text(re.sub("postgresql.*", database, configured))
        secrets = {
            "MLFLOW_AUTH_CONFIG_PATH": str(users),
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-key-of-the-server",
        }
        options = ["--artifacts-destination", destination, "--static-prefix", "/mlflow", "--app-name", "basic-auth"]
        server = Server(folder, database, options, {**variables, **secrets})
        stack.callback(server.stop)
        server.start()
        gateway = Gateway(server.port, USER, PASSWORD, folder)
        stack.callback(gateway.close)
        yield Shared(server, f"{server.uri}/mlflow", f"{gateway.uri}/mlflow", gateway.certificate, destination)


@pytest.fixture
def definition(tmp_path: Path) -> str:
    file = tmp_path / "tiny.yaml"
    file.write_text(DEFINITION)
    return str(file)


def type_in(*arguments: str) -> str:
    result = CliRunner().invoke(program, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_command_works_through_a_prefix_with_a_token_and_a_private_certificate(
    shared: Shared, definition: str, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "text.txt"
    data.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shared.outside)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(shared.certificate))
    type_in("sweep", definition, "--data", str(data), "--device", "cpu", "--executor", "inline")
    type_in("report", "--output", str(tmp_path / "report"))
    assert "n_head=1" in (tmp_path / "report" / "report.html").read_text()
    type_in("register", "--confirm", "0")
    assert type_in("generate", "models:/gpt-experiments@champion", "--max-new-tokens", "20")
    assert type_in("ui", "--no-open").startswith(f"{shared.outside}/#/experiments/")
    store = Store()
    for run in store.search(f"tags.`{names.KIND}` = 'trial'"):
        assert run.info.status == "FINISHED"
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        assert {file.path for file in store.client.list_artifacts(run.info.run_id)} >= TRIAL_FILES
    assert not (tmp_path / "mlruns").exists()
    assert not (tmp_path / "mlflow.db").exists()


def test_what_a_user_has_not_set_is_named(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrackingError, match=r"certificate of .* is not trusted.*MLFLOW_TRACKING_SERVER_CERT_PATH"):
        resolve_uri(shared.outside)
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(shared.certificate))
    with pytest.raises(TrackingError, match=r"refuses with status 401; set .*MLFLOW_TRACKING_TOKEN"):
        resolve_uri(shared.outside)
    monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
    with pytest.raises(TrackingError, match="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"):
        Store(shared.inside)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_may_go_unchecked(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    assert Store(shared.outside).uri == shared.outside


class Killed(Recorder):
    """Kills the server when the first trial ends, and starts it again when two more have ended."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self.starting = threading.Thread(target=server.start)

    def trial_ended(self, record: TrialRecord) -> None:
        super().trial_ended(record)
        if len(self.ended) == 1:
            self._server.stop(signal.SIGKILL)
        if len(self.ended) == 3:
            self.starting.start()


def test_a_server_that_is_killed_in_mid_sweep_costs_nothing(
    shared: Shared, tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    file = tmp_path / "other.yaml"
    file.write_text(re.sub("name: tiny", "name: other\nseeds: [1, 2]", DEFINITION))
    store, listener = Store(shared.inside), Killed(shared.server)
    summary = run_sweep(load_definition(str(file)), corpus, store, RunOptions(device="cpu", workers=1), listener)
    listener.starting.join()
    assert [record.outcome for record in summary.trials] == ["finished"] * 4
    for record in summary.trials:
        run = store.client.get_run(record.run_id)
        assert run.info.status == "FINISHED"
        history = store.client.get_metric_history(record.run_id, names.VAL_LOSS)
        assert [point.step for point in history] == [0, 20, 40]
        assert {entry.path for entry in store.client.list_artifacts(record.run_id)} >= TRIAL_FILES
    condition = f"tags.`{names.SWEEP}` = 'other' and tags.`{names.KIND}` = 'trial'"
    assert len(store.search(condition)) == 4
