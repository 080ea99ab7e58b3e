"""Pictures of attention while a trial trains: when, of which text, and that training does not notice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gpt_experiments.artifacts import STUDY_TEXT
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.group_training import Step, train_jobs
from gpt_experiments.execution.protocol import Job, Picture
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.training import Attention, Evaluation, Look, TrainingResult, train_group

CPU = torch.device("cpu")
SHAPE = Shape(n_head=2, n_layer=3, n_embed=8, dropout=0.1, block_size=16)
TRIAL = Trial(shape=SHAPE, seed=1, training=TrainingSetup(steps=4, batch_size=2, eval_interval=2))


def trained(corpus: Corpus, *jobs: Job) -> list[tuple[str, Step]]:
    return [(job.key, step) for job, step in train_jobs(jobs, corpus, CPU, train_group)]


def job(key: str, *, watched: bool = True, seed: int = 1, steps: int = 4, interval: int = 2) -> Job:
    setup = dataclasses.replace(TRIAL.training, steps=steps, eval_interval=interval)
    trial = dataclasses.replace(TRIAL, seed=seed, training=setup)
    return Job(key=key, trial=trial, label="n_layer=3", watches_attention=watched)


def pictured(steps: list[tuple[str, Step]]) -> list[tuple[str, int]]:
    return [(key, step.step) for key, step in steps if isinstance(step, Picture)]


def test_there_is_a_picture_of_each_evaluation_of_what_is_watched_and_training_is_the_same(corpus: Corpus) -> None:
    watched, alone = trained(corpus, job("a")), trained(corpus, job("a", watched=False))
    assert pictured(watched) == [("a", 0), ("a", 2), ("a", 4)]
    assert pictured(alone) == []
    losses = [[step for _, step in steps if isinstance(step, Evaluation)] for steps in (watched, alone)]
    assert losses[0] == losses[1]
    models = [step.model for steps in (watched, alone) for _, step in steps if isinstance(step, TrainingResult)]
    for mine, theirs in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(mine, theirs)


def test_trials_that_train_together_have_pictures_of_their_own(corpus: Corpus) -> None:
    steps = trained(corpus, job("a", seed=1), job("b", seed=2), job("c", seed=3, watched=False))
    assert sorted(pictured(steps)) == [(key, step) for key in "ab" for step in (0, 2, 4)]
    images = {key: step.image for key, step in steps if isinstance(step, Picture) and step.step == 4}
    assert images["a"].shape == images["b"].shape
    assert not np.array_equal(images["a"], images["b"])


@pytest.mark.slow
def test_many_evaluations_have_fifty_pictures_the_last_among_them(corpus: Corpus) -> None:
    steps = [step for _, step in pictured(trained(corpus, job("a", steps=120, interval=1)))]
    assert len(steps) <= 50
    assert steps[-1] == 120
    assert set(np.diff(steps)) == {3}


def test_attention_is_that_of_the_weights_at_its_step(corpus: Corpus) -> None:
    tokens = np.arange(9)
    training, request, seen = train_group([TRIAL], corpus, CPU), None, []
    while True:
        try:
            _, event = training.send(request)
        except StopIteration as end:
            (result,) = end.value
            break
        request = Look(index=0, tokens=tokens) if isinstance(event, Evaluation) else None
        seen += [event] if isinstance(event, Attention) else []
    assert [event.step for event in seen] == [0, 2, 4]
    assert seen[-1].weights.shape == (3, 2, 9, 9)
    expected = result.model.attention_maps(torch.from_numpy(tokens))
    np.testing.assert_array_equal(seen[-1].weights, expected.numpy())
    assert not np.array_equal(seen[0].weights, seen[-1].weights)


def test_the_text_ends_with_the_context() -> None:
    text = STUDY_TEXT + "abcdefghijklmnopqrstuvwxyz,;!?ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 3
    small = dataclasses.replace(SHAPE, block_size=4, n_layer=1)
    trial = dataclasses.replace(TRIAL, shape=small)
    few = Job(key="a", trial=trial, label="x", watches_attention=True)
    assert pictured(trained(Corpus.from_text(text, name="text"), few)) == [("a", 0), ("a", 2), ("a", 4)]


def test_more_than_the_context_is_refused(corpus: Corpus) -> None:
    training = train_group([TRIAL], corpus, CPU)
    next(training)
    with pytest.raises(ValueError, match="at most block_size=16 fit"):
        training.send(Look(index=0, tokens=np.zeros(17, np.int64)))
