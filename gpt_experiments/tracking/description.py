"""The description of an experiment in MLflow: links to its views, what they show, and how to go on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from gpt_experiments import names
from gpt_experiments.tracking.views import view_id, view_kinds

_WHAT_IT_SAYS: Final = """\
Each trial trains a small character-level GPT. Each sweep is the parent of its trials. Losses are in nats per character.

- *Leaderboard*: every trial, the lowest validation loss first. One that was stopped early or failed has no loss.
- *Curves*: the losses over the steps, one line for each variant, the mean over its seeds. The line of one that was
  stopped ends there; where only some seeds were, it goes on as the mean of the others.
- *What it costs*: the validation loss against parameters, seconds and floating-point operations of the training.
- *Hyperparameters*: the validation loss at every level.
- *Attention*: where the heads look, with a slider over the steps.

The menu **Views** on the page of runs has them as well. There, choose *Model training* at the top left first, and
*Chart view* beside the search field for all but the leaderboard. MLflow loads a hundred runs at a time, here the best
hundred, and a hundred chosen by chance for *What it costs* and *Hyperparameters*. *Load more* is below their list.

To go on, type `gpt-experiments --help`. `report` says what differed, and how sure one can be; `register` takes the best
model into the registry."""

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()<>#|~&])")  # to Markdown


def page_of(experiment_id: str, kind: str, sweep: str | None = None) -> str:
    """The address of a view within a server: of the whole experiment, or of a sweep's set of views."""
    _, has_charts = view_kinds()[kind]
    queries = {"workflowType": "machine_learning", "viewStateShareKey": view_id(kind, sweep)}
    if has_charts:
        queries["compareRunsMode"] = "CHART"
    return f"#/experiments/{experiment_id}/runs?{urlencode(queries)}"


def description(experiment_id: str, sweeps: Mapping[str, str]) -> str:
    """The description in Markdown, with a line that MLflow hides, by which a later look knows it as ours.

    MLflow shows the first line; the rest opens with a click.

    Args:
        sweeps: what each sweep's views are called, by the set that they are.
    """
    lines = ["Compare all trials: " + _links(experiment_id, None)]
    lines += [f"{_as_text(label)}: {_links(experiment_id, sweep)}" for sweep, label in sweeps.items()]
    text = "\n\n".join([*lines, _WHAT_IT_SAYS])
    signature = f"{names.VIEW_DIGEST} {_digest(text)}: gpt-experiments leaves this text alone once you change it"
    return f"{text}\n\n<!-- {signature} -->"


def is_ours(note: str | None) -> bool:
    """Whether a description is missing, or as this program has written it."""
    if not note:
        return True
    text, _, signature = note.rpartition("\n\n<!-- ")
    found = re.match(rf"{re.escape(names.VIEW_DIGEST)} ([0-9a-f]{{16}}):", signature)
    return found is not None and _digest(text) == found[1]


def _as_text(label: str) -> str:
    """The label with a backslash before what Markdown would take for its own."""
    return _SPECIAL.sub(r"\\\1", label)


def _links(experiment_id: str, sweep: str | None) -> str:
    return " · ".join(f"[{title}]({page_of(experiment_id, kind, sweep)})" for kind, (title, _) in view_kinds().items())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
