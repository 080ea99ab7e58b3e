"""A sweep's best is chosen and measured on fresh seeds, in a real store, and the model card says so."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping

import pytest
from mlflow import MlflowClient

from gpt_experiments import names
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, CorpusError
from gpt_experiments.models.fresh_seeds import ConfirmOptions, WantedCorpus
from gpt_experiments.models.registration import Registration, register_model
from gpt_experiments.parameters import TrainingSetup
from gpt_experiments.records import SweepListener
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.reader import read_sweep
from tests.support.listeners import Recorder
from tests.support.stores import BASELINE, add_run, add_sweep

TRAINING = TrainingSetup(steps=2, batch_size=4, eval_interval=1)
MEASURING, CHOOSING = (1_000_001, 1_000_002, 1_000_003), (2_000_001, 2_000_002, 2_000_003)


def no_text(wanted: WantedCorpus) -> Corpus:
    raise CorpusError(f"the text of {wanted.of} is not needed here")


class Confirming:
    """Options that keep what was said and shown; unless a corpus is given, nothing can be trained."""

    def __init__(self, corpus: Corpus | None = None, **changes: object) -> None:
        self.said: list[str] = []
        self.shown = Recorder()
        self.options = ConfirmOptions(
            run=RunOptions(device="cpu", executor="inline", attention_over_training=False),
            open_corpus=no_text if corpus is None else lambda wanted: corpus,
            display=self._display,
            say=self.said.append,
            **changes,  # type: ignore[arg-type]
        )

    @contextlib.contextmanager
    def _display(self) -> Iterator[SweepListener]:
        yield self.shown


def add_fresh(store: Store, corpus: Corpus, n_head: int, losses: Mapping[int, float]) -> dict[int, str]:
    """Finished trials of a variant on these seeds; the ids of their runs."""
    shape = dataclasses.replace(BASELINE, n_head=n_head)
    return {
        seed: add_run(store, corpus, loss, trial=Trial(shape=shape, seed=seed, training=TRAINING))
        for seed, loss in losses.items()
    }


def register(reference: str | None, store: Store, **changes: object) -> Registration:
    return register_model(reference, store, "m", options=Confirming(**changes).options)  # type: ignore[arg-type]


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias("m", names.CHAMPION).version)


@pytest.mark.slow
def test_fresh_seeds_choose_among_contenders_and_others_measure(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    losses: dict[int, list[float | str]] = {2: [2.50, 2.52], 4: [2.505, 2.535], 8: [3.0, 3.02], 1: [2.4, "failed"]}
    sweep = add_sweep(store, corpus, losses, training=TRAINING)
    add_fresh(store, corpus, 2, dict(zip(CHOOSING, (2.60, 2.61, 2.62), strict=True)))
    add_fresh(store, corpus, 4, dict(zip(CHOOSING, (2.50, 2.51, 2.52), strict=True)))
    runs = add_fresh(store, corpus, 4, dict(zip(MEASURING, (2.53, 2.58, 2.54), strict=True)))

    confirming = Confirming()
    done = register_model("mine", store, "m", options=confirming.options)
    found = done.confirmation
    assert found is not None
    assert [one.label for one in found.contenders] == ["n_head=4", "baseline"]
    assert (found.trained, confirming.shown.summaries) == (0, [])
    assert done.version.run_id == runs[1_000_003]  # the median
    assert done.version.val_loss == pytest.approx(2.55)
    assert done.version.fresh == {1_000_001: 2.53, 1_000_002: 2.58, 1_000_003: 2.54}
    assert confirming.said == list(done.messages[: len(confirming.said)])
    assert "all trials on fresh seeds are finished already: nothing is trained" in confirming.said
    assert any(sentence.startswith("2 of 3 variants could be the best by this sweep") for sentence in done.messages)
    assert "the sweep itself said 2.5200, which was optimistic by 0.0300 nats" in done.messages

    version = client.get_model_version("m", "1")
    assert json.loads(version.tags[names.FRESH_LOSSES])["1000003"] == 2.54
    assert version.tags[names.MEASURED] == "fresh seeds"
    assert {client.get_run(run).data.tags[names.CONFIRMS] for run in runs.values()} == {sweep}
    for part in (
        "- Contenders: 2 variants that the sweep could not tell from its best.",
        "- Of 2 contenders n_head=4 has the lowest mean over the sweep's seeds and 3 fresh seeds to choose with: 2.514",
        "(1000001, 1000002, 1000003) its mean validation loss is 2.5500 ± 0.0657 nats",
        "- The sweep itself said 2.5200, which was optimistic by 0.0300 nats.",
        "- These weights are those of the seed with the median loss.",
        f"- a trial on a fresh seed, which confirms sweep mine, run `{sweep}`",
    ):
        assert part in version.description
    assert "so that figure is optimistic" not in version.description

    again = register("mine", store)
    assert (again.is_new, again.version.version, again.is_champion) == (False, "1", True)


@pytest.mark.slow
def test_the_alias_goes_to_the_better_and_to_the_smaller_of_equivalent_ones(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    def add(name: str, n_embed: int, losses: tuple[float, ...]) -> None:
        shape = dataclasses.replace(BASELINE, n_embed=n_embed)
        for seed, loss in zip(MEASURING, losses, strict=True):
            add_run(store, corpus, loss, trial=Trial(shape=shape, seed=seed, training=TRAINING))
        runs[name] = add_run(store, corpus, losses[0], trial=Trial(shape=shape, seed=1, training=TRAINING))

    runs: dict[str, str] = {}
    add("old", 16, (2.50, 2.52, 2.54))
    add("better", 32, (2.40, 2.42, 2.441))
    add("smaller", 8, (2.401, 2.4205, 2.442))
    assert register(runs["old"], store, seeds=3).is_champion
    better = register(runs["better"], store, seeds=3)
    assert (better.is_champion, champion(client)) == (True, "2")
    assert better.between is not None
    assert better.between.is_paired
    assert "Against the champion before it, version 1 (n_embed=16), its loss is lower by a test: -0.0997" in (
        client.get_model_version("m", "2").description
    )
    smaller = register(runs["smaller"], store, seeds=3)
    assert (smaller.is_champion, champion(client)) == (True, "3")
    assert "is equivalent, within 0.01 nats" in smaller.messages[-1]


def test_a_champion_without_fresh_seeds_is_measured_on_them_too(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    add_sweep(store, corpus, {2: [2.4]}, name="old", training=TRAINING)
    register_model("old", store, "m")
    add_fresh(store, corpus, 2, dict(zip(MEASURING, (2.50, 2.52, 2.54), strict=True)))
    add_sweep(store, corpus, {4: [2.45]}, name="new", training=TRAINING)
    add_fresh(store, corpus, 4, dict(zip(MEASURING, (2.43, 2.451, 2.47), strict=True)))
    done = register("new", store)
    assert (done.is_champion, champion(client)) == (True, "2")
    assert json.loads(client.get_model_version("m", "1").tags[names.FRESH_LOSSES]) == {
        "1000001": 2.5,
        "1000002": 2.52,
        "1000003": 2.54,
    }
    assert "lower by a test: -0.0697" in done.messages[-1]


def test_a_named_trial_is_confirmed_if_asked_and_a_pretrained_model_cannot_be(
    store: Store, client: MlflowClient, corpus: Corpus
) -> None:
    run_id = add_run(store, corpus, 2.0, trial=Trial(shape=BASELINE, training=TRAINING))
    runs = add_fresh(store, corpus, 2, {1_000_001: 2.1, 1_000_002: 2.2})
    done = register(run_id, store, seeds=2)
    assert done.version.run_id == runs[1_000_001]  # of two the lower one
    assert "which confirms run `" + run_id in client.get_model_version("m", "1").description
    assert any("that of the lower median seed, 1000001" in sentence for sentence in done.messages)
    with pytest.raises(ConfigError, match="is that of a pretrained model, which cannot be trained with fresh seeds"):
        register(add_run(store, corpus, 1.5, kind="pretrained"), store)


def test_what_is_missing_is_said_before_the_text_is_needed(store: Store, corpus: Corpus) -> None:
    add_sweep(store, corpus, {2: [2.50], 4: [2.505]}, training=TRAINING)
    confirming = Confirming()
    with pytest.raises(CorpusError, match="the text of sweep mine is not needed here"):
        register_model("mine", store, "m", options=confirming.options)
    assert "with noise of 0.0050 nats per character (a guess, since it has one seed)" in confirming.said[-2]
    assert confirming.said[-1] == (
        "9 trials to train, about 18 s: 6 with seeds 2000001 to 2000003 to choose, then 3 of the chosen variant with "
        "seeds 1000001 to 1000003 to measure"
    )


@pytest.mark.slow
def test_missing_trials_are_trained_as_runs_that_the_sweep_does_not_see(store: Store, corpus: Corpus) -> None:
    sweep = add_sweep(store, corpus, {2: [4.2], 4: [4.201]}, training=TRAINING)
    add_fresh(store, corpus, 4, {2_000_001: 4.9, 2_000_002: 4.9})
    add_fresh(store, corpus, 2, {2_000_001: 4.1, 1_000_001: 4.3})
    before = read_sweep(store, sweep).trials
    confirming = Confirming(corpus, seeds=2)
    done = register_model(None, store, "m", options=confirming.options)
    found = done.confirmation
    assert found is not None
    assert (found.trained, found.contenders[0].label) == (2, "baseline")
    assert [summary.total for summary in confirming.shown.summaries] == [4, 2]
    trained = [record for record in confirming.shown.ended if record.outcome == "finished"]
    assert [record.planned.trial.training for record in trained] == [TRAINING, TRAINING]
    run = store.client.get_run(trained[0].run_id)
    assert (run.data.tags[names.CONFIRMS], run.data.tags[names.KIND]) == (sweep, "trial")
    assert names.SWEEPS not in run.data.tags
    assert read_sweep(store, sweep).trials.equals(before)
    again = Confirming(None, seeds=2)
    assert not register_model(None, store, "m", options=again.options).is_new
    assert again.shown.summaries == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "confirm must be at least 1"),
        ({"seeds": 101}, "confirm must be at most 100"),
        ({"contenders": 0}, "contenders must be at least 1"),
        ({"margin": 0.0}, r"margin must be a number of nats per character above 0, as 0\.01, but got 0\.0"),
        ({"margin": float("nan")}, "margin must be a number"),
    ],
)
def test_numbers_out_of_range_are_reported(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Confirming(**changes)  # type: ignore[arg-type]
