"""The training loop, its batches and its exact losses, held to the plain model and to plain arithmetic."""

from __future__ import annotations

import dataclasses
import math
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from gpt_experiments.config import ModelConfig, Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import ConfigError, CorpusError, DivergedError
from gpt_experiments.kernels import why_not_compiled
from gpt_experiments.model import GPT
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import Evaluation, Progress, TrainingResult, evaluate, resolve_device, train
from gpt_experiments.training.batches import training_batches
from tests.reference.plain_gpt import PlainGPT
from tests.training.weights import copy_into_plain

CPU = torch.device("cpu")
SMALL = Shape(n_head=2, n_layer=2, n_embed=16, dropout=0.1, block_size=16)
SETUP = TrainingSetup(steps=30, batch_size=8, learning_rate=3e-3, eval_interval=10)
GOLDEN = {  # by dropout: step, training loss, validation loss
    0.0: [(0, 4.171022, 4.192803), (10, 3.682415, 3.708468), (20, 3.360139, 3.379578), (30, 3.143787, 3.163548)],
    0.1: [(0, 4.171022, 4.192803), (10, 3.687773, 3.713695), (20, 3.363735, 3.383546), (30, 3.148179, 3.168170)],
}
TRIAL = Trial(shape=SMALL, seed=1337, training=SETUP)


def run(trial: Trial, corpus: Corpus) -> tuple[TrainingResult, list[Progress | Evaluation]]:
    events, training = [], train(trial, corpus, CPU)
    while True:
        try:
            events.append(next(training))
        except StopIteration as end:
            return end.value, events


@pytest.mark.parametrize(
    "dropout", [0.0, pytest.param(0.1, marks=pytest.mark.skipif(why_not_compiled() is not None, reason="needs Numba"))]
)
def test_golden_losses(corpus: Corpus, dropout: float) -> None:
    """The same inputs train to the same losses: a change here needs a higher TRAINING_VERSION."""
    variant = dataclasses.replace(SMALL, dropout=dropout)
    result, _ = run(Trial(shape=variant, training=SETUP), corpus)
    found = [(e.step, e.train_loss, e.val_loss) for e in result.evaluations]
    golden = GOLDEN[dropout]
    for (step, train_loss, val_loss), (golden_step, golden_train, golden_val) in zip(found, golden, strict=True):
        assert step == golden_step
        assert train_loss == pytest.approx(golden_train, abs=2e-4)
        assert val_loss == pytest.approx(golden_val, abs=2e-4)


def test_two_trainings_are_equal_and_another_seed_is_not(corpus: Corpus) -> None:
    (first, _), (second, _) = run(TRIAL, corpus), run(TRIAL, corpus)
    assert first.evaluations == second.evaluations
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    other, _ = run(Trial(shape=SMALL, seed=1, training=SETUP), corpus)
    assert other.evaluations[-1].val_loss != first.evaluations[-1].val_loss


def test_without_dropout_every_loss_is_the_plain_models(corpus: Corpus) -> None:
    """Thirty steps of the plain model, from the same weights and batches, with PyTorch's own AdamW."""
    variant = Shape(n_head=2, n_layer=2, n_embed=16, dropout=0.0, block_size=16)
    _, events = run(Trial(shape=variant, training=SETUP), corpus)
    found = [event.batch_loss for event in events if isinstance(event, Progress)]

    torch.manual_seed(1337)
    config = ModelConfig(shape=variant, vocab_size=corpus.vocab_size)
    ours = GPT(config)
    plain = PlainGPT(config)
    copy_into_plain(ours, plain, config)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=3e-3)
    batches = training_batches(torch.from_numpy(corpus.train), batch_size=8, block_size=16, seed=1337)
    expected = []
    for inputs, targets in islice(batches, 30):
        loss = F.cross_entropy(plain(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert found == pytest.approx(expected, abs=1e-4)
    assert found[-1] < found[0] - 0.5


def test_events_come_in_order_and_the_summary_is_their_end(corpus: Corpus) -> None:
    result, events = run(Trial(shape=SMALL, training=TrainingSetup(steps=25, batch_size=4, eval_interval=10)), corpus)
    evaluations = [event for event in events if isinstance(event, Evaluation)]
    assert [e.step for e in evaluations] == [0, 10, 20, 25]
    assert [e.step for e in events if isinstance(e, Progress)] == list(range(1, 26))
    assert result.evaluations == tuple(evaluations)
    assert result.summary.final_val_loss == evaluations[-1].val_loss
    assert result.summary.best_val_loss == min(e.val_loss for e in evaluations)
    assert evaluations[0].val_loss == pytest.approx(math.log(corpus.vocab_size), abs=0.4)
    assert result.summary.tokens_per_second == pytest.approx(25 * 4 * 16 / result.summary.train_seconds)
    assert result.summary.n_params == sum(p.numel() for p in result.model.parameters())
    assert not result.model.training


def test_batches_depend_on_seed_and_shape_alone_and_targets_are_shifted_by_one() -> None:
    tokens = torch.arange(500)

    def first(seed: int, block_size: int) -> list[torch.Tensor]:
        batches = training_batches(tokens, batch_size=4, block_size=block_size, seed=seed)
        return [inputs for inputs, targets in islice(batches, 300) if torch.equal(targets, inputs + 1)]

    a = first(1, 10)
    torch.manual_seed(99)
    b = first(1, 10)
    assert len(a) == 300
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], first(2, 10)[0])
    starts = torch.stack(a)[:, :, 0].flatten()
    assert starts.min() >= 0
    assert starts.max() <= 500 - 10 - 1
    assert len(starts.unique()) > 400  # of 490, by 1,200 uniform draws


