"""A smooth surface through what was measured at some places, with intervals for what was not.

A Gaussian process (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning"; equations are numbered as
there): a linear trend, and around it a smooth surface whose length scale is its own in each parameter. Both are one
covariance, so a prediction's variance holds the uncertainty of the trend, too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.linalg import cho_solve

from gpt_experiments.analysis.estimate import LEVEL

Floats = NDArray[np.float64]

MOST_PLACES: Final = 800
"""A surface goes through no more places: time grows with the cube of their number."""

_MOST_TO_LEARN: Final = 200  # places from which length scales are learnt
_FEWEST_WITHOUT_FOLDS: Final = 100  # places from which on length scales hardly depend on a single one
_FOLDS: Final = 10
_FEWEST_FOR_QUANTILE: Final = 40  # residuals whose own quantile says more than Student's t
_NORMAL: Final = float(stats.norm.ppf(1 - LEVEL / 2))  # 1.96
_CHUNK: Final = 2_000  # places that are predicted at once; their covariances must fit into memory


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The measured means, each as predicted without it.

    Attributes:
        measured, predicted, half_widths: (n,); of the 95 % intervals of such a mean.
    """

    measured: Floats
    predicted: Floats
    half_widths: Floats

    @property
    def mean_error(self) -> float:
        """The mean absolute difference of measured and predicted."""
        return float(np.mean(np.abs(self.measured - self.predicted)))

    @property
    def coverage(self) -> float:
        """The part of the measured means that lie within their interval."""
        return float(np.mean(np.abs(self.measured - self.predicted) <= self.half_widths))


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A quantity over the parameters.

    Attributes:
        process: scikit-learn's Gaussian process of the standardised quantity, fitted.
        mean, scale: what it was standardised with.
        trial_variance: of one new trial about its variant's mean, standardised; 0 where the process has estimated it
            itself, together with the surface.
        widening: half of a 95 % interval in standard deviations of the process. It is 1.96 where the process judges
            itself rightly, and larger where what was left out lay farther away than it said.
    """

    process: Any
    mean: float
    scale: float
    trial_variance: float
    widening: float
    left_out: LeftOut

    def predict(self, places: Floats, further_variance: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """The mean at each place (m, parameters), and half of the 95 % interval of one new trial there.

        Args:
            further_variance: that the surface cannot know of, in the quantity's own unit, squared.
        """
        parts = [
            self.process.predict(places[at : at + _CHUNK], return_std=True) for at in range(0, len(places), _CHUNK)
        ]
        mean, sd = (np.concatenate(part) for part in zip(*parts, strict=True))
        own = (self.widening * self.scale) ** 2 * (sd**2 + self.trial_variance)
        return self.mean + self.scale * mean, np.sqrt(own + _NORMAL**2 * further_variance)

    def mean_at(self, places: Floats) -> Floats:
        """The mean at each place alone, which takes a fraction of the time."""
        return np.asarray(self.mean + self.scale * self.process.predict(places))


def fit_surface(
    places: Floats, means: Floats, counts: Floats, trial_sd: float | None, *, by_folds: bool = True
) -> Surface:
    """The surface through the means of variants.

    Its intervals are calibrated: see `_widening`. Of more than MOST_PLACES it takes a random choice, always the same.

    Args:
        places: (n, parameters), scaled so that a step of 1 is a like change in each.
        means: (n,), not all equal; each over `counts` (n,) trials.
        trial_sd: standard deviation of a single trial about its variant's mean. None where it is not known: what is
            not smooth is then taken for noise.
        by_folds: whether length scales are learnt anew for what is left out, where places are few. That takes ten
            times as long, and is of no use where what is left out lies beyond the rest.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # such small matrices take longer with several threads
        return _fit(places, means, counts, trial_sd, by_folds)


