"""`rerun` as a user types it: trials of a real store, trained again."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from gpt_experiments import names
from gpt_experiments.app.rerun import rerun_trial
from gpt_experiments.cli import program
from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.kernels import SWITCH, are_switched_on
from gpt_experiments.tracking import Store
from gpt_experiments.training import train_group
from tests.support.listeners import Recorder
from tests.support.stores import add_run, finished_trials
from tests.support.trained import Trained

pytestmark = pytest.mark.slow

BASELINE = ("first", "baseline", 1)
EARLIER = Path(__file__).parents[1] / "support" / "store-0.1.0.tar.xz"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(program, ["rerun", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def again(trained: Trained, run_id: str | None = None, *options: object) -> Result:
    return run(run_id or trained.runs[BASELINE], "--tracking-uri", trained.uri, "--data", trained.text, *options)


def words(result: Result) -> str:
    """The output with single blanks."""
    return " ".join(result.output.split())


def test_the_same_comes_out_and_nothing_is_stored(trained: Trained) -> None:
    before = trained.content()
    result = again(trained)
    assert result.exit_code == 0, result.output
    said = words(result)
    assert f"identical: baseline (seed 1), run {trained.runs[BASELINE]}" in said
    assert "The losses of all 4 evaluations are the same, bit for bit (steps 0 to 6)." in said
    assert "weights are the same as in its checkpoint, bit for bit." in said
    assert "evaluated baseline (seed 1): step 6 of 6" in said  # progress, as `train` shows it
    assert "Nothing that is recorded differs between then and now" in said
    assert trained.content() == before


def test_a_quiet_one_says_only_whether(trained: Trained) -> None:
    result = again(trained, None, "--quiet")
    assert result.exit_code == 0
    assert result.output.startswith("identical: ")
    assert len(result.output.splitlines()) == 3


def test_a_loss_that_was_edited_is_found_at_its_evaluation(trained: Trained) -> None:
    trained.sql(
        "UPDATE metrics SET value = value + 1e-9 WHERE run_uuid = ? AND key = 'val_loss' AND step = 4",
        trained.runs[BASELINE],
    )
    result = again(trained)
    assert result.exit_code == 1
    said = words(result)
    assert "not identical: baseline (seed 1)" in said
    assert (
        "The losses part at step 4, after they were the same up to step 2: the training loss by 0, the validation loss "
        "by -1e-09 nats per character. At step 6 they are apart by 0 and 0." in said
    )
    assert "weights are the same as in its checkpoint" in said
    assert "train loss val loss step then now difference then now difference" in said


def test_a_loss_that_was_deleted_is_missed(trained: Trained) -> None:
    trained.sql("DELETE FROM metrics WHERE run_uuid = ? AND step = 2", trained.runs[BASELINE])
    result = again(trained)
    assert result.exit_code == 1
    assert "The run lacks the losses at steps 2." in words(result)


def test_weights_that_were_edited_are_counted_and_named(trained: Trained) -> None:
    path = trained.file(trained.runs[BASELINE], "checkpoint/model.safetensors")
    weights = load_file(path)
    weights["lm_head.bias"][3] += 0.5
    save_file(weights, path)
    result = again(trained)
    assert result.exit_code == 1
    said = words(result)
    assert "The losses of all 4 evaluations are the same" in said
    count = sum(tensor.numel() for tensor in weights.values())
    assert f"1 of {count:,} weights differ from its checkpoint, by up to 0.5, in lm_head.bias." in said


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (shutil.rmtree, "its checkpoint is gone"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "is damaged"),
    ],
)
def test_without_its_checkpoint_the_losses_are_compared_and_that_is_said(
    trained: Trained, damage: Callable[[Path], object], reason: str
) -> None:
    damage(trained.file(trained.runs[BASELINE], "checkpoint"))
    result = again(trained)
    assert result.exit_code == 1
    said = words(result)
    assert "losses identical, weights not compared: baseline (seed 1)" in said
    assert "The losses of all 4 evaluations are the same" in said
    assert "The weights could not be compared: " in said
    assert reason in said


def test_it_trains_with_the_threads_and_the_kernels_that_the_run_names(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.set_tag(trained.runs[BASELINE], names.THREADS, "3")
    trained.set_tag(trained.runs[BASELINE], names.KERNELS, "off")
    monkeypatch.setenv(SWITCH, "on")
    seen: list[tuple[int, bool]] = []

    def spy(*arguments: object) -> object:
        seen.append((torch.get_num_threads(), are_switched_on()))
        return train_group(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("gpt_experiments.app.rerun.train_group", spy)
    before, state = torch.get_num_threads(), torch.get_rng_state()
    result = again(trained)
    assert seen == [(3, False)]
    assert "It was trained again on cpu with 3 CPU threads, kernels off." in words(result)
    assert (torch.get_num_threads(), os.environ[SWITCH]) == (before, "on")
    assert torch.equal(torch.get_rng_state(), state)


def test_what_differs_between_then_and_now_is_named(trained: Trained) -> None:
    run_id = trained.runs[BASELINE]
    trained.sql("DELETE FROM tags WHERE run_uuid = ? AND key IN (?, ?)", run_id, names.THREADS, names.KERNELS)
    trained.set_tag(run_id, names.HARDWARE, "an abacus")
    trained.set_tag(run_id, names.VERSIONS, "python 3.9.1, torch 1.0")
    said = words(again(trained))
    assert "What differs between then and now:" in said
    assert "CPU threads not recorded 1" in said  # as a sweep gives a trial
    assert "kernels not recorded on" in said
    assert "hardware hardware an abacus" in said or "hardware an abacus" in said
    assert "torch 1.0 " in said


def test_a_trial_of_a_group_drew_other_masks_and_that_is_said(trained: Trained) -> None:
    result = again(trained, trained.runs["second", "baseline", 1])
    assert result.exit_code == 1
    said = words(result)
    assert "not identical: baseline (seed 1)" in said
    assert "replicas 2 1" in said
    assert (
        "Then 2 trials trained together as one model: sums were rounded in another order, and dropout=0.1 drew other "
        "masks than now, when it trains alone." in said
    )


def failed(status: str) -> Callable[[Trained], object]:
    return lambda trained: trained.sql("UPDATE runs SET status = ? WHERE run_uuid = ?", status, trained.runs[BASELINE])


def param(name: str, value: str) -> Callable[[Trained], object]:
    return lambda trained: trained.set_param(trained.runs[BASELINE], name, value)


def tag(name: str, value: str) -> Callable[[Trained], object]:
    return lambda trained: trained.set_tag(trained.runs[BASELINE], name, value)


REFUSED: dict[str, tuple[Callable[[Trained], object], str]] = {
    "running": (failed("RUNNING"), "is RUNNING: it has no result yet to compare with; wait until it has ended"),
    "failed": (failed("FAILED"), "is FAILED: it has no result to compare with; give a FINISHED run"),
    "killed": (failed("KILLED"), "is KILLED: it has no result to compare with"),
    "damaged": (param("steps", "abc"), "has steps='abc', so it cannot be trained again; restore what was edited"),
    "impossible": (param("n_head", "3"), "name no trial (n_embed=8 is not divisible by n_head=3"),
    "edited": (param("dropout", "0.2"), "but its parameters are those of the cell"),
    "threads": (tag(names.THREADS, "many"), "has gpt.threads='many', which must be a number from 1 to 1,024"),
    "other kind": (tag(names.KIND, "pretrained"), "its model was trained elsewhere, and cannot be trained again here"),
    "no digest": (tag(names.CORPUS_DIGEST, ""), "lacks the tag gpt.corpus_digest"),
    "deleted": (
        lambda trained: trained.sql(
            "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", trained.runs[BASELINE]
        ),
        "is deleted; restore it with",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_run_that_cannot_be_trained_again_is_refused_with_the_reason(trained: Trained, what: str) -> None:
    damage, reason = REFUSED[what]
    damage(trained)
    result = again(trained)
    assert result.exit_code == 1
    assert f"Error: run {trained.runs[BASELINE]} " in words(result) or "the parameters of run" in words(result)
    assert reason in words(result)


def test_a_sweeps_run_is_refused(trained: Trained) -> None:
    result = again(trained, trained.parents["first"])
    assert result.exit_code == 1
    assert "is no trial: its gpt.kind is 'sweep'; give the run of one of its trials" in words(result)


def test_a_run_that_is_not_there_is_refused(trained: Trained, tmp_path: Path) -> None:
    result = again(trained, "0" * 32)
    assert result.exit_code == 1
    assert f"holds no run {'0' * 32}" in words(result)
    nowhere = run("0" * 32, "--tracking-uri", f"sqlite:///{tmp_path}/none.db")
    assert nowhere.exit_code == 1
    assert "no tracking store at" in words(nowhere)
    assert not (tmp_path / "none.db").exists()


def test_another_text_is_refused_with_both_names_and_the_remedy(trained: Trained, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(trained.text.read_text() + "more")
    result = run(trained.runs[BASELINE], "--tracking-uri", trained.uri, "--data", other)
    assert result.exit_code == 1
    said = words(result)
    digests = [load_corpus(path, report=lambda text: None).digest[:16] for path in (trained.text, other)]
    assert said.index("was trained on text") < said.index(digests[0]) < said.index("this text is other")
    assert said.index("this text is other") < said.index(digests[1]) < said.index("with --data")


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_a_device_that_is_not_here_is_named(trained: Trained) -> None:
    trained.set_param(trained.runs[BASELINE], names.DEVICE, "cuda")
    result = again(trained)
    assert result.exit_code == 2
    assert "was trained on cuda, which is not here (device 'cuda' is not available" in words(result)
    on_cpu = again(trained, None, "--device", "cpu")
    assert on_cpu.exit_code == 0, on_cpu.output
    assert "device cuda cpu" in words(on_cpu)


def test_a_trial_on_its_own_in_another_experiment_is_found(store_uri: str, corpus: Corpus, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(corpus.text)
    run_id = add_run(Store(store_uri, "another"), load_corpus(text, report=lambda sentence: None), 2.5)
    result = run(run_id, "--tracking-uri", store_uri, "--data", text, "--device", "mps")
    assert result.exit_code == 2  # it goes as far as the device
    assert "mps" in result.output


@pytest.mark.slow
def test_a_run_of_version_0_1_is_trained_again_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    with tarfile.open(EARLIER) as archive:
        archive.extractall(tmp_path, filter="data")
    corpus = load_corpus(tmp_path / "text.txt", report=lambda text: None)
    store = Store(f"sqlite:///{tmp_path}/mlflow.db", repair=False)
    trial = next(iter(finished_trials(store).by_cell.values()))
    done = rerun_trial(
        trial.run_id, device=None, tracking_uri=store.uri, open_corpus=lambda: corpus, listener=Recorder()
    )
    assert done.curves.pairs[0].step == 0
    lacking = {difference.name for difference in done.facts.differing if difference.a is None}
    assert {"CPU threads", "kernels", "replicas"} <= lacking
    assert any("is not recorded" in note for note in done.notes)
    assert done.weights is not None