@pytest.mark.parametrize("length", [2, 5, 17, 33, 300, 7000])
def test_evaluate_takes_every_target_once_in_consecutive_windows(length: int) -> None:
    torch.manual_seed(0)
    model = GPT(ModelConfig(shape=SMALL, vocab_size=11)).train()
    tokens = torch.randint(11, (length,))
    losses: list[list[float]] = [[] for _ in range(16)]
    model.eval()
    for start in range(0, length - 1, 16):
        inputs, targets = tokens[start : start + 16], tokens[start + 1 : start + 17]
        window = F.cross_entropy(model(inputs[None, : len(targets)])[0], targets, reduction="none")
        for position, loss in enumerate(window.tolist()):
            losses[position].append(loss)
    model.train()
    found = evaluate(model, tokens)
    assert found.mean == pytest.approx(sum(map(sum, losses)) / (length - 1), rel=1e-5)
    assert found.by_position == pytest.approx([sum(x) / len(x) for x in losses if x], rel=1e-5)
    in_order = [losses[i % 16][i // 16] for i in range(length - 1)]
    assert found.by_character.tolist() == pytest.approx(in_order, rel=1e-3)  # as float16
    assert evaluate(model, tokens) == found
    assert model.training


def test_a_loss_that_is_not_finite_ends_the_trial(corpus: Corpus) -> None:
    setup = TrainingSetup(steps=60, batch_size=4, learning_rate=1e18)
    with pytest.raises(DivergedError, match=r"the loss is \S+ at step \d+.*lower learning_rate \(now 1e\+18\)"):
        run(Trial(shape=SMALL, training=setup), corpus)


def test_a_corpus_too_short_for_the_context_is_refused_before_any_training() -> None:
    short = Corpus.from_text("to be or not to be " * 10, name="short")
    with pytest.raises(CorpusError, match="block_size=128 is too long for the"):
        next(train(Trial(shape=Shape()), short, CPU))


def test_bfloat16_trains_to_nearly_the_same_loss(corpus: Corpus) -> None:
    exact, _ = run(TRIAL, corpus)
    setup = TrainingSetup(steps=30, batch_size=8, learning_rate=3e-3, eval_interval=10, precision="bfloat16")
    rough, _ = run(Trial(shape=SMALL, training=setup), corpus)
    assert rough.summary.final_val_loss == pytest.approx(exact.summary.final_val_loss, abs=0.05)
    assert rough.summary.final_val_loss != exact.summary.final_val_loss


@pytest.mark.parametrize("name", ["tpu", "", "cuda:99", "xla", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="device"):
        resolve_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_trains_to_the_cpus_losses_without_dropout(corpus: Corpus) -> None:
    variant = Shape(n_head=2, n_layer=2, n_embed=16, dropout=0.0, block_size=16)
    trial = Trial(shape=variant, training=SETUP)
    expected, _ = run(trial, corpus)
    training = train(trial, corpus, torch.device("cuda"))
    losses = [event.val_loss for event in training if isinstance(event, Evaluation)]
    assert losses == pytest.approx([e.val_loss for e in expected.evaluations], abs=1e-3)
