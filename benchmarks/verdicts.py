"""How often verdicts are false, how wide intervals cover, and what deciding costs: by simulation with measured noise.

    python benchmarks/verdicts.py [--noise benchmarks/noise-of-seeds.csv] [--sweeps 2000]

The noise is what seeds did to the eleven variants: one row a seed, one column a variant, losses in nats per character.
Sweeps are drawn from a normal distribution with its covariance, so that variants vary as unequally, and as much
together, as they did. No training, no figure is a test's: they are printed for a page of this folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gpt_experiments.analysis.estimate import LEVEL
from gpt_experiments.analysis.looks import Looks
from gpt_experiments.analysis.power import power
from gpt_experiments.config import MARGIN

Array = NDArray[np.float64]
HalfWidths = Callable[[Array, float], tuple[Array, Array]]
"""From losses (sweeps, seeds, variants), the baseline first, and a level: mean differences and half widths."""


def paired(losses: Array, level: float) -> tuple[Array, Array]:
    """Student's t of the differences over seeds."""
    differences, n = losses[:, :, 1:] - losses[:, :, :1], losses.shape[1]
    return differences.mean(1), differences.std(1, ddof=1) / np.sqrt(n) * stats.t.ppf(1 - level / 2, n - 1)


def welch(losses: Array, level: float) -> tuple[Array, Array]:
    """Welch's t, as if seeds had nothing in common."""
    n, variances = losses.shape[1], losses.var(1, ddof=1) / losses.shape[1]
    a, b = variances[:, 1:], variances[:, :1]
    df = (a + b) ** 2 / ((a**2 + b**2) / (n - 1))
    means = losses.mean(1)
    return means[:, 1:] - means[:, :1], np.sqrt(a + b) * stats.t.ppf(1 - level / 2, df)


def narrower(losses: Array, level: float) -> tuple[Array, Array]:
    """The narrower of both intervals, each at half of the level."""
    means, first = paired(losses, level / 2)
    return means, np.minimum(first, welch(losses, level / 2)[1])


def pooled(losses: Array, level: float) -> tuple[Array, Array]:
    """One variance for all variants, what is left beyond variants and seeds."""
    _sweeps, n, variants = losses.shape
    means = losses.mean(1)
    rest = losses - means[:, None] - losses.mean(2)[:, :, None] + losses.mean((1, 2))[:, None, None]
    df = (n - 1) * (variants - 1)
    half = np.sqrt(2 * (rest**2).sum((1, 2)) / df / n) * stats.t.ppf(1 - level / 2, df)
    return means[:, 1:] - means[:, :1], np.repeat(half[:, None], variants - 1, axis=1)


def moderated(losses: Array, level: float) -> tuple[Array, Array]:
    """Variances of the differences, drawn to their common mean with prior degrees of freedom from their spread."""
    differences, n = losses[:, :, 1:] - losses[:, :, :1], losses.shape[1]
    variances, df = differences.var(1, ddof=1), n - 1
    logs = np.log(variances)
    spread = np.maximum(logs.var(1, ddof=1) - 2 / df, 0.05)
    prior = np.clip(2 / spread, 0.5, 50)[:, None]
    common = np.exp(logs.mean(1))[:, None]
    moderate = (prior * common + df * variances) / (prior + df)
    return differences.mean(1), np.sqrt(moderate / n) * stats.t.ppf(1 - level / 2, df + prior)


SECONDS = {
    "baseline": 21.9, "n_head=1": 21.7, "n_head=8": 22.9, "n_layer=1": 5.5, "n_layer=8": 39.8, "n_embed=32": 10.8,
    "n_embed=128": 51.7, "dropout=0": 18.0, "dropout=0.3": 19.3, "block_size=32": 16.1, "block_size=256": 36.0,
}  # fmt: skip
"""What a trial of that study took, training and evaluations, in seconds of one busy core."""

ESTIMATORS: dict[str, HalfWidths] = {
    "paired t": paired,
    "Welch": welch,
    "narrower of both": narrower,
    "pooled": pooled,
    "moderated": moderated,
}


class Noise:
    """Losses as seeds make them; `stretch` multiplies what a column differs by from its mean."""

    def __init__(self, measured: pd.DataFrame, stretch: Sequence[float] | None = None) -> None:
        self.means = measured.mean().to_numpy()
        covariance = np.cov(measured.to_numpy().T)
        self._root = np.linalg.cholesky(covariance + 1e-14 * np.eye(len(covariance)))
        self._stretch = np.ones(len(covariance)) if stretch is None else np.asarray(stretch)

    def draw(self, rng: np.random.Generator, sweeps: int, seeds: int, means: Array | float = 0.0) -> Array:
        return rng.standard_normal((sweeps, seeds, len(self._root))) @ self._root.T * self._stretch + means


