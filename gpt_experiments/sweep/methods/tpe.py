"""TPE: combinations that look promising after the results so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpt_experiments.sweep.methods.learning import Learning

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class TPE(Learning):
    """Draws by the tree-structured Parzen estimator (Bergstra et al. 2011), as Optuna implements it."""

    name = "tpe"

    def _make_sampler(self, seed: int) -> BaseSampler:
        import optuna

        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
