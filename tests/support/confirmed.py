"""A variant that fresh seeds have confirmed, with made-up losses; nothing was trained."""

from __future__ import annotations

from gpt_experiments.analysis.contenders import SeedNoise
from gpt_experiments.analysis.contest import contest
from gpt_experiments.config import Variant
from gpt_experiments.models.confirmation import Confirmation, Contender
from gpt_experiments.models.registration import Registration
from gpt_experiments.models.selection import Candidate
from gpt_experiments.records import FinishedTrial
from gpt_experiments.tracking.registry import RegisteredVersion
from gpt_experiments.training import TrainingSummary

LOSSES = {1_000_001: 1.75, 1_000_002: 1.77, 1_000_003: 1.76}
OLD = {1_000_001: 1.85, 1_000_002: 1.872, 1_000_003: 1.861}


def finished(seed: int, loss: float) -> FinishedTrial:
    summary = TrainingSummary(
        final_train_loss=1.0,
        final_val_loss=loss,
        best_val_loss=loss,
        n_params=900,
        train_seconds=1.0,
        eval_seconds=1.0,
        tokens_per_second=1.0,
    )
    run_id = f"{seed:032x}"
    return FinishedTrial(
        run_id=run_id, parent_run_id=None, cell=f"{seed:016x}", variant=Variant(), seed=seed, summary=summary
    )


def made_up_confirmation() -> Confirmation:
    trials = (finished(1, 1.74), finished(2, 1.75))
    small = Contender(label="n_layer=1", n_params=500, sweep_mean=1.749, fresh={2_000_001: 1.754}, mean=1.751)
    chosen = Contender(label="n_head=8", n_params=900, sweep_mean=1.745, fresh={2_000_001: 1.753}, mean=1.748)
    return Confirmation(
        candidate=Candidate(label="n_head=8", variant=Variant(), n_params=900, trials=trials, unfinished=()),
        contenders=(chosen, small),
        left_out=1,
        noise=SeedNoise(sd=0.005, degrees=20, source="seeds"),
        losses=LOSSES,
        trials={seed: finished(seed, loss) for seed, loss in LOSSES.items()},
        is_choice=True,
        margin=0.01,
        lead=contest({1: 1.74, 2: 1.75}, {1: 1.744, 2: 1.753}, 0.01),
        smaller=small,
        champion=None,
        trained=9,
        messages=(),
    )


def made_up_registration() -> Registration:
    old = RegisteredVersion(
        version="1",
        run_id="r" * 32,
        label="baseline",
        val_loss=1.861,
        corpus="text",
        corpus_digest="d" * 64,
        n_params=800,
        fresh=OLD,
    )
    new = RegisteredVersion(
        version="2",
        run_id="s" * 32,
        label="n_head=8",
        val_loss=1.76,
        corpus="text",
        corpus_digest="d" * 64,
        n_params=900,
        fresh=LOSSES,
    )
    return Registration(
        name="m",
        version=new,
        is_new=True,
        is_champion=True,
        messages=("a sentence",),
        left_out=("a sentence",),
        example_prompt="a",
        confirmation=made_up_confirmation(),
        rival=old,
        between=contest(LOSSES, OLD, 0.01),
    )