def independent(sds: Array) -> Noise:
    """Seeds that have nothing in common: the worst case for pairing."""
    noise = Noise.__new__(Noise)
    noise.means, noise._root, noise._stretch = np.zeros(len(sds)), np.diag(sds), np.ones(len(sds))
    return noise


def estimators_table(cases: dict[str, Noise], rng: np.random.Generator, sweeps: int) -> pd.DataFrame:
    """The least coverage of any comparison, the family's error, and the half width that decides."""
    rows = []
    for case, noise in cases.items():
        for seeds in (3, 5, 8):
            losses = noise.draw(rng, sweeps, seeds)
            for name, half_widths in ESTIMATORS.items():
                means, half = half_widths(losses, LEVEL)
                family_means, family_half = half_widths(losses, LEVEL / means.shape[1])
                rows.append(
                    {
                        "noise": case,
                        "seeds": seeds,
                        "estimator": name,
                        "coverage": (np.abs(means) <= half).mean(0).min(),
                        "family": (np.abs(family_means) > family_half).any(1).mean(),
                        "half width": np.median(family_half, 0).mean(),
                        "narrowest": np.median(family_half, 0).min(),
                    }
                )
    return pd.DataFrame(rows)


def decided(losses: Array, level: float, margin: float) -> tuple[Array, Array]:
    """Whether each comparison is decided, and the sign of its verdict: 0 for equivalent."""
    means, half = paired(losses, level)
    directed = np.abs(means) > half
    return directed | (np.abs(means) + half < margin), np.where(directed, np.sign(means), 0)


def until_decided(losses: Array, margin: float = MARGIN) -> tuple[Array, Array, Array]:
    """Planned looks, as the program does them: what is decided, the verdicts' signs, and the trials of each variant.

    The last is (sweeps, variants), the baseline first.
    """
    sweeps, most, variants = losses.shape
    looks = Looks(most=most, comparisons=variants - 1)
    done, signs = np.zeros((2, sweeps, variants - 1))
    done, trials, before = done.astype(bool), np.zeros((sweeps, variants)), 0
    for look, seeds in enumerate(looks.seeds):
        trials += (seeds - before) * np.column_stack([~done.all(1), ~done])
        now, sign = decided(losses[:, :seeds], looks.level(look), margin)
        signs, done, before = np.where(now & ~done, sign, signs), done | now, seeds
    return done, signs, trials


def noise_table(measured: pd.DataFrame) -> pd.DataFrame:
    """What was measured: each variant's standard deviation with its interval, and what it shares with the baseline.

    `p` is Shapiro and Wilk's of normal losses, `p of difference` that of the differences to the baseline.
    """
    n, baseline = len(measured), measured.iloc[:, 0]
    ends = [np.sqrt((n - 1) / stats.chi2.ppf(q, n - 1)) for q in (1 - LEVEL / 2, LEVEL / 2)]
    rows = []
    for name, losses in measured.items():
        difference = losses - baseline
        rows.append(
            {
                "variant": name,
                "mean": losses.mean(),
                "sd": losses.std(),
                "from": ends[0] * losses.std(),
                "to": ends[1] * losses.std(),
                "p": stats.shapiro(losses).pvalue,
                "correlation": losses.corr(baseline),
                "sd of difference": difference.std(),
                "p of difference": stats.shapiro(difference).pvalue if difference.any() else np.nan,
            }
        )
    return pd.DataFrame(rows)


def by_holm(losses: Array) -> Array:
    """How many comparisons of each sweep earlier versions called better or worse, by Holm's procedure."""
    differences, n = losses[:, :, 1:] - losses[:, :, :1], losses.shape[1]
    t = np.abs(differences.mean(1)) / (differences.std(1, ddof=1) / np.sqrt(n))
    p = np.sort(2 * stats.t.sf(t, n - 1), axis=1)
    m = p.shape[1]
    return np.cumprod(p <= LEVEL / (m - np.arange(m)), axis=1).sum(1)


