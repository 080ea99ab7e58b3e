"""The program as a user types it: help, options, errors, and the commands on real models."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.cli import program
from gpt_experiments.config import ModelConfig
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import Checkpoint, from_notebook_state_dict, save_checkpoint
from gpt_experiments.parameters import Shape
from gpt_experiments.tracking import Store
from gpt_experiments.training import evaluate
from tests.reference.plain_gpt import PlainGPT


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def refused(result: Result, status: int, *parts: str) -> None:
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for part in parts:
        assert part in result.output


OPTIONS = {
    "attention": "as_json data output text tracking_uri",
    "baseline": "as_json attention_scale data device experiment seed tracking_uri",  # the earlier name of evaluate
    "bench": "as_json data device output parts quick rounds scale steps workers",
    "data": "as_json data",
    "diff": "as_json experiment html tracking_uri",
    "evaluate": "as_json attention_scale data device experiment seed tracking_uri",
    "generate": "as_json data device max_new_tokens num_samples prompt seed temperature top_k tracking_uri",
    "register": (
        "address as_json confirm contenders data device executor experiment force margin name quiet tracking_uri "
        "workers"
    ),
    "report": "as_json attention experiment margin output power pretrained tracking_uri",
    "rerun": "as_json data device quiet tracking_uri",
    "sweep": (
        "address as_json budget data device dry_run executor experiment force join margin max_seeds "
        "no_attention_over_training pruner quiet replicas seeds status steps take_over timeout tracking_uri trials "
        "until_decided workers"
    ),
    "train": (
        "address as_json attention_scale batch_size beta1 beta2 block_size data device dropout eval_interval executor "
        "experiment force learning_rate min_learning_rate n_embed n_head n_layer no_attention_over_training precision "
        "quiet schedule seed steps tracking_uri warmup_steps weight_decay"
    ),
    "ui": "experiment host no_open port tracking_uri",
}


def test_the_options_are_these_and_change_only_on_purpose() -> None:
    found = {
        name: " ".join(sorted(p.name or "" for p in command.params if isinstance(p, click.Option)))
        for name, command in program.commands.items()
    }
    assert found == OPTIONS


@pytest.mark.parametrize("command", [[], *[[name] for name in OPTIONS]])
def test_help_explains_and_loads_nothing_heavy(command: list[str]) -> None:
    script = (
        "import sys; sys.argv = ['gpt-experiments', *sys.argv[1:]]\n"
        "from gpt_experiments.cli import program\n"
        "try: program(prog_name='gpt-experiments')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'matplotlib', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: gpt-experiments")
    for option in program.commands[command[0]].params if command else []:
        assert isinstance(option, click.Argument) or option.help, option.name


def test_misuse_is_exit_status_2_and_names_value_rule_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run("train", "--n-head", 6), 2, "n_embed=64 is not divisible by n_head=6", "choose n_head from 1, 2, 4")
    refused(run("train", "--dropout", 1), 2, "dropout must be at least 0 and below 1, but got 1")
    refused(run("train", "--steps", "many"), 2, "'many' is not a valid integer")
    refused(run("train", "--min-learning-rate", 1e-5), 2, "needs schedule=cosine", "choose cosine")
    refused(run("train", "--seed", -1), 2, "seed must be at least 0, but got -1")
    refused(run("sweep"), 2, "Missing argument 'NAME_OR_FILE'")
    refused(run("sweep", "gird"), 2, "gird", "grid")
    refused(run("sweep", "quick", "--workers", 0), 2, "workers must be at least 1, but got 0")
    refused(run("sweep", "quick", "--replicas", 0), 2, "replicas must be at least 1, but got 0")
    refused(run("sweep", "quick", "--steps", -5), 2, "steps must be at least 1, but got -5")
    assert not any(tmp_path.iterdir()), "a refused command leaves something"


def test_work_that_cannot_be_done_is_exit_status_1(tmp_path: Path) -> None:
    refused(run("data", "--data", tmp_path / "absent.txt"), 1, "absent.txt")
    refused(run("generate", tmp_path / "nothing"), 1, "is no model", "give a run id")
    store = f"sqlite:///{tmp_path}/absent.db"
    refused(run("generate", "0" * 32, "--tracking-uri", store), 1, "no tracking store at")
    assert not (tmp_path / "absent.db").exists()


@pytest.fixture
def text_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(text)
    return path


@pytest.fixture
def notebook(tmp_path: Path, corpus: Corpus) -> Path:
    torch.manual_seed(0)
    variant = Shape(n_head=3, n_layer=2, n_embed=24, dropout=0.2, block_size=40)
    path = tmp_path / "model_weights.pth"
    torch.save(PlainGPT(ModelConfig(shape=variant, vocab_size=corpus.vocab_size)).state_dict(), path)
    return path


def test_data_says_what_the_corpus_is(text_file: Path, corpus: Corpus) -> None:
    result = run("data", "--data", text_file)
    assert result.exit_code == 0
    assert f"{len(corpus.text):,} characters, {corpus.vocab_size} distinct" in result.output
    assert corpus.digest in result.output


def test_baseline_evaluates_samples_and_draws_a_notebook_file(
    notebook: Path, text_file: Path, store_uri: str, corpus: Corpus
) -> None:
    result = run("evaluate", notebook, "--data", text_file, "--tracking-uri", store_uri, "--device", "cpu")
    assert result.exit_code == 0, result.output

    client, store = MlflowClient(tracking_uri=store_uri), Store(store_uri)
    (found,) = client.search_runs([store.experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags[names.KIND] == "pretrained"
    assert (found.data.params["n_head"], found.data.params["dropout"]) == ("3", "not recorded")
    plain_state = torch.load(notebook, weights_only=True)
    expected = evaluate(from_notebook_state_dict(plain_state), torch.from_numpy(corpus.val)).mean
    assert found.data.metrics[names.FINAL_VAL_LOSS] == pytest.approx(expected)
    assert f"validation loss {expected:.4f}" in result.output
    files = {f.path for f in client.list_artifacts(found.info.run_id)}
    assert files == {"sample.txt", "loss_by_position.csv", "loss_by_character.npy", "attention", "checkpoint"}

    again = run("generate", found.info.run_id, "--tracking-uri", store_uri, "--max-new-tokens", 40)
    assert again.exit_code == 0, again.output
    direct = run("generate", notebook, "--data", text_file, "--max-new-tokens", 40)
    assert again.stderr == ""
    assert direct.stdout == again.stdout
    assert len(again.stdout.strip("\n")) >= 30


def test_baseline_refuses_what_does_not_fit_and_leaves_no_run(notebook: Path, tmp_path: Path, store_uri: str) -> None:
    other = tmp_path / "other.txt"
    other.write_text("abc \n" * 500)
    result = run("evaluate", notebook, "--data", other, "--tracking-uri", store_uri)
    refused(result, 1, "distinct characters, but other.txt has 5", "--data")
    store = Store(store_uri)
    assert MlflowClient(tracking_uri=store_uri).search_runs([store.experiment.experiment_id]) == []


@pytest.fixture
def checkpoint(tmp_path: Path, notebook: Path, corpus: Corpus) -> Path:
    model = from_notebook_state_dict(torch.load(notebook, weights_only=True))
    save_checkpoint(Checkpoint(model=model, tokenizer=corpus.tokenizer), tmp_path / "mine")
    return tmp_path / "mine"


def test_generate_draws_samples_from_a_checkpoint(checkpoint: Path) -> None:
    result = run("generate", checkpoint, "--num-samples", 2, "--prompt", "ba", "--max-new-tokens", 20, "--top-k", 3)
    assert result.exit_code == 0, result.output
    assert result.output.count("--- sample") == 2
    assert result.output.count("\nba") == 2
    same = run("generate", checkpoint, "--num-samples", 2, "--prompt", "ba", "--max-new-tokens", 20, "--top-k", 3)
    assert same.output == result.output
    refused(run("generate", checkpoint, "--prompt", "naïve"), 1, "'ï'", "LATIN SMALL LETTER I WITH DIAERESIS")
    refused(run("generate", checkpoint, "--temperature", -1), 2, "temperature must be a finite number of at least 0")


def test_generate_takes_what_a_user_may_mean(checkpoint: Path) -> None:
    few = ("--max-new-tokens", 12)
    plain = run("generate", checkpoint, *few)
    assert run("generate", checkpoint, *few, "--top-k", 0).output == plain.output
    assert run("generate", checkpoint, *few, "--prompt", r"\n").output == plain.output
    assert run("generate", checkpoint, *few, "--prompt", r"ba\nba").output.startswith("ba\nba")
    greedy = run("generate", checkpoint, *few, "--temperature", 0)
    assert run("generate", checkpoint, *few, "--temperature", "1e-40").output == greedy.output
    for inside in (checkpoint / "model.safetensors", checkpoint / "config.json", checkpoint.parent):
        assert run("generate", inside, *few).output == plain.output


@pytest.mark.parametrize(
    ("arguments", "status", "reported"),
    [
        (("--prompt", ""), 2, "the prompt is empty"),
        (("--prompt", r"ba\x"), 1, r"'\\' (REVERSE SOLIDUS)"),
        (("--prompt", "\udcff"), 1, r"'\udcff' (U+DCFF)"),
        (("--temperature", "nan"), 2, "temperature must be a finite number of at least 0, but got nan"),
        (("--temperature", "1e999"), 2, "temperature must be a finite number of at least 0, but got inf"),
        (("--max-new-tokens", 10**30), 2, "max_new_tokens must be at most 1,000,000"),
        (("--max-new-tokens", -3), 2, "max_new_tokens must be at least 1, but got -3"),
        (("--num-samples", 10**9), 2, "ask for num_samples of at most"),
        (("--top-k", -1), 2, "top_k must be at least 0, but got -1; 0 samples among all"),
        (("--seed", -1), 2, "seed must be at least 0, but got -1"),
        (("--seed", 2**64), 2, "seed must be at most 9,223,372,036,854,775,807, but got"),
    ],
)
def test_generate_refuses_what_is_out_of_range(
    checkpoint: Path, arguments: tuple[object, ...], status: int, reported: str
) -> None:
    refused(run("generate", checkpoint, *arguments), status, reported)


def test_where_a_model_is_not_the_place_is_named_with_what_to_do(checkpoint: Path, tmp_path: Path) -> None:
    refused(run("generate", "x" * 5000), 1, "is no model: there is no such file or folder")
    assert len(run("generate", "x" * 5000).output) < 500
    alone = tmp_path / "alone"
    alone.mkdir()
    refused(run("generate", alone), 1, "no checkpoint in", "give a checkpoint's folder")
    (alone / "their_model.pth").write_bytes(b"x")
    refused(run("generate", alone), 1, "give the file in it, their_model.pth")
    shutil.copy(checkpoint / "model.safetensors", alone)
    refused(run("generate", alone / "model.safetensors"), 1, "has no config.json beside it", "give the whole folder")
    for name in ("seeds/1", "seeds/2"):
        shutil.copytree(checkpoint, tmp_path / "many" / name)
    refused(run("generate", tmp_path / "many"), 1, "holds 2 checkpoints; give one of them: seeds/1, seeds/2")


@pytest.mark.slow
def test_baseline_evaluates_a_checkpoint_on_its_own_characters_alone(
    checkpoint: Path, text_file: Path, tmp_path: Path, store_uri: str
) -> None:
    where = ("--tracking-uri", store_uri, "--device", "cpu")
    result = run("evaluate", checkpoint / "model.safetensors", "--data", text_file, *where)
    assert result.exit_code == 0, result.output
    (tmp_path / "other.txt").write_text(text_file.read_text().replace("a", "é"))
    refused(run("evaluate", checkpoint, "--data", tmp_path / "other.txt", *where), 1, "other characters", "--data")
    refused(run("evaluate", checkpoint, "--data", text_file, "--seed", -1, *where), 2, "seed must be at least 0")
    runs = MlflowClient(tracking_uri=store_uri).search_runs([Store(store_uri).experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]


def test_a_text_of_another_kind_is_refused_with_the_reason(tmp_path: Path) -> None:
    for content, reported in ((b"", "is empty"), ("né".encode("utf-16"), "is UTF-16 text"), (b"aaaa", "alone")):
        (tmp_path / "odd.txt").write_bytes(content)
        refused(run("data", "--data", tmp_path / "odd.txt"), 1, reported)
    refused(run("data", "--data", "/dev/zero"), 1, "is a pipe or a device, not a file")
    refused(run("data", "--data", tmp_path), 1, "is a folder, not a file")


def test_a_files_name_that_is_no_text_is_shown_with_escapes(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    Path(os.fsdecode(odd)).write_text("some text\n" * 20)
    result = run("data", "--data", os.fsdecode(odd))
    assert result.exit_code == 0, result.output
    assert r"caf\udce9.txt: 200 characters" in result.output


def test_attention_draws_every_layer_the_mean_and_the_page(checkpoint: Path, tmp_path: Path) -> None:
    result = run("attention", checkpoint, "--text", "barber", "--output", tmp_path / "maps")
    assert result.exit_code == 0, result.output
    assert {p.name for p in (tmp_path / "maps").iterdir()} == {
        "layer_1.png",
        "layer_2.png",
        "mean.png",
        "explorer.html",
    }
    assert "explorer.html" in result.output
    long = run("attention", checkpoint, "--text", "barber " * 20, "--output", tmp_path / "long")
    assert "the first 40 fit the model's context" in long.output
    refused(run("attention", checkpoint, "--text", "", "--output", tmp_path / "x"), 2, "--text is empty")
    refused(run("attention", checkpoint, "--text", "naïve", "--output", tmp_path / "x"), 1, "'ï'")
    typed = run("attention", checkpoint, "--text", r"ba\nba", "--output", tmp_path / "typed")
    assert typed.exit_code == 0, typed.output
    (tmp_path / "file").touch()
    below_a_file = tmp_path / "file" / "maps"
    refused(run("attention", checkpoint, "--text", "barber", "--output", below_a_file), 1, "cannot be read or written")


def test_a_sweep_is_no_model(store_uri: str) -> None:
    parent = Store(store_uri).start_run(kind="sweep", run_name="x", params={})
    done = run("generate", parent.run_id, "--tracking-uri", store_uri)
    refused(done, 1, f"run {parent.run_id} is a sweep, which has no model; give the run of one of its trials")


def test_a_registered_model_is_a_model(checkpoint: Path, store_uri: str) -> None:
    recorder = Store(store_uri).start_run(kind="trial", run_name="x", params={})
    recorder.log_artifacts(checkpoint)
    recorder.finish()
    client = MlflowClient(tracking_uri=store_uri)
    client.create_registered_model("tiny")
    version = client.create_model_version("tiny", source=f"runs:/{recorder.run_id}/", run_id=recorder.run_id)
    client.set_registered_model_alias("tiny", "champion", version.version)
    for uri in ("models:/tiny/1", "models:/tiny@champion"):
        result = run("generate", uri, "--tracking-uri", store_uri, "--max-new-tokens", 12)
        assert result.exit_code == 0, result.output
    refused(run("generate", "models:/tiny/2", "--tracking-uri", store_uri), 1, "models:/tiny/2 cannot be read")


@pytest.mark.slow
def test_attention_over_training_is_drawn_or_left_out(text_file: Path, tmp_path: Path, store_uri: str) -> None:
    small = "steps: 2, eval_interval: 1, batch_size: 2"
    for name, options, drawn in (("with", [], 3), ("without", ["--no-attention-over-training"], 0)):
        file = tmp_path / f"{name}.yaml"
        shape = "n_embed: 8, n_head: 2, n_layer: 1, block_size: 16"
        file.write_text(
            f"name: {name}\nmethod: grid\nbaseline: {{{shape}}}\ntraining: {{{small}}}\nlevels: {{n_head: [2]}}\n"
        )
        where = ["--data", text_file, "--tracking-uri", store_uri, "--experiment", name]
        done = run("sweep", file, "--executor", "inline", "--quiet", *options, *where)
        assert done.exit_code == 0, done.output
        store = Store(store_uri, name)
        (trial,) = store.search(f"tags.`{names.KIND}` = 'trial'")
        images = [file.path for file in store.client.list_artifacts(trial.info.run_id, "images")]
        assert len([path for path in images if path.endswith(".png")]) == drawn
