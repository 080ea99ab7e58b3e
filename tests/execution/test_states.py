"""States of jobs in a worker: when they are saved, and how jobs go on from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution import states
from gpt_experiments.execution.group_training import Step, Trainer, train_jobs
from gpt_experiments.execution.protocol import Job, JobFailed, JobStopped, Notice, Saved, StopJob
from gpt_experiments.execution.states import SavingRules, StateSaver
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import Evaluation, Progress, TrainingResult, TrialState
from tests.support import trainers

SHAPE = Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.1, block_size=16)
SETUP = TrainingSetup(steps=6, batch_size=2, eval_interval=2)
CPU = torch.device("cpu")


def jobs_of(*seeds: int) -> list[Job]:
    trials = [Trial(shape=SHAPE, seed=seed, training=SETUP) for seed in seeds]
    return [Job(key=str(trial.seed), trial=trial, label="x") for trial in trials]


def run(
    jobs: Sequence[Job],
    corpus: Corpus,
    stop_after: dict[str, int] | None = None,
    trainer: Trainer = trainers.train_group,
) -> list[tuple[str, Step]]:
    """What happens; a job stops, with its state, after the given step."""
    steps, at = [], dict.fromkeys((job.key for job in jobs), 0)

    def stop_of(key: str) -> StopJob | None:
        return StopJob(key=key, keep=True) if at[key] >= (stop_after or {}).get(key, 99) else None

    for job, step in train_jobs(jobs, corpus, CPU, trainer, stop_of):
        steps.append((job.key, step))
        at[job.key] = getattr(step, "step", at[job.key])
    return steps


def of(kind: type, steps: Sequence[tuple[str, Step]]) -> dict[str, Step]:
    return {key: step for key, step in steps if isinstance(step, kind)}


def weights(step: Step) -> torch.Tensor:
    assert isinstance(step, TrainingResult)
    return torch.cat([parameter.detach().flatten() for parameter in step.model.parameters()])


def test_jobs_that_stopped_at_different_steps_go_on_each_to_its_own_end(corpus: Corpus) -> None:
    jobs = jobs_of(1, 2, 3)
    expected = of(TrainingResult, run(jobs, corpus))
    stopped = of(JobStopped, run(jobs, corpus, {"1": 2, "2": 2, "3": 5}))
    assert {key: step.step for key, step in stopped.items()} == {"1": 2, "2": 2, "3": 5}
    going_on = [dataclasses.replace(job, state=stopped[job.key].state) for job in jobs]
    steps = run(going_on, corpus)
    found = of(TrainingResult, steps)
    assert all(torch.equal(weights(found[key]), weights(expected[key])) for key in expected)
    assert [step.step for key, step in steps if key == "3" and isinstance(step, Progress)] == [6]


def test_a_damaged_state_is_a_notice_and_its_trial_begins_anew(corpus: Corpus) -> None:
    (job,) = jobs_of(1)
    steps = run([dataclasses.replace(job, state=b"nonsense")], corpus)
    (notice,) = of(Notice, steps).values()
    assert notice.text.startswith("x (seed 1): the saved state of a trial cannot be read")
    assert notice.text.endswith("the trial begins anew")
    assert [step.step for _, step in steps if isinstance(step, Evaluation)] == [0, 2, 4, 6]


def test_a_group_that_no_longer_fits_begins_anew_in_halves(corpus: Corpus) -> None:
    jobs = jobs_of(1, 2, 3)
    stopped = of(JobStopped, run(jobs, corpus, {"1": 4, "2": 4, "3": 4}))
    going_on = [dataclasses.replace(job, state=stopped[job.key].state) for job in jobs]

    def two_fit(trials: Sequence[Trial], corpus: Corpus, device: torch.device, states: Sequence[TrialState] = ()):  # type: ignore[no-untyped-def]
        if states:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return trainers.two_fit(trials, corpus, device)

    steps = run(going_on, corpus, trainer=two_fit)
    notices = [step.text for _, step in steps if isinstance(step, Notice)]
    assert notices[0].startswith("3 trials (x and others) were saved in a group of 3, which does not fit into cpu")
    assert len(of(TrainingResult, steps)) == 3
    assert not of(JobFailed, steps)


def test_it_trains_with_the_threads_with_which_it_began(corpus: Corpus) -> None:
    (job,) = jobs_of(1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    (stopped,) = of(JobStopped, run([job], corpus, {"1": 3})).values()
    torch.set_num_threads(1)
    (again,) = of(JobStopped, run([dataclasses.replace(job, state=stopped.state)], corpus, {"1": 5})).values()
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    assert TrialState.from_bytes(again.state or b"").threads == 2


def test_states_are_sent_at_the_evaluations_in_between(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    always = SavingRules(most_share=1e9, seconds_to_keep=0.0)
    monkeypatch.setattr(StateSaver.__init__, "__defaults__", (always, states.time.monotonic))
    steps = run(jobs_of(1, 2), corpus)
    saved = [(key, step.step) for key, step in steps if isinstance(step, Saved)]
    assert saved == [("1", 2), ("2", 2), ("1", 4), ("2", 4)]
    for key, step in steps:
        if isinstance(step, Saved):
            state = TrialState.from_bytes(step.state)
            assert (str(state.trial.seed), state.step) == (key, step.step)


def due(saver: StateSaver, *events: Progress | Evaluation) -> list[bool]:
    trial = Trial(shape=SHAPE, training=dataclasses.replace(SETUP, steps=9_000))
    return [saver.request(0, Job(key="1", trial=trial, label="x"), event) is not None for event in events]


def evaluation(step: int) -> Evaluation:
    return Evaluation(step=step, train_loss=1.0, val_loss=1.0)


def progress(step: int) -> Progress:
    return Progress(step=step, batch_loss=1.0, tokens_per_second=1.0)


def test_saving_takes_no_more_than_its_share_of_the_time() -> None:
    now = 0.0
    saver = StateSaver(2, SavingRules(), lambda: now)  # to keep two takes a tenth of a second
    now = 9.9
    assert due(saver, evaluation(1)) == [False]
    now = 10.1
    assert due(saver, evaluation(0), progress(2), evaluation(9_000)) == [False, False, False]
    assert due(saver, evaluation(2), evaluation(2)) == [True, True]
    now = 11.1
    saver.sent()  # it took a second
    now = 11.1 + 109
    assert due(saver, evaluation(3)) == [False]
    now = 11.1 + 111
    assert due(saver, evaluation(4)) == [True]


def test_without_evaluations_states_are_saved_every_five_minutes() -> None:
    now = 0.0
    saver = StateSaver(1, SavingRules(), lambda: now)
    now = 299.0
    assert due(saver, progress(5)) == [False]
    now = 301.0
    assert due(saver, progress(6), progress(6)) == [True, True]
    saver.sent()
    assert due(saver, progress(7)) == [False]
