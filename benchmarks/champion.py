"""Simulates how far the loss of a registered model is from the truth, by the rule that chose and measured it.

`python benchmarks/champion.py` prints two tables; nothing is trained, and the same numbers come out each time.
`benchmarks/champion.md` says what follows from them.

Each simulated sweep has 243 variants with a mean loss each, and normal noise over seeds. Contenders are the variants
that the sweep cannot tell from its best one: t-tests with the noise pooled over variants, where the sweep has several
seeds, else the z-test with the known noise, corrected by Holm; at most the eight best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

VARIANTS, SD, LEVEL, MOST_CONTENDERS = 243, 0.005, 0.05, 8
SWEEPS = 4_000
FRESH = 3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """One simulated sweep; losses in nats per character, contenders in the order of the sweep, best first.

    Attributes:
        truth: true mean losses of the contenders.
        swept: the sweep's losses, (contenders, seeds).
        fresh: on fresh seeds, (contenders, twice FRESH); the second half is of seeds that trained after the choice.
        best: the lowest true mean among all variants.
    """

    truth: Array
    swept: Array
    fresh: Array
    best: float


Rule = Callable[[Drawn], tuple[int, float, int]]
"""From a sweep to the contender that is chosen, the loss that is reported of it, and how many trials that cost."""


def draw(rng: np.random.Generator, spread: float, seeds: int) -> Drawn:
    """A sweep whose variants' true means have that standard deviation."""
    truth = rng.normal(0, spread, VARIANTS) if spread else np.zeros(VARIANTS)
    swept = truth[:, None] + rng.normal(0, SD, (VARIANTS, seeds))
    means = swept.mean(axis=1)
    order = np.argsort(means, kind="stable")
    gaps = means[order[1:]] - means[order[0]]
    if seeds > 1:
        pooled = float(np.sqrt(swept.var(axis=1, ddof=1).mean()))
        p_values = 2 * stats.t.sf(gaps / (pooled * np.sqrt(2 / seeds)), VARIANTS * (seeds - 1))
    else:
        p_values = 2 * stats.norm.sf(gaps / (SD * np.sqrt(2)))
    told_apart = holm(p_values) < LEVEL
    contenders = np.concatenate([order[:1], order[1:][~told_apart]])[:MOST_CONTENDERS]
    fresh = truth[contenders, None] + rng.normal(0, SD, (len(contenders), 2 * FRESH))
    return Drawn(truth=truth[contenders], swept=swept[contenders], fresh=fresh, best=float(truth.min()))


def holm(p_values: Array) -> Array:
    """Holm's correction of p-values."""
    order = np.argsort(p_values)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)))
    return corrected


def best_trial(drawn: Drawn) -> tuple[int, float, int]:
    """The way until now: the lowest mean of the sweep, and of its trials the lowest."""
    return 0, float(drawn.swept[0].min()), 0


def sweeps_mean(drawn: Drawn) -> tuple[int, float, int]:
    return 0, float(drawn.swept[0].mean()), 0


def measure_the_first(drawn: Drawn) -> tuple[int, float, int]:
    return 0, float(drawn.fresh[0, :FRESH].mean()), FRESH


def lowest_fresh(drawn: Drawn) -> tuple[int, float, int]:
    means = drawn.fresh[:, :FRESH].mean(axis=1)
    chosen = int(np.argmin(means))
    return chosen, float(means[chosen]), means.size * FRESH


def lowest_of_all(drawn: Drawn) -> tuple[int, float, int]:
    together = np.concatenate([drawn.swept, drawn.fresh[:, :FRESH]], axis=1).mean(axis=1)
    chosen = int(np.argmin(together))
    return chosen, float(drawn.fresh[chosen, :FRESH].mean()), together.size * FRESH