def _fit(places: Floats, means: Floats, counts: Floats, trial_sd: float | None, by_folds: bool) -> Surface:
    chosen = _some(len(means), MOST_PLACES)
    places, means, counts = places[chosen], means[chosen], counts[chosen]
    mean, scale = float(means.mean()), float(means.std())
    standard = (means - mean) / scale
    noise = None if trial_sd is None else np.maximum((trial_sd / scale) ** 2 / counts, 1e-8)
    few = _some(len(means), _MOST_TO_LEARN)
    kernel = _learn(places[few], standard[few], None if noise is None else noise[few])
    process = _process(places, standard, noise, kernel)
    predicted, sd = (
        _without_each(process, standard)
        if len(means) >= _FEWEST_WITHOUT_FOLDS or not by_folds
        else _without_folds(places, standard, noise, kernel)
    )
    widening = _widening((standard - predicted) / sd)
    return Surface(
        process=process,
        mean=mean,
        scale=scale,
        trial_variance=0.0 if trial_sd is None else (trial_sd / scale) ** 2,
        widening=widening,
        left_out=LeftOut(measured=means, predicted=mean + scale * predicted, half_widths=widening * scale * sd),
    )


def _some(n: int, most: int) -> NDArray[np.int64]:
    """The numbers below n, or `most` of them."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def _learn(places: Floats, standard: Floats, noise: Floats | None, start: Any = None) -> Any:
    """The covariance whose length scales and variances make the values most likely (equation 5.8).

    The bounds are in halves of the range of a parameter: nothing is rougher than three levels could show, and from the
    upper bound on a surface is as good as linear, which the trend is already. A scale at its bound is no fault.
    """
    from sklearn.exceptions import ConvergenceWarning

    if start is None:
        start = _unlearnt(places.shape[1], knows_noise=noise is not None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return _process(places, standard, noise, start, _least).kernel_


def _unlearnt(parameters: int, *, knows_noise: bool) -> Any:
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    trend = ConstantKernel(1.0, (1e-3, 1e2)) * DotProduct(1.0, "fixed")
    smooth = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(np.full(parameters, 2.0), (0.5, 30.0))
    kernel = trend + smooth
    return kernel if knows_noise else kernel + WhiteKernel(1e-2, (1e-6, 1.0))


def _process(
    places: Floats, standard: Floats, noise: Floats | None, kernel: Any, optimizer: Callable[..., Any] | None = None
) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor

    alpha = 1e-8 if noise is None else noise
    return GaussianProcessRegressor(kernel, alpha=alpha, optimizer=optimizer).fit(places, standard)


def _least(objective: Callable[..., Any], start: Any, bounds: Any) -> tuple[Floats, float]:
    """The minimum, as near as predictions can tell; scikit-learn's own search goes on ten times as long."""
    found = optimize.minimize(
        objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 60, "ftol": 1e-6}
    )
    return found.x, float(found.fun)


def _without_each(process: Any, standard: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each value as predicted by all others, without another fit: equation 5.12."""
    precision = np.diag(cho_solve((process.L_, True), np.eye(len(standard))))
    return standard - process.alpha_ / precision, 1 / np.sqrt(precision)


def _without_folds(places: Floats, standard: Floats, noise: Floats | None, start: Any) -> tuple[Floats, Floats]:
    """The same by cross-validation, where so few values decide the length scales that they must be learnt anew."""
    n = len(standard)
    predicted, sd = np.empty(n), np.empty(n)
    fold_of = np.random.default_rng(0).permutation(n) % min(n, _FOLDS)
    for fold in range(min(n, _FOLDS)):
        rest, out = fold_of != fold, fold_of == fold
        noise_of_rest = None if noise is None else noise[rest]
        kernel = _learn(places[rest], standard[rest], noise_of_rest, start)
        process = _process(places[rest], standard[rest], noise_of_rest, kernel)
        predicted[out], sd[out] = process.predict(places[out], return_std=True)
    return predicted, np.sqrt(sd**2 + (0.0 if noise is None else noise))


def _widening(residuals: Floats) -> float:
    """Half of a 95 % interval in the process's standard deviations, so that what was left out lies within it.

    Of many standardised residuals their own quantile is taken, as in conformal prediction (Vovk et al. 2005); of few,
    Student's t times their root mean square, which must not be below 1.
    """
    n = len(residuals)
    if n >= _FEWEST_FOR_QUANTILE:
        rank = min(n, math.ceil((n + 1) * (1 - LEVEL)))
        return float(np.sort(np.abs(residuals))[rank - 1])
    size = float(np.sqrt(np.mean(residuals**2)))
    return float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * max(1.0, size)
