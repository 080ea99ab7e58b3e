"""The card as a reader sees it."""

from __future__ import annotations

import dataclasses

import pytest

from gpt_experiments.models.card import ChosenFrom, model_card
from gpt_experiments.models.fresh_words import Rival, bits
from gpt_experiments.models.selection import choose_best
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.tracking import ModelRun
from tests.models import test_selection
from tests.support.confirmed import made_up_registration

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
CHOICE = choose_best([test_selection.done("a", 1, 1.0), test_selection.done("b", 1, 2.0)])
ORIGIN = ChosenFrom(sweep="quick", run_id="p" * 32, choice=CHOICE)


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


def test_it_says_how_it_was_chosen_and_measured_with_fresh_seeds() -> None:
    done = made_up_registration()
    origin = dataclasses.replace(ORIGIN, confirmation=done.confirmation)
    assert done.rival is not None
    assert done.between is not None
    rival = Rival(version=done.rival.version, label=done.rival.label, between=done.between)
    card = model_card(RUN, vocabulary="abc\n", sample="KING", origin=origin, rival=rival)
    for part in (
        "- Contenders: 2 variants that the sweep could not tell from its best (1 more were left out).",
        "- Of 2 contenders n_head=8 has the lowest mean over the sweep's seeds and 1 fresh seed to choose with: 1.748",
        "0.0035 ± 0.0064 nats below the second, n_layer=1.",
        "- A smaller one, n_layer=1, is equivalent to it on the fresh seeds that chose, within 0.01 nats; it has 500 "
        "parameters instead of 900.",
        "- On 3 fresh seeds that had no part in the choice (1000001, 1000002, 1000003) its mean validation loss is "
        "1.7600 ± 0.0248 nats, 2.5391 bits per character.",
        "- The sweep itself said 1.7450, which was optimistic by 0.0150 nats.",
        "- Against the champion before it, version 1 (baseline), its loss is lower by a test: -0.1010 ± 0.0025",
        " nats per character, paired by 3 seeds",
        "- All losses are on one validation split; there is no separate test split.",
    ):
        assert part in card
    assert "so that figure is optimistic" not in card


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
    done = made_up_registration()
    many = {1_000_000 + seed: 2.0 + seed for seed in range(100)}
    assert done.confirmation is not None
    assert done.between is not None
    confirmation = dataclasses.replace(done.confirmation, losses=many)
    origin, rival = (
        dataclasses.replace(ORIGIN, confirmation=confirmation),
        Rival(version="9" * 6, label="u" * 9000, between=done.between),
    )
    card = model_card(long, vocabulary="ab", sample="\n".join("w" * 600), origin=origin, rival=rival)
    assert len(card) < 5000
    assert card.rstrip().endswith("git commit abc")


def test_bits_are_nats_over_the_logarithm_of_two() -> None:
    assert bits(0.6931471805599453) == pytest.approx(1.0)
