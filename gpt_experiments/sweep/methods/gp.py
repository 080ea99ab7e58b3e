"""GP: combinations of which a Gaussian process, fitted to the results so far, expects the largest improvement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpt_experiments import names
from gpt_experiments.sweep.methods.learning import Learning

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

_REPEATS_BEFORE_CHANCE: Final = 5  # each is a fit and a search, and the next one has little reason to differ


class GP(Learning):
    """Draws by a Gaussian process and its log expected improvement (Ament et al. 2023), as Optuna implements it.

    Numbers in a list are steps of a scale, so that a level says something of its neighbours. Variants that train
    together are kept apart by the improvement that is expected beyond all of them. The first ten variants are random.
    """

    name = "gp"
    orders_levels = True

    def _make_sampler(self, seed: int) -> BaseSampler:
        import optuna

        self._by_chance = optuna.samplers.RandomSampler(seed=names.DEFAULT_SEED)
        return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)

    def _ask(self, repeats: int) -> optuna.Trial:
        """As the sampler draws; by chance where it draws the same again and again, as it does in a small space."""
        if repeats < _REPEATS_BEFORE_CHANCE:
            return super()._ask(repeats)
        sampler, self._study.sampler = self._study.sampler, self._by_chance
        try:
            return super()._ask(repeats)
        finally:
            self._study.sampler = sampler
