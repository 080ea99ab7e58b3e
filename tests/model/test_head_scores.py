"""Head scores on attention that is known: ideal heads, uniform ones, and a model's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gpt_experiments.config import ModelConfig
from gpt_experiments.corpus import Corpus
from gpt_experiments.model import GPT
from gpt_experiments.model.head_scores import (
    HeadScores,
    first_position,
    head_scores,
    induction,
    normalised_entropy,
    previous_position,
    same_character,
    same_word,
)
from gpt_experiments.names import HEAD_SCORES
from gpt_experiments.parameters import Shape


def uniform(length: int) -> Tensor:
    weights = torch.ones(length, length).tril()
    return weights / weights.sum(dim=-1, keepdim=True)


def looking_at(keys: list[int]) -> Tensor:
    """Weights (T, T) of a head whose query i puts everything on keys[i]."""
    return torch.eye(len(keys))[keys]


def test_ideal_heads_have_the_score_they_are_ideal_for() -> None:
    previous = looking_at([0, 0, 1, 2, 3, 4])
    assert float(previous_position(previous)) == 1
    assert float(first_position(previous)) == pytest.approx(1 / 5)
    assert float(normalised_entropy(previous)) == 0
    assert float(first_position(looking_at([0] * 6))) == 1
    assert float(normalised_entropy(uniform(40))) == pytest.approx(1)
    words = torch.tensor([0, 0, 1, 1, 1, 2])
    assert float(same_word(looking_at([0, 0, 2, 2, 2, 5]), words)) == 1
    assert float(same_word(looking_at([0, 0, 1, 1, 1, 4]), words)) == pytest.approx(2 / 6)


def test_lifts_are_one_by_chance_and_as_much_as_there_is_to_gain() -> None:
    tokens = torch.tensor([3, 1, 3, 1, 3])
    assert float(same_character(uniform(5), tokens)) == pytest.approx(1)
    by_chance = 1 / 3 + 1 / 4 + 2 / 5  # what uniform attention puts on an earlier equal character
    assert float(same_character(looking_at([0, 1, 0, 1, 2]), tokens)) == pytest.approx(3 / by_chance)
    assert math.isnan(float(same_character(uniform(3), torch.tensor([0, 1, 2]))))

    assert float(induction(uniform(8), 4)) == pytest.approx(1)
    perfect = looking_at([0, 1, 2, 3, 1, 2, 3, 4])
    assert float(induction(perfect, 4)) == pytest.approx(4 / (1 / 5 + 1 / 6 + 1 / 7 + 1 / 8))


def test_every_head_of_a_model_is_scored_and_short_contexts_say_so(corpus: Corpus) -> None:
    torch.manual_seed(0)
    model = GPT(
        ModelConfig(shape=Shape(n_head=4, n_layer=3, n_embed=16, block_size=40), vocab_size=corpus.vocab_size)
    ).train()
    measured = head_scores(model, corpus)
    assert measured.repeat_length == 20
    assert all(measured.scores[name].shape == (3, 4) for name in HEAD_SCORES)
    assert model.training
    rows = measured.rows()
    assert [(row["layer"], row["head"]) for row in rows[:5]] == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
    assert all(0.9 < float(str(row["entropy"])) <= 1 for row in rows)  # untrained: nearly uniform
    assert all(float(str(row["induction"])) == pytest.approx(1, abs=0.3) for row in rows)

    tiny = GPT(ModelConfig(shape=Shape(n_head=1, n_layer=1, n_embed=8, block_size=3), vocab_size=corpus.vocab_size))
    short = head_scores(tiny, corpus)
    assert short.repeat_length == 0
    assert math.isnan(float(short.scores["induction"]))


@pytest.mark.parametrize(
    ("score", "value", "name"),
    [
        ("induction", 12.0, "induction"),
        ("previous_position", 0.6, "previous character"),
        ("first_position", 0.6, "first character"),
        ("same_word", 0.8, "own word"),
        ("same_character", 5.0, "same character"),
        ("entropy", 0.98, "uniform"),
        ("entropy", 0.5, ""),
    ],
)
def test_a_head_is_named_where_a_score_is_clear(score: str, value: float, name: str) -> None:
    scores = {each: torch.zeros(1, 1) for each in HEAD_SCORES} | {score: torch.full((1, 1), value)}
    assert HeadScores(scores=scores, repeat_length=64).name(0, 0) == name
