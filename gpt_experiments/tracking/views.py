"""What MLflow's pages show first: saved views of an experiment, and of each sweep in it.

A saved view is what a person can save on MLflow's page of runs: a filter, an order, columns and charts, under a name.
MLflow keeps it as a tag of the experiment and documents it nowhere. This is what MLflow 3.17 reads; another version
may ignore it, and then shows its own default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpt_experiments import names
from gpt_experiments.parameters import HYPERPARAMETERS
from gpt_experiments.tracking import charts
from gpt_experiments.tracking.charts import Section

TAG_PREFIX: Final = "mlflow.sharedViewState."
LEADERBOARD: Final = "leaderboard"
"""The view with which `ui` begins."""

_ID_PREFIX: Final = "gpt-"
_BEFORE_TITLE: Final = ": "  # between a sweep's label and a title
_OF_EXPERIMENT: Final = 4_102_444_800_000
"""When the experiment's views were "made", in ms: MLflow's menu begins with the newest, and shows no date."""
_COSTS: Final = (names.N_PARAMS, names.TRAIN_SECONDS, names.FLOPS)
_MORE_RESULTS: Final = (names.BEST_VAL_LOSS, names.FINAL_TRAIN_LOSS, names.N_PARAMS, names.TRAIN_SECONDS)
_WIDTH: Final = 105  # of a column, in pixels
_BY_VARIANT: Final = {
    "aggregateFunction": "average",
    "groupByKeys": [{"mode": "tag", "groupByData": names.VARIANT}],
}


@dataclass(frozen=True, kw_only=True)
class View:
    """One saved view.

    Attributes:
        view_id: names it in addresses and tags.
        name: what MLflow's menu calls it.
        created_at: its place in that menu, in ms; a later one comes first.
        state: filter, order, columns and charts, as MLflow's page has them.
    """

    view_id: str
    name: str
    created_at: int
    state: str

    @property
    def tag(self) -> str:
        """The tag of the experiment that holds it."""
        return TAG_PREFIX + self.view_id

    @property
    def sweep(self) -> str | None:
        """The sweep's set that it is a part of; None for one of the whole experiment."""
        parts = self.view_id.removeprefix(_ID_PREFIX).split("-")
        return parts[0] if len(parts) > 1 else None

    @property
    def label(self) -> str:
        """What the views of a sweep's set have before their titles; empty for one of the whole experiment."""
        return self.name.rpartition(_BEFORE_TITLE)[0]

    @property
    def digest(self) -> str:
        """What the view is, in 16 hexadecimal digits."""
        text = json.dumps([self.name, self.created_at, self.state])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def content(self, now: int) -> str:
        """The tag's value; `now` is in ms. MLflow leaves the digest alone, by which a later look knows it as ours."""
        return json.dumps(
            {
                "name": self.name,
                "createdAt": self.created_at,
                "updatedAt": now,
                "state": self.state,
                names.VIEW_DIGEST: self.digest,
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True, kw_only=True)
class StoredView:
    """A view that an experiment has.

    Attributes:
        view: what MLflow shows; without a name where it cannot be read.
        updated_at: when it was written, in ms.
        is_ours: whether this program wrote it, and nobody has changed it since.
    """

    view: View
    updated_at: int = 0
    is_ours: bool = False


def stored_view(view_id: str, content: str) -> StoredView:
    """The view that a tag holds, whatever it holds."""
    try:
        given = json.loads(content)
        view = View(
            view_id=view_id, name=str(given["name"]), created_at=int(given["createdAt"]), state=str(given["state"])
        )
        is_ours = view_id.startswith(_ID_PREFIX) and given.get(names.VIEW_DIGEST) == view.digest
        return StoredView(view=view, updated_at=int(given["updatedAt"]), is_ours=is_ours)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return StoredView(view=View(view_id=view_id, name="", created_at=0, state=""))


def experiment_views() -> list[View]:
    """The views of all trials of an experiment."""
    return _views("", None, f"tags.`{names.KIND}` = 'trial'", _OF_EXPERIMENT)


def sweep_views(label: str, run_id: str, condition: str, started_at: int) -> list[View]:
    """The views of one sweep.

    Args:
        label: what stands before the name of each.
        run_id: that of the sweep's run.
        condition: what its trials meet, as MLflow's search takes it.
        started_at: when its run began, in ms.
    """
    return _views(f"{label}{_BEFORE_TITLE}", sweep_set(run_id), condition, started_at)


def sweep_set(run_id: str) -> str:
    """What the ids of all views of the sweep of that run have in common."""
    return run_id[:12]


def view_id(kind: str, sweep: str | None = None) -> str:
    """The id of the view of that kind: of the whole experiment, or of a sweep's set of views."""
    return f"{_ID_PREFIX}{sweep}-{kind}" if sweep else f"{_ID_PREFIX}{kind}"


def view_kinds() -> dict[str, tuple[str, bool]]:
    """The kinds of views in the menu's order: the title of each, and whether it is of charts."""
    return {kind.name: (kind.title, bool(kind.sections)) for kind in _KINDS}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What one of the views shows; `sections` is empty for a table.

    Runs are ordered by the validation loss, or `by_chance`: MLflow loads a hundred at first, and a chart of the best
    hundred of many would mislead.
    """

    name: str
    title: str
    columns: Sequence[str]
    sections: Sequence[Section] = ()
    group: Any = None
    by_chance: bool = False


_KINDS: Final = (
    _Kind(
        name=LEADERBOARD,
        title="Leaderboard",
        columns=(
            charts.metric(names.FINAL_VAL_LOSS),
            *(charts.param(name) for name in HYPERPARAMETERS),
            *(charts.metric(name) for name in _MORE_RESULTS),
            charts.tag(names.FAILURE),  # why a trial has none of these
        ),
    ),
    _Kind(
        name="curves",
        title="Curves",
        columns=(charts.metric(names.FINAL_VAL_LOSS),),
        sections=(
            Section(
                "Losses, means over seeds",
                (charts.lines(names.VAL_LOSS), charts.lines(names.TRAIN_LOSS)),
            ),
        ),
        group=_BY_VARIANT,
    ),
    _Kind(
        name="costs",
        title="What it costs",
        by_chance=True,
        columns=tuple(charts.metric(name) for name in (names.FINAL_VAL_LOSS, *_COSTS)),
        sections=(
            Section(
                "Validation loss against cost",
                tuple(charts.points(charts.metric_axis(name), names.FINAL_VAL_LOSS) for name in _COSTS),
            ),
        ),
    ),
    _Kind(
        name="hyperparameters",
        title="Hyperparameters",
        by_chance=True,
        columns=(charts.metric(names.FINAL_VAL_LOSS), *(charts.param(name) for name in HYPERPARAMETERS)),
        sections=(
            Section(
                "All together",
                (charts.parallel_coordinates(HYPERPARAMETERS, (names.FINAL_VAL_LOSS,)),),
                columns=1,
            ),
            Section(
                "One by one",
                tuple(charts.points(charts.param_axis(name), names.FINAL_VAL_LOSS) for name in HYPERPARAMETERS),
            ),
        ),
    ),
    _Kind(
        name="attention",
        title="Attention",
        columns=(charts.metric(names.FINAL_VAL_LOSS),),
        sections=(Section("Where heads look", (charts.images(names.ATTENTION_IMAGE),), columns=1, height=480),),
    ),
)


def _views(name_prefix: str, sweep: str | None, condition: str, created_at: int) -> list[View]:
    return [
        View(
            view_id=view_id(kind.name, sweep),
            name=name_prefix + kind.title,
            created_at=created_at - place,
            state=json.dumps(_state(kind, condition), separators=(",", ":")),
        )
        for place, kind in enumerate(_KINDS)
    ]


def _state(kind: _Kind, condition: str) -> dict[str, Any]:
    """What MLflow's page keeps of itself."""
    return {
        "searchFilter": condition,
        "orderByKey": f"tags.`{names.CELL}`" if kind.by_chance else charts.metric(names.FINAL_VAL_LOSS),
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(kind.columns),
        "columnOrder": list(kind.columns),
        "columnWidths": dict.fromkeys(kind.columns, _WIDTH),
        "runsHiddenMode": "SHOW_ALL",  # the default hides all but ten runs
        "groupBy": kind.group,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": False,
        "isAccordionReordered": True,  # else MLflow sorts the sections by their names
        **charts.page(kind.sections),
    }
