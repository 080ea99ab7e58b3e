"""Who is the champion, from losses on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gpt_experiments.analysis.contest import contest
from gpt_experiments.models.challenge import Challenge, challenge
from gpt_experiments.tracking.registry import RegisteredVersion

LOSSES = {1: 2.000, 2: 2.010, 3: 1.990}


def version(number: str, fresh: Mapping[int, float] | None, n_params: int | None = 100) -> RegisteredVersion:
    return RegisteredVersion(
        version=number,
        run_id="r",
        label="n_head=8",
        val_loss=2.0,
        corpus="text",
        corpus_digest="d",
        n_params=n_params,
        fresh=fresh,
    )


def shifted(by: float, wobble: float = 0.001) -> dict[int, float]:
    return {seed: loss + by + wobble * (seed - 2) for seed, loss in LOSSES.items()}


def decide(
    new: Mapping[int, float] | None, n_params: int | None = 100, *, force: bool = False, old_size: int | None = 100
) -> Challenge:
    between = contest(new or {}, LOSSES, 0.01)
    return challenge(version("2", new, n_params), version("1", LOSSES, old_size), between, force=force)


@pytest.mark.parametrize(
    ("by", "wobble", "n_params", "wins", "words"),
    [
        (-0.05, 0.001, 900, True, "its loss on fresh seeds is lower by a test: -0.0500 ± 0.0025 nats per character"),
        (-0.05, 0.05, 50, False, "is not lower by a test"),
        (+0.05, 0.001, 50, False, "is higher: +0.0500"),
        (+0.001, 0.001, 50, True, "is equivalent, within 0.01 nats"),
        (+0.001, 0.001, 100, False, "but it has no fewer parameters"),
        (+0.001, 0.001, None, False, "but it has no fewer parameters"),
    ],
)
def test_it_must_be_better_by_a_test_or_equivalent_and_smaller(
    by: float, wobble: float, n_params: int | None, wins: bool, words: str
) -> None:
    decided = decide(shifted(by, wobble), n_params)
    assert decided.wins == wins
    assert words in decided.why
    assert ("use --force to make version 2 the champion" in decided.why) == (not wins)
    assert decide(shifted(by, wobble), n_params, force=True).wins


def test_fewer_parameters_are_named() -> None:
    assert "it has fewer parameters, 50 instead of 100" in decide(shifted(0.0), 50).why


def test_without_fresh_seeds_a_lower_loss_is_no_proof() -> None:
    decided = decide(None)
    assert not decided.wins
    assert "no test is possible, because version 2 does not have two fresh seeds" in decided.why
    forced = decide(None, force=True)
    assert forced.wins
    assert forced.why.startswith("version 2 is now the champion because of --force, although its loss is 2.0000")
    neither = challenge(version("2", None), version("1", None), None, force=False)
    assert "because neither has two fresh seeds" in neither.why
