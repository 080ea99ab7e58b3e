"""The card as a reader sees it."""

from __future__ import annotations

import dataclasses

import pytest

from gpt_experiments.models.card import ChosenFrom, bits, model_card
from gpt_experiments.models.selection import choose_best
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.tracking import ModelRun
from tests.models.test_selection import done

RUN = ModelRun(
    run_id="r" * 32,
    kind="trial",
    label="n_head=8",
    cell="c" * 16,
    sweep="quick",
    corpus="tiny-shakespeare",
    corpus_digest="d" * 64,
    params={k: str(v) for k, v in {**dataclasses.asdict(Shape()), **dataclasses.asdict(TrainingSetup())}.items()},
    n_params=209_729,
    train_loss=1.5,
    val_loss=1.75,
    best_val_loss=1.625,
    hardware="an abacus",
    versions="torch 2.13.0",
    commit="abc",
)
ORIGIN = ChosenFrom(sweep="quick", run_id="p" * 32, choice=choose_best([done("a", 1, 1.0), done("b", 1, 2.0)]))


def test_it_says_what_the_model_learned_scored_and_cannot_do() -> None:
    card = model_card(RUN, vocabulary="abc\n", sample="KING\n\nab", origin=ORIGIN)
    for part in (
        "# n_head=8\n",
        "209,729 parameters",
        "tiny-shakespeare: 4 distinct characters, SHA-256 `" + "d" * 64,
        "| n_head | 4 |\n| n_layer | 4 |",
        "| training | 1.5000 | 2.1640 |\n| validation | 1.7500 | 2.5247 |\n| guessing at random | 1.3863 | 2.0000 |",
        "those after the last step; the lowest validation loss was 1.6250",
        "    KING\n    \n    ab\n",
        "refuses a prompt with any other",
        "It sees only the last 128 characters",
        "selected by its validation loss among 2 variants",
        "best of sweep quick (run `" + "p" * 32,
        "- trained on an abacus\n- with torch 2.13.0\n- git commit abc\n",
    ):
        assert part in card


def test_a_run_that_was_named_claims_no_choice() -> None:
    card = model_card(RUN, vocabulary="ab", sample="", origin=None)
    assert "selected by" not in card
    assert "a trial of sweep quick" in card
    baseline = dataclasses.replace(RUN, kind="pretrained", cell=None, sweep=None, hardware=None, commit=None)
    card = model_card(baseline, vocabulary="ab", sample="", origin=None)
    assert "after the last step" not in card
    assert "trained on an abacus" not in card
    assert "cell" not in card


def test_it_fits_what_every_database_holds_whatever_the_run_says() -> None:
    long = dataclasses.replace(
        RUN, label="x" * 9000, corpus="y" * 9000, versions="z" * 9000, params=dict.fromkeys(RUN.params, "v" * 6000)
    )
    card = model_card(long, vocabulary="ab", sample="\n".join("w" * 600), origin=ORIGIN)
    assert len(card) < 5000
    assert card.rstrip().endswith("git commit abc")


def test_bits_are_nats_over_the_logarithm_of_two() -> None:
    assert bits(0.6931471805599453) == pytest.approx(1.0)