def only_if_tested(drawn: Drawn) -> tuple[int, float, int]:
    """The sweep's first, unless another one is lower by Welch's test on the fresh seeds, corrected by Holm."""
    fresh = drawn.fresh[:, :FRESH]
    means, count = fresh.mean(axis=1), fresh.shape[0]
    chosen = 0
    if count > 1:
        p_values = stats.ttest_ind(fresh[1:], fresh[:1], axis=1, equal_var=False).pvalue
        beats = (holm(p_values) < LEVEL) & (means[1:] < means[0])
        if beats.any():
            chosen = 1 + int(np.argmin(np.where(beats, means[1:], np.inf)))
    return chosen, float(means[chosen]), count * FRESH


def lowest_fresh_then_measure(drawn: Drawn) -> tuple[int, float, int]:
    chosen, _, cost = lowest_fresh(drawn)
    return _measured_after(drawn, chosen, cost)


def lowest_of_all_then_measure(drawn: Drawn) -> tuple[int, float, int]:
    chosen, _, cost = lowest_of_all(drawn)
    return _measured_after(drawn, chosen, cost)


def _measured_after(drawn: Drawn, chosen: int, cost: int) -> tuple[int, float, int]:
    """Measured on seeds that nobody has chosen by; a single contender needs no choice."""
    alone = len(drawn.truth) == 1
    return chosen, float(drawn.fresh[chosen, FRESH:].mean()), FRESH if alone else cost + FRESH


RULES: Mapping[str, Rule] = {
    "the sweep's best mean, its best trial (`--confirm 0`)": best_trial,
    "the sweep's best mean, that mean": sweeps_mean,
    "the sweep's best mean, measured on fresh seeds": measure_the_first,
    "the same, another one only if it is lower by a test": only_if_tested,
    "lowest fresh mean, that mean": lowest_fresh,
    "lowest mean of sweep and fresh seeds, its fresh mean": lowest_of_all,
    "lowest fresh mean, then measured on further seeds": lowest_fresh_then_measure,
    "lowest mean of sweep and fresh seeds, then measured on further seeds": lowest_of_all_then_measure,
}


def simulate(spread: float, seeds: int, sweeps: int = SWEEPS) -> dict[str, tuple[float, float, float, float]]:
    """For each rule four figures: mean of reported minus true loss, its error, the loss that was missed, trials."""
    rng = np.random.default_rng([seeds, round(spread * 1e6)])
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in RULES}
    for _ in range(sweeps):
        drawn = draw(rng, spread, seeds)
        for name, rule in RULES.items():
            chosen, reported, cost = rule(drawn)
            truth = float(drawn.truth[chosen])
            found[name].append((reported - truth, truth - drawn.best, cost))
    table = {}
    for name, rows in found.items():
        bias, regret, cost = np.asarray(rows).T
        table[name] = (bias.mean(), bias.std(ddof=1) / np.sqrt(sweeps), regret.mean(), cost.mean())
    return table


def lines(spread: float) -> Iterator[str]:
    """A table in Markdown, millinats per character."""
    by_seeds = {seeds: simulate(spread, seeds) for seeds in (1, 5)}
    columns = ["rule", *(f"{what}, {many}" for what in ("bias", "missed", "trials") for many in ("1 seed", "5 seeds"))]
    yield f"| {' | '.join(columns)} |"
    yield "|" + " --- |" * len(columns)
    for name in RULES:
        rows = [by_seeds[seeds][name] for seeds in by_seeds]
        biases = [f"{1000 * bias:+.2f} ± {1960 * error:.2f}" for bias, error, _, _ in rows]
        missed = [f"{1000 * regret:.2f}" for _, _, regret, _ in rows]
        yield "| " + " | ".join([name, *biases, *missed, *(f"{cost:.1f}" for *_, cost in rows)]) + " |"


if __name__ == "__main__":
    for spread in (0.0, 0.005, 0.03):
        print(f"\nTrue means with a standard deviation of {spread:g}, seeds with {SD:g}, {SWEEPS:,} sweeps\n")
        print("\n".join(lines(spread)))
