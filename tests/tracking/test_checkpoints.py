"""Checkpoints that are gone, behind a server of artifacts: noticed with few requests."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse

import pytest
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.parameters import Shape
from gpt_experiments.tracking import Store, schema
from tests.support.stores import finished_trials

ENDPOINT = "/api/2.0/mlflow-artifacts/artifacts"


class ArtifactServer:
    """Lists files as MLflow's server does.

    Attributes:
        files: paths of all files.
        asked: folders that were listed.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                folder = parse_qs(urlparse(self.path).query)["path"][0]
                outer.asked.append(folder)
                below = {f.removeprefix(folder + "/").partition("/") for f in outer.files if f.startswith(folder + "/")}
                found = [{"path": name, "is_dir": bool(slash), "file_size": 1} for name, slash, _ in sorted(below)]
                body = json.dumps({"files": found}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def artifacts() -> Iterator[ArtifactServer]:
    served = ArtifactServer()
    with served.server as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield served
        server.shutdown()


def finished_run(store: Store, cell: str) -> str:
    params = dataclasses.asdict(Shape()) | {"seed": 5}
    recorder = store.start_run(kind="trial", run_name="x", params=params, tags={names.CELL: cell})
    recorder.log_metrics(dict.fromkeys(schema.SUMMARY_METRICS, 2.0))
    recorder.finish()
    return recorder.run_id


def test_checkpoints_that_are_gone_from_a_server_are_noticed_with_few_requests(
    store_uri: str, artifacts: ArtifactServer
) -> None:
    location = f"http://127.0.0.1:{artifacts.server.server_port}{ENDPOINT}/7"
    MlflowClient(tracking_uri=store_uri).create_experiment("far", artifact_location=location)
    store = Store(store_uri, "far")
    runs = {cell: finished_run(store, cell) for cell in ("aa", "bb", "cc", "dd")}
    artifacts.files = [f"7/{runs[cell]}/artifacts/checkpoint/model.safetensors" for cell in ("aa", "bb", "dd")]
    found = finished_trials(store)
    assert found.by_cell.keys() == {"aa", "bb", "dd"}
    assert found.lost == {"cc"}
    assert artifacts.asked == ["7", f"7/{runs['cc']}/artifacts/checkpoint"]

    artifacts.files.clear()
    assert finished_trials(store).lost == set(runs)
