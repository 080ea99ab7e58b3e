"""`diff` as a user types it: trials and sweeps of a real store, side by side."""

from __future__ import annotations

import re
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.cli import program
from tests.support.trained import Trained

pytestmark = pytest.mark.slow

EARLIER = Path(__file__).parents[1] / "support" / "store-0.1.0.tar.xz"


def diff(trained: Trained, *arguments: object) -> Result:
    return run("--tracking-uri", trained.uri, *arguments)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(program, ["diff", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def words(result: Result) -> str:
    """The output with single blanks."""
    return " ".join(result.output.split())


def final(trained: Trained, *whose: str | int) -> float:
    run_id = trained.runs[whose]  # type: ignore[index]
    return float(MlflowClient(trained.uri).get_run(run_id).data.metrics[names.FINAL_VAL_LOSS])


def test_two_trials_are_compared_in_what_they_depend_on_and_what_came_out(trained: Trained) -> None:
    a, b = trained.runs["first", "baseline", 1], trained.runs["first", "n_head=1", 1]
    result = diff(trained, a, b)
    assert result.exit_code == 0, result.output
    said = words(result)
    assert f"A baseline (seed 1), run {a}, of sweep first" in said
    assert f"B n_head=1 (seed 1), run {b}, of sweep first" in said
    losses = final(trained, "first", "baseline", 1), final(trained, "first", "n_head=1", 1)
    assert f"is {losses[0]:.4f} in A and {losses[1]:.4f} nats per character in B" in said
    assert "parameters n_head 2 1" in said
    assert "more are the same." in said
    assert "n_layer" not in said
    assert re.search(r"final val loss \d\.\d{4} \d\.\d{4} [+-]\d\.\d+", said)
    assert "A wrote B wrote" in said
    assert re.search(r" 1 1 (entropy|previous position|first position|same \w+|induction) ", said)
    assert [line.split()[0] for line in result.output.splitlines() if re.match(r" *\d+ +\d\.\d{6} ", line)] == list(
        "0246"
    )


def test_a_run_and_itself_are_the_same(trained: Trained) -> None:
    run_id = trained.runs["first", "baseline", 1]
    said = words(diff(trained, run_id, run_id))
    assert "The losses of all 4 evaluations are the same, bit for bit." in said
    assert "A and B are one run." in said


def test_it_says_where_the_losses_part_and_that_the_texts_are_others(trained: Trained) -> None:
    first, second = trained.runs["first", "baseline", 1], trained.runs["second", "baseline", 1]
    trained.set_tag(second, names.CORPUS_DIGEST, "0" * 64)
    said = words(diff(trained, first, second))
    assert re.search(r"The losses part at step [02]\.", said)  # at 0, where a group rounds sums in another order
    assert "parameters learning_rate 0.001 0.002" in said
    assert "hardware replicas 1 2" in said
    assert "corpus SHA-256" in said
    assert "000000000000..." in said
    assert "learnt from different texts, so their losses cannot be compared" in said


def test_two_sweeps_are_paired_by_variant_and_seed(trained: Trained) -> None:
    result = diff(trained, "first", "second")
    assert result.exit_code == 0, result.output
    said = words(result)
    differences = [
        final(trained, "second", "baseline", seed) - final(trained, "first", "baseline", seed) for seed in (1, 2)
    ]
    before = fmean(final(trained, "first", "baseline", seed) for seed in (1, 2))
    assert f"baseline 2 {before:.4f}" in said
    assert f"{fmean(differences):+.4f}" in said
    assert "95 % interval" in said
    assert "Only A has n_head=1." in said
    assert "Only B has n_embed=16." in said
    assert "learning_rate 0.001 0.002" in said
    assert "n_head 1, 2 2 n_embed 8 8, 16" in said  # the levels of each
    assert "Samples of baseline (seed 1)" in said


def test_one_seed_gives_no_interval(trained: Trained) -> None:
    for seed_2 in [run_id for (_, _, seed), run_id in trained.runs.items() if seed == 2]:
        trained.sql("UPDATE runs SET status = 'FAILED' WHERE run_uuid = ?", seed_2)
    said = words(diff(trained, trained.parents["first"], trained.parents["second"]))
    assert "one seed, so without an interval" in said
    assert "no verdict" in said


def test_a_sweep_and_itself_have_the_same_runs(trained: Trained) -> None:
    said = words(diff(trained, "first", "first"))
    assert "A and B are one sweep." in said
    assert "the same runs" in said


class Page(HTMLParser):
    """The addresses that a page refers to, its headings, and how many figures it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


@pytest.mark.parametrize("what", ["trials", "sweeps"])
def test_the_page_has_everything_in_one_file(trained: Trained, tmp_path: Path, what: str) -> None:
    of_trials = (trained.runs["first", "baseline", 1], trained.runs["second", "baseline", 1])
    page = tmp_path / "new" / "page.html"
    result = diff(trained, *(of_trials if what == "trials" else ("first", "second")), "--html", page)
    assert result.exit_code == 0, result.output
    assert f"The page: {page}" in result.output
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)
    assert [address for address in parsed.addresses if not address.startswith(("#", "data:"))] == []
    assert parsed.tags.count("figure") == (3 if what == "trials" else 2)
    for shown in ("learning_rate", "0.001", "0.002", "Samples", "Attention heads"):
        assert shown in text
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]


def test_what_cannot_be_read_is_left_out_and_listed(trained: Trained, tmp_path: Path) -> None:
    a, b = trained.runs["first", "baseline", 1], trained.runs["first", "n_head=1", 1]
    trained.file(a, names.SAMPLE_FILE).unlink()
    trained.file(b, names.HEADS_FILE).write_text("no numbers")
    trained.sql("DELETE FROM metrics WHERE run_uuid = ?", b)
    result = diff(trained, a, b, "--html", tmp_path / "page.html")
    assert result.exit_code == 1
    said = words(result)
    assert "There is no step at which both were evaluated." in said
    assert "Could not be read: sample.txt of baseline (seed 1) is missing" in said
    assert "attention/heads.csv of n_head=1 (seed 1) has no rows" in said
    assert "sample.txt of baseline (seed 1) is missing" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_trial_that_did_not_finish_is_compared_as_far_as_it_came(trained: Trained) -> None:
    a, b = trained.runs["first", "baseline", 1], trained.runs["first", "baseline", 2]
    trained.sql("UPDATE runs SET status = 'KILLED' WHERE run_uuid = ?", b)
    trained.sql("DELETE FROM metrics WHERE run_uuid = ? AND step > 2", b)
    said = words(diff(trained, a, b))
    assert "B is KILLED." in said
    assert "parameters seed 1 2" in said


def test_a_trial_is_found_by_its_runs_name_if_that_names_one(trained: Trained) -> None:
    a, b = "n_head=1 (seed 1)", "n_embed=16 (seed 1)"
    result = diff(trained, a, b)
    assert result.exit_code == 0, result.output
    assert f"A {a}, run {trained.runs['first', 'n_head=1', 1]}" in words(result)
    unclear = diff(trained, a, "baseline (seed 1)")
    assert unclear.exit_code == 1
    assert "2 runs are called 'baseline (seed 1)'; give the id of one: " in words(unclear)
    assert trained.runs["first", "baseline", 1] in words(unclear)


def test_a_trial_and_a_sweep_cannot_be_compared(trained: Trained) -> None:
    result = diff(trained, trained.runs["first", "baseline", 1], "second")
    assert result.exit_code == 2
    assert "is a trial and second is a sweep; give two trials, or two sweeps" in words(result)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [("third", "no sweep 'third' in experiment 'gpt-experiments'"), ("0" * 32, f"holds no run {'0' * 32}")],
)
def test_what_is_not_there_is_named(trained: Trained, reference: str, reason: str) -> None:
    result = diff(trained, "first", reference)
    assert result.exit_code == 1
    assert reason in words(result)


def test_a_run_that_is_deleted_or_of_another_kind_is_refused(trained: Trained) -> None:
    a, b = trained.runs["first", "baseline", 1], trained.runs["first", "n_head=1", 1]
    trained.set_tag(b, names.KIND, "pretrained")
    other = diff(trained, a, b)
    assert other.exit_code == 1
    assert "is neither a trial nor a sweep: its gpt.kind is 'pretrained'" in words(other)
    trained.sql("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", a)
    deleted = diff(trained, a, "first")
    assert deleted.exit_code == 1
    assert f"run {a} is deleted; restore it with" in words(deleted)


@pytest.mark.slow
def test_a_store_of_version_0_1_is_compared_and_what_it_lacks_is_named(tmp_path: Path) -> None:
    with tarfile.open(EARLIER) as archive:
        archive.extractall(tmp_path, filter="data")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(names.DEFAULT_EXPERIMENT)
    a, b, *_ = client.search_runs([experiment.experiment_id], f"tags.`{names.KIND}` = 'trial'")
    trials = run("--tracking-uri", uri, a.info.run_id, b.info.run_id, "--html", tmp_path / "trials.html")
    sweeps = run("--tracking-uri", uri, "tiny", "tiny", "--html", tmp_path / "sweeps.html")
    for result in (trials, sweeps):
        assert result.exit_code == 0, result.output
        (sentence,) = re.findall(r"Not recorded in either: ([^.]*)\.", words(result))
        assert {"CPU threads", "kernels", "replicas"} <= set(sentence.split(", "))
