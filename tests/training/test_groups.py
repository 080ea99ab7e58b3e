"""Trials trained as one group: each as it trains alone, and none disturbed by another."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gpt_experiments.config import ModelConfig, Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, CorpusError, DivergedError
from gpt_experiments.model import GPT
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import (
    Evaluation,
    Progress,
    Stop,
    Stopped,
    TrainingResult,
    evaluate,
    group_key,
    prepare_process,
    release_memory,
    train,
    train_group,
)
from gpt_experiments.training.batches import ReplicaBatches, training_batches
from gpt_experiments.training.learners import ReplicaLearner
from gpt_experiments.training.optimizer import learning_rate_at
from tests.reference.plain_gpt import PlainGPT
from tests.training.test_cuda_graph import Recording
from tests.training.weights import copy_into_plain

CPU = torch.device("cpu")
SMALL = Shape(n_head=2, n_layer=2, n_embed=16, dropout=0.0, block_size=16)
SETUP = TrainingSetup(steps=30, batch_size=8, learning_rate=3e-3, eval_interval=10)
Reported = tuple[int, Progress | Evaluation]


def trial(seed: int = 1337, dropout: float = 0.0, **changes: Any) -> Trial:
    variant = dataclasses.replace(SMALL, dropout=dropout)
    return Trial(shape=variant, seed=seed, training=dataclasses.replace(SETUP, **changes))


def run(
    trials: Sequence[Trial], corpus: Corpus, device: torch.device = CPU
) -> tuple[list[TrainingResult | DivergedError], list[Reported]]:
    events, training = [], train_group(trials, corpus, device)
    while True:
        try:
            events.append(next(training))
        except StopIteration as end:
            return end.value, events


def same(found: TrainingResult | DivergedError, expected: TrainingResult | DivergedError, tolerance: float) -> None:
    assert isinstance(found, TrainingResult)
    assert isinstance(expected, TrainingResult)
    for a, b in zip(found.evaluations, expected.evaluations, strict=True):
        assert dataclasses.astuple(a) == pytest.approx(dataclasses.astuple(b), abs=tolerance)
    assert found.val.by_position == pytest.approx(expected.val.by_position, abs=5 * tolerance)
    assert found.val.by_character == pytest.approx(expected.val.by_character, abs=0.01)
    assert found.model.config == expected.model.config
    for mine, theirs in zip(found.model.parameters(), expected.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=5 * tolerance, rtol=0)


SCHEDULES: list[dict[str, Any]] = [
    {},
    {"schedule": "cosine", "warmup_steps": 5, "min_learning_rate": 1e-4, "weight_decay": 0.3},
]


@pytest.mark.parametrize("changes", SCHEDULES)
def test_seeds_and_learning_rates_train_together_as_each_does_alone(corpus: Corpus, changes: dict[str, Any]) -> None:
    trials = [trial(seed, learning_rate=rate, **changes) for seed, rate in ((1, 1e-3), (2, 3e-3), (1, 5e-3))]
    together, events = run(trials, corpus)
    for index, one in enumerate(trials):
        (alone,), events_alone = run([one], corpus)
        same(together[index], alone, 2e-4)
        assert [(type(e), e.step) for i, e in events if i == index] == [(type(e), e.step) for _, e in events_alone]


@pytest.mark.parametrize("changes", SCHEDULES)
def test_every_loss_of_a_group_is_the_plain_models(corpus: Corpus, changes: dict[str, Any]) -> None:
    trials = [trial(seed, learning_rate=rate, **changes) for seed, rate in ((1337, 3e-3), (7, 1e-3))]
    _, events = run(trials, corpus)
    for index, one in enumerate(trials):
        found = [event.batch_loss for i, event in events if i == index and isinstance(event, Progress)]
        assert found == pytest.approx(plain_losses(one, corpus), abs=1e-4)
        assert found[-1] < found[0] - 0.3


def plain_losses(one: Trial, corpus: Corpus) -> list[float]:
    """The losses of the plain model, from the trial's initial weights and batches, with PyTorch's own AdamW."""
    torch.manual_seed(one.seed)
    config = ModelConfig(shape=one.shape, vocab_size=corpus.vocab_size)
    ours, plain = GPT(config), PlainGPT(config)
    copy_into_plain(ours, plain, config)
    optimizer = torch.optim.AdamW(plain.parameters(), weight_decay=one.training.weight_decay)
    batches = training_batches(torch.from_numpy(corpus.train), batch_size=8, block_size=16, seed=one.seed)
    losses = []
    for step, (inputs, targets) in enumerate(islice(batches, one.training.steps)):
        optimizer.param_groups[0]["lr"] = learning_rate_at(one.training, step)
        loss = F.cross_entropy(plain(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_dropout_levels_train_together_and_none_disturbs_the_one_without(corpus: Corpus) -> None:
    trials = [trial(3, 0.3), trial(3, 0.0), trial(3, 0.1), trial(4, 0.3)]
    together, _ = run(trials, corpus)
    again, _ = run(trials, corpus)
    (alone,), _ = run([trials[1]], corpus)
    same(together[1], alone, 2e-4)
    for found, second, one in zip(together, again, trials, strict=True):
        assert isinstance(found, TrainingResult)
        assert isinstance(second, TrainingResult)
        assert found.evaluations == second.evaluations
        assert found.model.config.shape == one.shape
        assert found.summary.final_val_loss < found.evaluations[0].val_loss - 0.5
        (apart,), _ = run([one], corpus)
        assert isinstance(apart, TrainingResult)
        assert found.summary.final_val_loss == pytest.approx(apart.summary.final_val_loss, abs=0.06)
    losses = [found.summary.final_val_loss for found in together if isinstance(found, TrainingResult)]
    assert len(set(losses)) == 4


def test_one_that_diverges_ends_alone(corpus: Corpus) -> None:
    trials = [trial(1), trial(2, learning_rate=1e18), trial(3, 0.2)]
    together, events = run(trials, corpus)
    steps = [event.step for index, event in events if index == 1]
    assert isinstance(together[1], DivergedError)
    assert together[1].step == max(steps) + 1
    assert together[1].learning_rate == 1e18
    assert max(event.step for index, event in events if index != 1) == 30
    (alone,), _ = run([trials[0]], corpus)
    same(together[0], alone, 2e-4)
    assert isinstance(together[2], TrainingResult)
    everyone, events = run([trials[1], trials[1]], corpus)
    assert all(isinstance(ended, DivergedError) for ended in everyone)
    assert max(event.step for _, event in events) < 30


def test_a_group_of_one_that_diverges_is_an_error_of_train_alone(corpus: Corpus) -> None:
    (ended,), _ = run([trial(learning_rate=1e18)], corpus)
    assert isinstance(ended, DivergedError)
    with pytest.raises(DivergedError):
        list(train(trial(learning_rate=1e18), corpus, CPU))


def test_bfloat16_trains_a_group_to_nearly_the_same_losses(corpus: Corpus) -> None:
    exact, _ = run([trial(1), trial(2)], corpus)
    rough, _ = run([trial(1, precision="bfloat16"), trial(2, precision="bfloat16")], corpus)
    for a, b in zip(exact, rough, strict=True):
        assert isinstance(a, TrainingResult)
        assert isinstance(b, TrainingResult)
        assert b.summary.final_val_loss == pytest.approx(a.summary.final_val_loss, abs=0.05)
        assert b.summary.final_val_loss != a.summary.final_val_loss
        assert all(p.dtype == torch.float32 for p in b.model.parameters())


def test_the_losses_reported_are_those_of_the_models_returned_and_times_are_shared(corpus: Corpus) -> None:
    results, _ = run([trial(1), trial(2, 0.1)], corpus)
    train_seconds = set()
    for result in results:
        assert isinstance(result, TrainingResult)
        assert not result.model.training
        found = evaluate(result.model, torch.from_numpy(corpus.val))
        assert result.val.mean == pytest.approx(found.mean, rel=1e-5) == result.summary.final_val_loss
        assert result.val.by_position == pytest.approx(found.by_position, rel=1e-4)
        part = evaluate(result.model, torch.from_numpy(corpus.train[: len(corpus.val)]))
        assert result.summary.final_train_loss == pytest.approx(part.mean, rel=1e-5)
        assert result.summary.tokens_per_second == pytest.approx(30 * 8 * 16 / result.summary.train_seconds)
        assert result.summary.n_params == sum(p.numel() for p in result.model.parameters())
        train_seconds.add(result.summary.train_seconds)
    assert len(train_seconds) == 1


def test_only_seed_dropout_and_learning_rate_may_differ(corpus: Corpus) -> None:
    one = trial()
    assert len({group_key(t) for t in (one, trial(2), trial(dropout=0.5), trial(learning_rate=1.0))}) == 1
    others = [
        trial(batch_size=4), trial(steps=3), trial(precision="bfloat16"), trial(schedule="cosine"),
        Trial(shape=dataclasses.replace(SMALL, n_head=4), training=SETUP),
    ]  # fmt: skip
    for other in others:
        assert group_key(other) != group_key(one)
        with pytest.raises(ConfigError, match=r"cannot train in one group; only seed, dropout, learning_rate may"):
            next(train_group([one, other], corpus, CPU))
    with pytest.raises(ConfigError, match="a group has no trials"):
        next(train_group([], corpus, CPU))
    short = Corpus.from_text("to be or not to be " * 6, name="short")
    with pytest.raises(CorpusError, match="block_size=16 is too long"):
        next(train_group([one, trial(2)], short, CPU))


def test_batches_side_by_side_are_those_of_each_seed_alone() -> None:
    tokens, seeds = torch.arange(900), [5, 6, 5]
    alone = [training_batches(tokens, batch_size=3, block_size=7, seed=seed) for seed in seeds]
    batches = ReplicaBatches(tokens, batch_size=3, block_size=7, seeds=seeds)
    step = 0
    while step < 600:  # more than two chunks of offsets
        for _ in range(batches.prepare(step)):
            inputs, targets = batches.gather(torch.tensor([step]))
            expected = [next(one) for one in alone]
            assert torch.equal(inputs, torch.stack([one for one, _ in expected]))
            assert torch.equal(targets, torch.stack([one for _, one in expected]))
            step += 1


@pytest.mark.filterwarnings("ignore:the training step could not be captured")
@pytest.mark.parametrize("error", [None, RuntimeError("cannot")])
def test_captured_or_not_a_group_learns_the_same(corpus: Corpus, error: Exception | None) -> None:
    """Steps that warm up, the replays and what follows a capture that failed are all steps of one training."""
    trials, capturer = [trial(1, 0.1), trial(2)], Recording(error)
    plain, captured = ReplicaLearner(trials, corpus, CPU), ReplicaLearner(trials, corpus, CPU, capturer)
    found = []
    for learner in (plain, captured):
        torch.manual_seed(0)  # both draw from the global generator
        found.append([learner.take(2), learner.take(9), learner.evaluate()])
    assert found[0] == found[1]
    assert capturer.log[:4] == ["warm up"] * 3 + ["capture"]
    assert capturer.log.count("replay") == (8 if error is None else 0)


def _losses_in_a_prepared_process(text: str, precision: str) -> list[list[float]]:
    """The validation losses of two equal groups and of another one, trained one after the other as a worker does."""
    device, corpus = torch.device("cuda"), Corpus.from_text(text, name="generated")
    prepare_process(device, 1)
    losses = []
    for rates in ((0.0, 0.1, 0.3), (0.0, 0.1, 0.3), (0.2,)):
        results, _ = run([trial(7, rate, precision=precision) for rate in rates], corpus, device)
        losses.append([result.summary.final_val_loss for result in results if isinstance(result, TrainingResult)])
        del results
        release_memory(device)
    return losses


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_cuda_a_prepared_process_repeats_its_results_group_after_group(text: str, precision: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        first, again, other = pool.submit(_losses_in_a_prepared_process, text, precision).result()
    assert first == again
    assert (len(first), len(other)) == (3, 1)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_cuda_a_captured_group_trains_as_each_trial_on_the_cpu(corpus: Corpus) -> None:
    device = torch.device("cuda")
    trials = [trial(1), trial(2, 0.3), trial(3, learning_rate=1e-3)]
    together, _ = run(trials, corpus, device)
    for index in (0, 2):
        (alone,), _ = run([trials[index]], corpus)
        found = together[index]
        assert isinstance(found, TrainingResult)
        assert isinstance(alone, TrainingResult)
        assert found.summary.final_val_loss == pytest.approx(alone.summary.final_val_loss, abs=1e-3)
    eager = ReplicaLearner(trials, corpus, device)
    eager.take(30)
    for index in (0, 2):
        found = together[index]
        assert isinstance(found, TrainingResult)
        assert eager.evaluate()[index][1].mean == pytest.approx(found.summary.final_val_loss, abs=1e-4)


def test_a_trial_that_is_asked_to_stop_yields_no_more_and_the_others_train_on_untouched(corpus: Corpus) -> None:
    trials = [trial(1), trial(2), trial(3)]
    alone, _ = run([trial(1)], corpus)
    training, events = train_group(trials, corpus, CPU), []
    request = None
    while True:
        try:
            index, event = training.send(request)
        except StopIteration as end:
            outcomes = end.value
            break
        events.append((index, event))
        request = Stop(index=1) if (index, event.step) == (0, 10) and isinstance(event, Evaluation) else None
    assert outcomes[1] == Stopped(step=10)
    assert max(event.step for index, event in events if index == 1) == 10
    assert not any(index == 1 and isinstance(event, Evaluation) and event.step == 10 for index, event in events)
    same(outcomes[0], alone[0], tolerance=1e-5)
    assert isinstance(outcomes[2], TrainingResult)


def test_when_every_trial_is_asked_to_stop_training_ends_at_once(corpus: Corpus) -> None:
    training = train_group([trial(1)], corpus, CPU)
    next(training)
    with pytest.raises(StopIteration) as end:
        training.send(Stop(index=0))
    assert end.value.value == [Stopped(step=0)]


def test_a_trial_that_has_had_its_last_evaluation_cannot_be_stopped_any_more(corpus: Corpus) -> None:
    training, last = train_group([trial(1)], corpus, CPU), None
    while last != SETUP.steps:
        _, event = next(training)
        last = event.step if isinstance(event, Evaluation) else None
    with pytest.raises(StopIteration) as end:
        training.send(Stop(index=0))
    assert isinstance(end.value.value[0], TrainingResult)
