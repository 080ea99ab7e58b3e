"""The page on which a reader tries variants that were not trained: everything that it can show is in it as a table."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from gpt_experiments.analysis import LOSS, SweepResults, level_name
from gpt_experiments.analysis.offered import combinations, is_trainable, offered_values
from gpt_experiments.analysis.prediction import BETWEEN, KNOWN, OUTSIDE, TOGETHER, WHY_BEYOND, Predictor, coordinates
from gpt_experiments.explorer.frame import render_page

COLUMNS: Final = ("loss", "low", "high", "seconds", "seconds_low", "seconds_high")
"""Of the table in the page, each as float32, in this order for each combination."""

_BEYOND: Final = (KNOWN, BETWEEN, OUTSIDE, TOGETHER)
_MOST_FINISHED: Final = 1_000  # variants that the page knows by name


def prediction_page(results: SweepResults, predictor: Predictor, *, run_address: str = "") -> str:
    """A page of HTML that predicts the variants of a sweep; it loads nothing, and has less than a megabyte.

    Args:
        run_address: what a run's id is added to, to have the address of its page; "" where none is known.
    """
    offered = offered_values({name: results.levels(name) for name in predictor.names}, results.baseline)
    rows = combinations(offered)
    trainable = is_trainable(rows, results.baseline)
    found = (
        predictor.predict(rows[trainable].reset_index(drop=True)).set_index(rows.index[trainable]).reindex(rows.index)
    )
    found["beyond"] = found["beyond"].fillna(KNOWN)
    data = {
        "parameters": [_parameter(results, predictor, name, values) for name, values in offered.items()],
        "columns": list(COLUMNS),
        "table": _packed(found[list(COLUMNS)].to_numpy(), "<f4"),
        "sizes": _packed(found["n_params"].to_numpy(), "<f8"),
        "beyond": "".join(str(_BEYOND.index(key)) for key in found["beyond"]),
        "why": [WHY_BEYOND[key] for key in _BEYOND],
        "fixed": {name: results.baseline.value(name) for name in ("n_head", "n_embed") if name not in offered},
        "finished": _finished(results, predictor),
        "runAddress": run_address,
        "hasTime": predictor.log_seconds is not None,
    }
    return render_page(
        "gpt_experiments.report",
        "predict.html.jinja",
        styles=("predict.css",),
        scripts=("predict.js",),
        data=data,
        title=f"Sweep {results.name}: what another variant would reach",
        trust=trust(predictor),
        corpus=results.corpus,
        others=_others(results, predictor),
        between=any(set(values) - set(results.levels(name)) for name, values in offered.items()),
    )


def trust(predictor: Predictor) -> list[str]:
    """Sentences on how good the predictions are, as far as the sweep itself can tell."""
    out = predictor.loss.left_out
    sentences = [
        f"Learnt from {predictor.variants} variants. Left out and predicted from the others, a variant's loss was off "
        f"by {out.mean_error:.4f} nats per character on average, and {out.coverage:.0%} of them lay within their "
        f"interval. To take the nearest variant's loss instead would be off by {predictor.nearest_error:.4f}."
    ]
    if predictor.trial_sd is None:
        sentences.append(
            "No variant has two seeds, so the noise of a single trial is not known; it is taken from what is not "
            "smooth in the losses."
        )
    else:
        sentences.append(
            f"The interval is that of one new trial: it holds the noise of a seed, {predictor.trial_sd:.4f} nats per "
            "character (standard deviation over seeds)."
        )
    if predictor.loss.widening > 2.5:
        sentences.append(
            "The intervals are wider than the model itself would draw them, because what was left out lay farther "
            f"from its prediction: {predictor.loss.widening:.1f} standard deviations instead of 2.0."
        )
    if predictor.log_seconds is not None:
        sentences.append(
            "The training time holds for the machines that trained the sweep, as busy as they were. It is off by the "
            "same factor by which another machine, or other work beside it, is faster or slower."
        )
    return sentences


def _parameter(
    results: SweepResults, predictor: Predictor, name: str, values: list[int | float]
) -> Mapping[str, object]:
    frame = pd.DataFrame(
        {other: values if other == name else [predictor.ranges[other][0]] * len(values) for other in predictor.names}
    )
    tried, start = set(results.levels(name)), results.base_level(name)
    return {
        "name": name,
        "values": values,
        "texts": [level_name(name, value).partition("=")[2] for value in values],
        "tried": [value in tried for value in values],
        "places": coordinates(frame, predictor.ranges)[:, predictor.names.index(name)].tolist(),
        "start": int(np.argmin([abs(value - start) for value in values])),
    }


def _finished(results: SweepResults, predictor: Predictor) -> list[dict[str, object]]:
    """The finished variants with a place, best first; of many, the best and every so many of the others."""
    variants = results.by_variant
    if len(variants) > _MOST_FINISHED:
        variants = variants.iloc[np.unique(np.linspace(0, len(variants) - 1, _MOST_FINISHED).astype(int))]
    runs = results.finished.sort_values("seed").groupby("label")["run_id"].first()
    return [
        {
            "label": row["label"],
            "loss": round(row[LOSS], 4),
            "seeds": int(row["n_seeds"]),
            "run": runs[row["label"]],
            "place": [round(float(x), 4) for x in place],
        }
        for row, place in zip(variants.to_dict("records"), coordinates(variants, predictor.ranges), strict=True)
    ]


def _others(results: SweepResults, predictor: Predictor) -> str:
    """What the page does not let change."""
    same = [level_name(name, results.base_level(name)) for name in results.parameters if name not in predictor.names]
    return ", ".join([*same, f"steps={results.training.get('steps', '?')}"])


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
