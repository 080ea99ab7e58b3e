"""A registered model through MLflow's own doors: load_model, and a server asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import generate, load_checkpoint
from gpt_experiments.models.registration import register_model
from gpt_experiments.tracking import Store, model_folder
from tests.support.stores import BASELINE, add_run

FEW = {"max_new_tokens": 12}


@pytest.fixture
def registered(store_uri: str, corpus: Corpus) -> str:
    """The store's address; the model `m` in its registry has a champion."""
    store = Store(store_uri)
    register_model(add_run(store, corpus, 2.0, trial=Trial(shape=BASELINE, seed=3)), store, "m")
    return store_uri


@pytest.fixture
def model(registered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PyFuncModel:
    monkeypatch.setattr(sys, "path", [*sys.path])  # loading puts the model's own code in front
    folder = model_folder("models:/m@champion", registered, into=tmp_path)
    return mlflow.pyfunc.load_model(str(folder))


def prompts(*texts: Any) -> pd.DataFrame:
    return pd.DataFrame({"prompt": list(texts)})


def test_it_writes_what_generate_writes(model: PyFuncModel, registered: str, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(
        model_folder("models:/m@champion", registered, into=tmp_path) / "artifacts" / "checkpoint"
    )

    def expected(prompt: str, **options: Any) -> str:
        tokens = generate(checkpoint.model, torch.from_numpy(checkpoint.tokenizer.encode(prompt)), **options)
        return checkpoint.tokenizer.decode(tokens[0].numpy())

    assert model.predict(prompts("Ba")) == [expected("Ba", max_new_tokens=300, seed=1337)]
    assert model.predict(prompts("Ba"), params=FEW | {"temperature": 1e-40}) == [
        expected("Ba", max_new_tokens=12, temperature=0, seed=1)
    ]
    options = {"max_new_tokens": 12, "temperature": 0.5, "top_k": 3, "seed": 7}
    assert model.predict(prompts("Ba"), params=options) == [expected("Ba", **options)]


def test_a_prompt_is_answered_alike_whatever_else_is_asked(model: PyFuncModel) -> None:
    together = model.predict(prompts("Ba", "co", "Ba"), params=FEW)
    assert together == [model.predict([{"prompt": text}], params=FEW)[0] for text in ("Ba", "co", "Ba")]
    assert model.predict({"prompt": "Ba"}, params=FEW) == together[:1]


@pytest.mark.parametrize(
    ("data", "params", "reported"),
    [
        (prompts("naïve"), {}, "'ï' (LATIN SMALL LETTER I WITH DIAERESIS) at line 1, column 3"),
        (prompts("Ba", "2"), {}, "prompt 2 of 2: '2' (DIGIT TWO)"),
        (prompts(""), {}, "the prompt is empty; give at least one character"),
        (prompts(None), {}, "the prompt must be a text, but got None"),
        (prompts(3), {}, "Incompatible input types for column prompt"),
        (pd.DataFrame({"text": ["Ba"]}), {}, "Model is missing inputs ['prompt']"),
        (prompts("Ba"), {"temperature": -1.0}, "temperature must be a finite number of at least 0, but got -1"),
        (
            prompts("Ba"),
            {"temperature": float("nan")},
            "temperature must be a finite number of at least 0, but got nan",
        ),
        (prompts("Ba"), {"temperature": "hot"}, "'temperature'"),
        (prompts("Ba"), {"max_new_tokens": 10**12}, "max_new_tokens must be at most 1,000,000"),
        (prompts("Ba"), {"seed": -1}, "seed must be at least 0, but got -1"),
        (prompts("Ba"), {"max_new_tokens": 0}, "max_new_tokens must be at least 1, but got 0"),
        (prompts("Ba"), {"top_k": -1}, "top_k must be at least 0, but got -1; 0 samples among all characters"),
    ],
)
def test_a_mistake_is_an_invalid_parameter_with_a_message(
    model: PyFuncModel, data: pd.DataFrame, params: dict[str, Any], reported: str
) -> None:
    with pytest.raises(MlflowException) as raised:
        model.predict(data, params=params)
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert reported in raised.value.message


def test_its_page_shows_signature_example_and_exact_requirements(
    model: PyFuncModel, registered: str, tmp_path: Path
) -> None:
    signature = model.metadata.signature
    assert signature is not None
    assert signature.inputs.to_dict() == [{"type": "string", "name": "prompt", "required": True}]
    assert {spec.name: spec.default for spec in signature.params.params} == {
        "max_new_tokens": 300,
        "temperature": 1.0,
        "top_k": 0,
        "seed": 1337,
    }
    folder = model_folder("models:/m@champion", registered, into=tmp_path)
    corpus_files = {path.name for path in (folder / "code" / "gpt_experiments" / "corpus").iterdir()}
    assert corpus_files - {"__pycache__"} == {"__init__.py", "files.py", "text.py", "tokenizer.py"}
    requirements = (folder / "requirements.txt").read_text().split()
    assert f"torch=={version('torch').partition('+')[0]}" in requirements
    assert {line.partition("==")[0] for line in requirements} == {*("mlflow", "numpy", "safetensors", "torch")}
    (prompt,) = json.loads((folder / "serving_input_example.json").read_text())["dataframe_split"]["data"]
    assert prompt == ["KING HENRY:"]


@pytest.mark.slow
def test_it_loads_on_its_own_code_and_requirements_without_a_warning(registered: str, tmp_path: Path) -> None:
    """In a process whose every module of this package must come out of the model, or the import fails."""
    script = """
import sys
from importlib.metadata import packages_distributions
import mlflow, mlflow.pyfunc
before = set(sys.modules)
model = mlflow.pyfunc.load_model("models:/m@champion")
print(repr(model.predict([{"prompt": "Ba"}], params={"max_new_tokens": 5})))
ours = [module.__file__ for name, module in sys.modules.items() if name.startswith("gpt_experiments")]
assert ours and all("/code/gpt_experiments/" in file for file in ours), ours
"""
    empty = tmp_path / "empty"
    empty.mkdir()
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=empty,
        env=server_environment(registered) | {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("['Ba")
    assert [line for line in answer.stderr.splitlines() if " INFO " not in line] == []
    assert list(empty.iterdir()) == []


def server_environment(uri: str) -> dict[str, str]:
    """This process's, with the interpreter's programs first on the path and this checkout not importable."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return environment | {"PATH": path, "MLFLOW_TRACKING_URI": uri}


@pytest.fixture
def server(registered: str, tmp_path: Path) -> Iterator[str]:
    """The address of `mlflow models serve`, as the program tells a user to start it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, *"-m mlflow models serve -m models:/m@champion --env-manager local -p".split()]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, str(port)],
            cwd=tmp_path,
            env=server_environment(registered),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", process, tmp_path / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def ask(server: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"{server}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_a_server_answers_prompts_and_explains_mistakes(server: str, model: PyFuncModel) -> None:
    (expected,) = model.predict(prompts("Ba"), params=FEW)
    for body in ({"inputs": ["Ba"]}, {"dataframe_records": [{"prompt": "Ba"}]}):
        assert ask(server, {**body, "params": FEW}) == (200, {"predictions": [expected]})

    for body, reported in (
        ({"inputs": ["naïve"]}, "'ï' (LATIN SMALL LETTER I WITH DIAERESIS)"),
        ({"inputs": [""]}, "the prompt is empty"),
        ({"inputs": ["Ba"], "params": {"temperature": -1}}, "temperature must be a finite number of at least 0"),
        ({"dataframe_records": [{"text": "Ba"}]}, "Model is missing inputs ['prompt']"),
    ):
        status, answer = ask(server, body)
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert reported in answer["message"]