def added_by_hand(losses: Array, looks: Sequence[int] = (3, 5, 7, 10)) -> Array:
    """Whether any verdict is better or worse at some look, where seeds are added until one is: each look at 5 %."""
    found = np.zeros(len(losses), dtype=bool)
    for seeds in looks:
        means, half = paired(losses[:, :seeds], LEVEL / (losses.shape[2] - 1))
        found |= (np.abs(means) > half).any(1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", type=Path, default=Path(__file__).parent / "noise-of-seeds.csv")
    parser.add_argument("--sweeps", type=int, default=4000)
    given = parser.parse_args()
    measured = pd.read_csv(given.noise, index_col="seed")
    rng, sweeps, variants = np.random.default_rng(20261126), given.sweeps, measured.shape[1]
    sds = measured.std().to_numpy()
    ratio = 1.5 * sds.max() / sds.min()
    level = float(np.median(sds))
    one_noisy, noisy_baseline = np.full(variants, level), np.full(variants, level)
    one_noisy[3] *= ratio
    noisy_baseline[0] *= ratio
    stretch = np.ones(variants)
    stretch[0] = 1.5
    cases = {
        "as measured": Noise(measured),
        "as measured, baseline 1.5 times": Noise(measured, stretch),
        "independent, equal": independent(np.full(variants, level)),
        f"independent, one {ratio:.1f} times": independent(one_noisy),
        f"independent, baseline {ratio:.1f} times": independent(noisy_baseline),
    }
    print("What seeds did\n")
    print(noise_table(measured).to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    table = estimators_table(cases, rng, sweeps)
    print("\nEstimators: coverage of a 95 % interval (least of ten), error of a family of ten alike, half widths\n")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))

    print("\nFalse verdicts of families in which all are alike (margin 0.0001: nothing counts as equivalent)\n")
    for case, noise in cases.items():
        losses = noise.draw(rng, sweeps, 12)
        fixed = [(np.abs((p := paired(losses[:, :n], LEVEL / (variants - 1)))[0]) > p[1]).any(1).mean() for n in (3, 8)]
        looked = (until_decided(losses, 1e-4)[1] != 0).any(1).mean()
        by_hand = added_by_hand(losses).mean()
        print(f"{case:40} fixed at 3: {fixed[0]:.3f}, at 8: {fixed[1]:.3f}; until decided: {looked:.3f}; "
              f"seeds added by hand: {by_hand:.3f}")  # fmt: skip

    print("\nFalse verdicts of any kind where every second variant differs by just the margin, the others not at all\n")
    at_margin = np.where(np.arange(variants) % 2, MARGIN, 0.0) * (np.arange(variants) > 0)
    for case, noise in cases.items():
        losses = noise.draw(rng, sweeps, 12, at_margin)
        done, signs, _ = until_decided(losses)
        truth = np.sign(at_margin[1:])
        false = (done & (signs != truth)).any(1).mean()
        print(f"{case:40} until decided: {false:.3f}")

    print("\nPower for one comparison of ten, independent seeds of sd 0.005 each (0.0071 paired)\n")
    for difference in (0.005, 0.01, 0.02, 0.05):
        found = [power(0.005 * 2**0.5, difference, seeds, 10) for seeds in (3, 5, 8)]
        print(f"difference {difference:5}: " + ", ".join(f"{p:.2f}" for p in found) + " with 3, 5, 8 seeds")

    print("\nDeciding the eleven variants as they were measured: decided of ten, and trials\n")
    losses = Noise(measured).draw(rng, sweeps, 16, measured.mean().to_numpy())
    seconds = np.array([SECONDS[name] for name in measured.columns])
    for seeds in (3, 5, 8, 10, 12):
        hours, earlier = seeds * seconds.sum() / 3600, by_holm(losses[:, :seeds]).mean()
        now, signs = decided(losses[:, :seeds], LEVEL / (variants - 1), MARGIN)
        print(f"fixed at {seeds:2} seeds: {now.sum(1).mean():.2f} decided, {(signs != 0).sum(1).mean():.2f} of them "
              f"better or worse, {seeds * variants} trials, {hours:.2f} core hours, {now.sum(1).mean() / hours:.1f} an "
              f"hour; earlier versions: {earlier:.2f}, {earlier / hours:.1f} an hour")  # fmt: skip
    done, signs, trials = until_decided(losses[:, :12])
    hours = float((trials @ seconds).mean()) / 3600
    print(
        f"until decided, at most 12: {done.sum(1).mean():.2f} decided, {(signs != 0).sum(1).mean():.2f} of them better "
        f"or worse, {trials.sum(1).mean():.1f} trials, {hours:.2f} core hours, {done.sum(1).mean() / hours:.1f} an hour"
    )


if __name__ == "__main__":
    main()
