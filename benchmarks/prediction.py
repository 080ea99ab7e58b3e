"""How good the predictions of a report are: on finished sweeps, and on made-up surfaces whose truth is known.

It trains nothing. From the folder of the project:

    python benchmarks/prediction.py SWEEP --tracking-uri sqlite:///mlflow.db
    python benchmarks/prediction.py SWEEP --tracking-uri sqlite:///mlflow.db --unseen OTHER_SWEEP
    python benchmarks/prediction.py --made-up

It prints rows for the tables of benchmarks/prediction.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))

from gpt_experiments import names
from gpt_experiments.analysis import LOSS, SweepResults
from gpt_experiments.analysis.prediction import CannotPredictError, coordinates, fit_predictor
from gpt_experiments.parameters import HYPERPARAMETERS, Shape
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.reader import read_sweep
from tests.support.simulated import full_grid, simulate

LEFT_OUT = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", nargs="?")
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--experiment", default=names.DEFAULT_EXPERIMENT)
    parser.add_argument("--unseen", help="another sweep, whose variants are predicted from the first one")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--made-up", action="store_true")
    given = parser.parse_args()
    if given.made_up:
        made_up(given.repeats)
    if given.sweep:
        store = Store(given.tracking_uri, given.experiment)
        results = read_sweep(store, given.sweep)
        if given.unseen:
            unseen(results, read_sweep(store, given.unseen))
        else:
            left_out(results, given.repeats)


def left_out(results: SweepResults, repeats: int) -> None:
    """Leave random variants out, several times; then all but those that differ from the baseline in one parameter."""
    labels = np.array(sorted(results.finished["label"].unique()))
    for learnt in sorted({len(labels) - LEFT_OUT, len(labels) // 2, 40, 20}, reverse=True):
        if not 8 <= learnt <= len(labels) - LEFT_OUT:
            continue
        rng = np.random.default_rng(0)
        rows = []
        for _ in range(repeats):
            shuffled = rng.permutation(labels)
            rows.append(compare(results, set(shuffled[LEFT_OUT : LEFT_OUT + learnt]), set(shuffled[:LEFT_OUT])))
        show(f"{learnt} of {len(labels)} variants, {repeats} times", rows)
    base = results.finished[list(results.parameters)].ne(
        pd.Series({name: results.base_level(name) for name in results.parameters})
    )
    alone = set(results.finished.loc[base.sum(axis=1) <= 1, "label"])
    if 8 <= len(alone) < len(labels):
        show(f"the {len(alone)} that differ in one parameter", [compare(results, alone, set(labels) - alone)])


def unseen(results: SweepResults, other: SweepResults) -> None:
    """Predict what another sweep has trained and this one has not, a line each."""
    known = set(map(tuple, results.finished[list(HYPERPARAMETERS)].to_numpy()))
    fresh = [tuple(row) not in known for row in other.finished[list(HYPERPARAMETERS)].to_numpy()]
    trials = other.finished[fresh]
    found = fit_predictor(results).predict(trials)
    for row, guess in zip(trials.to_dict("records"), found.to_dict("records"), strict=True):
        inside = guess["low"] <= row[LOSS] <= guess["high"]
        shape = " | ".join(f"{row[name]:g}" for name in HYPERPARAMETERS)
        print(
            f"| {shape} | {guess['loss']:.3f} ± {guess['high'] - guess['loss']:.3f} | {row[LOSS]:.3f} | "
            f"{row[LOSS] - guess['loss']:+.3f} | {'yes' if inside else 'no'} | {guess['seconds']:.2f} | "
            f"{row['train_seconds']:.2f} |"
        )
    show(f"{len(trials)} trials of {other.name}", [measure(results, results.finished, trials)])


def compare(results: SweepResults, learnt: set[str], asked: set[str]) -> dict[str, float]:
    trials = results.finished
    return measure(results, trials[trials["label"].isin(learnt)], trials[trials["label"].isin(asked)])


def measure(results: SweepResults, learnt: pd.DataFrame, asked: pd.DataFrame) -> dict[str, float]:
    """Coverage of single trials and mean errors of variants, of what is predicted and of two plain ways."""
    started = time.perf_counter()
    predictor = fit_predictor(dataclasses.replace(results, trials=learnt))
    seconds = time.perf_counter() - started
    found = predictor.predict(asked)
    loss = asked[LOSS].to_numpy()
    truth = asked.groupby("label")[LOSS].transform("mean").to_numpy()
    row = {
        "coverage": float(np.mean((found["low"] <= loss) & (loss <= found["high"]))),
        "half width": float(np.mean(found["high"] - found["loss"])),
        "error": float(np.mean(np.abs(found["loss"] - truth))),
        "nearest": float(np.mean(np.abs(nearest(predictor.ranges, learnt, asked) - truth))),
        "additive": float(np.mean(np.abs(additive(predictor.ranges, learnt, asked) - truth))),
        "fit, s": seconds,
    }
    if predictor.log_seconds is not None:
        took = asked["train_seconds"].to_numpy()
        row["time coverage"] = float(np.mean((found["seconds_low"] <= took) & (took <= found["seconds_high"])))
        row["time error"] = float(np.mean(np.abs(np.log(found["seconds"] / took))))
    return row


def nearest(ranges: Mapping[str, tuple[float, float]], learnt: pd.DataFrame, asked: pd.DataFrame) -> np.ndarray:
    """The mean loss of the variants that are nearest, ties averaged."""
    from_places, to_places = coordinates(learnt, ranges), coordinates(asked, ranges)
    distances = np.linalg.norm(to_places[:, None] - from_places[None], axis=2)
    is_nearest = distances <= distances.min(axis=1, keepdims=True) + 1e-9
    return np.array([learnt[LOSS].to_numpy()[row].mean() for row in is_nearest])


def additive(ranges: Mapping[str, tuple[float, float]], learnt: pd.DataFrame, asked: pd.DataFrame) -> np.ndarray:
    """Main effects, linear in the coordinates and their squares, by least squares."""

    def columns(frame: pd.DataFrame) -> np.ndarray:
        places = coordinates(frame, ranges)
        return np.column_stack([np.ones(len(places)), places, places**2])

    weights, *_ = np.linalg.lstsq(columns(learnt), learnt[LOSS].to_numpy(), rcond=None)
    return np.asarray(columns(asked) @ weights)


def show(title: str, rows: Iterable[Mapping[str, float]]) -> None:
    mean = pd.DataFrame(rows).mean()
    print(f"| {title} | " + " | ".join(f"{name} {value:.4f}" for name, value in mean.items()) + " |", flush=True)


def made_up(repeats: int) -> None:
    """Surfaces with main effects, curvature and interactions drawn at random; noise of 0.005 nats per character."""
    for what, interactions in (("no interactions", 0.0), ("some", 0.3), ("strong", 0.6)):
        for seeds, size in ((1, 20), (1, 60), (1, 223), (3, 20), (3, 60), (1, 0), (3, 0)):
            rows = []
            for number in range(repeats if size < 200 else min(5, repeats)):
                rng = np.random.default_rng(number)
                everything = simulate(
                    surface(rng, interactions), seeds=seeds, variants=full_grid(), seed_effect=0.0, random=number
                )
                labels = np.array(sorted(everything.finished["label"].unique()))
                chosen = set(rng.permutation(labels)[:size]) if size else alone(labels)
                try:
                    rows.append(compare(everything, chosen, set(labels) - chosen))
                except CannotPredictError as error:
                    print(error)
            show(f"{what}, {size or '11, one at a time'}, {seeds} seeds", rows)


def alone(labels: Iterable[str]) -> set[str]:
    return {label for label in labels if " " not in label}


def surface(rng: np.random.Generator, interactions: float) -> Callable[[Shape], float]:
    everything = pd.DataFrame([dataclasses.asdict(shape) for shape in full_grid()])
    ranges = {name: (float(everything[name].min()), float(everything[name].max())) for name in HYPERPARAMETERS}
    main, curved = rng.normal(0, 0.05, 5), rng.normal(0, 0.015, 5)
    pairs = np.triu(rng.normal(0, 0.05 * interactions, (5, 5)), 1)
    bend, direction = rng.normal(0, 0.05 * interactions), rng.normal(0, 1, 5)

    def loss(shape: Shape) -> float:
        (x,) = coordinates(pd.DataFrame([dataclasses.asdict(shape)]), ranges)
        return float(2 + x @ main + x**2 @ curved + x @ pairs @ x + bend * np.tanh(x @ direction))

    return loss


if __name__ == "__main__":
    main()
