"""A trial that is stopped and goes on from its state: the same, bit for bit, as one that was not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import islice

import pytest
import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import CheckpointError
from gpt_experiments.kernels import switch_kernels
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import (
    Evaluation,
    Progress,
    Request,
    Save,
    Stop,
    Stopped,
    TrainingResult,
    TrialState,
    require_usable,
    together_of,
    train_group,
)
from gpt_experiments.training.batches import ReplicaBatches, training_batches

CPU = torch.device("cpu")
SMALL = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.2, block_size=8)
SETUP = TrainingSetup(
    steps=12, batch_size=2, learning_rate=3e-3, eval_interval=4, schedule="cosine", warmup_steps=3, weight_decay=0.1
)
PLACES = [(Progress, 3), (Evaluation, 4), (Progress, 12)]
"""Before the first evaluation, at one, and where only the last evaluation is missing."""

Answer = Callable[[int, object], Request]


def trial(seed: int = 1, dropout: float = 0.2, precision: str = "float32") -> Trial:
    setup = dataclasses.replace(SETUP, precision=precision)
    return Trial(shape=dataclasses.replace(SMALL, dropout=dropout), seed=seed, training=setup)


def nothing(index: int, event: object) -> Request:
    return None


def run(
    trials: Sequence[Trial], corpus: Corpus, answer: Answer = nothing, states: Sequence[TrialState] = ()
) -> tuple[list[TrainingResult | Stopped], list[tuple[int, object]]]:
    torch.rand(7)  # whatever the process has drawn before
    training, events = train_group(trials, corpus, CPU, states), []
    request: Request = None
    while True:
        try:
            index, event = training.send(request)
        except StopIteration as end:
            return end.value, events
        events.append((index, event))
        request = answer(index, event)


def stop_at(kind: type, step: int) -> Answer:
    def answer(index: int, event: object) -> Request:
        return Stop(index=index, keep=True) if type(event) is kind and event.step == step else None

    return answer


def states_of(outcomes: Sequence[TrainingResult | Stopped]) -> list[TrialState]:
    """The states, as they come back from where they were kept."""
    states = []
    for outcome in outcomes:
        assert isinstance(outcome, Stopped)
        assert outcome.state is not None
        states.append(TrialState.from_bytes(outcome.state.to_bytes()))
    return states


def require_same(found: TrainingResult | Stopped, expected: TrainingResult | Stopped) -> None:
    assert isinstance(found, TrainingResult)
    assert isinstance(expected, TrainingResult)
    assert found.evaluations == expected.evaluations
    assert found.val == expected.val
    assert found.replicas == expected.replicas
    for mine, theirs in zip(found.model.parameters(), expected.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.fixture(params=[True, False], ids=["kernels on", "kernels off"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT_EXPERIMENTS_KERNELS", "on")
    switch_kernels(on=request.param)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dropouts", [(0.2,), (0.2, 0.0, 0.1)], ids=["alone", "group"])
def test_stopped_at_three_places_it_goes_on_to_the_same_weights(
    corpus: Corpus, dropouts: tuple[float, ...], precision: str
) -> None:
    trials = [trial(seed, dropout, precision) for seed, dropout in enumerate(dropouts)]
    expected, events = run(trials, corpus)
    states: list[TrialState] = []
    continued: list[tuple[int, object]] = []
    for kind, step in PLACES:
        outcomes, some = run(trials, corpus, stop_at(kind, step), states)
        continued += some
        states = states_of(outcomes)
        assert {state.step for state in states} == {step}
    outcomes, some = run(trials, corpus, states=states)
    for found, one in zip(outcomes, expected, strict=True):
        require_same(found, one)
    assert [(i, type(e), e.step) for i, e in continued + some] == [(i, type(e), e.step) for i, e in events]


def test_one_of_a_group_goes_on_as_if_the_others_still_trained(corpus: Corpus) -> None:
    trials = [trial(1), trial(2, 0.0), trial(3, 0.1)]
    expected, _ = run(trials, corpus)
    outcomes, _ = run(trials, corpus, stop_at(Progress, 6))
    _, _, last = states_of(outcomes)
    (found,), events = run([trials[2]], corpus, states=[last])
    require_same(found, expected[2])
    assert {index for index, _ in events} == {0}


def test_a_state_may_be_saved_while_training_goes_on_untouched(corpus: Corpus) -> None:
    expected, _ = run([trial(1), trial(2)], corpus)

    def save(index: int, event: object) -> Request:
        return Save(index=index) if isinstance(event, Evaluation) and event.step == 8 else None

    outcomes, events = run([trial(1), trial(2)], corpus, save)
    states = [event for _, event in events if isinstance(event, TrialState)]
    assert [(state.index, state.step) for state in states] == [(0, 8), (1, 8)]
    again, _ = run([trial(1), trial(2)], corpus, states=states)
    for found in (outcomes, again):
        for one, same in zip(found, expected, strict=True):
            require_same(one, same)


def test_times_add_up_over_a_pause(corpus: Corpus) -> None:
    outcomes, _ = run([trial()], corpus, stop_at(Evaluation, 8))
    (state,) = states_of(outcomes)
    late = dataclasses.replace(state, train_seconds=1000.0, eval_seconds=500.0)
    (found,), _ = run([trial()], corpus, states=[late])
    assert isinstance(found, TrainingResult)
    assert 1000 < found.summary.train_seconds < 1100
    assert 500 < found.summary.eval_seconds < 600
    assert found.summary.tokens_per_second == pytest.approx(12 * 2 * 8 / found.summary.train_seconds)


def test_before_the_first_step_there_is_nothing_to_keep(corpus: Corpus) -> None:
    outcomes, _ = run([trial()], corpus, stop_at(Evaluation, 0))
    assert outcomes == [Stopped(step=0)]


@pytest.mark.parametrize("start", [0, 5, 256, 300, 513])
def test_batches_are_found_again_in_the_middle(start: int) -> None:
    tokens, how = torch.arange(900), {"batch_size": 3, "block_size": 7}
    expected = list(islice(training_batches(tokens, seed=5, **how), start, start + 300))
    alone = training_batches(tokens, seed=5, start=start, **how)
    batches = ReplicaBatches(tokens, seeds=[4, 5], start=start, **how)
    for step, (inputs, targets) in enumerate(expected, start=start):
        assert batches.prepare(step) == 256 - step % 256
        found = batches.gather(torch.tensor([step]))
        assert torch.equal(found[0][1], inputs)
        assert torch.equal(found[1][1], targets)
        assert torch.equal(next(alone)[0], inputs)


def test_damaged_bytes_are_an_error_that_says_so(corpus: Corpus) -> None:
    outcomes, _ = run([trial()], corpus, stop_at(Progress, 2))
    data = states_of(outcomes)[0].to_bytes()
    for damaged in (
        b"",
        b"abc",
        data[:-1],
        data[:200],
        b"\xff" * 8 + data[8:],
        data.replace(b"trial state 1", b"trial state 9"),
    ):
        with pytest.raises(CheckpointError, match="the saved state of a trial cannot be read"):
            TrialState.from_bytes(damaged)
    with pytest.raises(CheckpointError, match="cannot be read"):
        TrialState.from_bytes(data.replace(b'\\"index\\": 0', b'\\"index\\": 7'))


def test_a_state_serves_its_own_trial_on_its_kind_of_device_alone(corpus: Corpus) -> None:
    outcomes, _ = run([trial()], corpus, stop_at(Progress, 2))
    (state,) = states_of(outcomes)
    require_usable(state, trial(), corpus.vocab_size, CPU)
    with pytest.raises(CheckpointError, match="that of another trial; the trial begins anew"):
        require_usable(state, trial(seed=2), corpus.vocab_size, CPU)
    with pytest.raises(CheckpointError, match="trained on cpu, and on cuda it would not train to the same result"):
        require_usable(state, trial(), corpus.vocab_size, torch.device("cuda"))
    with pytest.raises(CheckpointError, match="does not fit its trial"):
        require_usable(state, trial(), corpus.vocab_size + 1, CPU)


def test_states_that_stand_elsewhere_do_not_go_on_together(corpus: Corpus) -> None:
    outcomes, _ = run([trial(1), trial(2)], corpus, stop_at(Evaluation, 4))
    first, second = states_of(outcomes)
    assert first.together == second.together == together_of(second.to_bytes())
    others = [{"step": 5}, {"threads": 99}, {"kernels": not first.kernels}, {"evaluations": ()}, {"device": "cuda"}]
    assert len({first.together, *(dataclasses.replace(first, **other).together for other in others)}) == 6
