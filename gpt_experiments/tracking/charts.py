"""The charts of MLflow's page of runs, as a saved view names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gpt_experiments import names

_MOST_RUNS: Final = 1000  # that a chart shows of those that the page has loaded
_REST: Final = (names.HEADS_SECTION.rstrip("/"), "Model metrics", "System metrics")
"""MLflow's sections for every metric without a chart; where one is missing, MLflow adds it, and opens it."""


@dataclass(frozen=True)
class Section:
    """Charts under a heading.

    Attributes:
        columns: charts beside each other.
        height: of a chart, in pixels.
    """

    name: str
    charts: Sequence[dict[str, Any]]
    columns: int = 2
    height: int = 400


def metric(name: str) -> str:
    """A metric as MLflow names it in columns and orders."""
    return f"metrics.`{name}`"


def param(name: str) -> str:
    """A parameter as MLflow names it in columns and orders."""
    return f"params.`{name}`"


def tag(name: str) -> str:
    """A tag as MLflow names it in columns."""
    return f"tags.`{name}`"


def metric_axis(name: str) -> dict[str, str]:
    return {"type": "METRIC", "key": name, "dataAccessKey": name}


def param_axis(name: str) -> dict[str, str]:
    return {"type": "PARAM", "key": name}


def lines(name: str) -> dict[str, Any]:
    """A metric over the steps, on a logarithmic axis: a linear one begins at 0 where MLflow shades a group's range."""
    return {
        "type": "LINE",
        "metricKey": name,
        "selectedMetricKeys": [name],
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "log",
        "lineSmoothness": 0,
        "range": {},
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
    }


def points(across: dict[str, str], up: str) -> dict[str, Any]:
    """A point for each run: a metric over another metric or a parameter."""
    return {"type": "SCATTER", "xaxis": across, "yaxis": metric_axis(up)}


def parallel_coordinates(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """A line for each run through an axis for each parameter and metric."""
    return {
        "type": "PARALLEL",
        "selectedParams": list(params),
        "selectedMetrics": list(metrics),
        "showAllRuns": True,
    }


def images(key: str) -> dict[str, Any]:
    """The images that runs have logged under a key, with a slider over the steps."""
    return {"type": "IMAGE", "imageKeys": [key], "step": 0, "showRunParams": False}


def page(sections: Sequence[Section]) -> dict[str, Any]:
    """The sections and their charts as MLflow's page has them, and closed sections for what has no chart in them.

    Without any section MLflow makes its own charts.
    """
    if not sections:
        return {}
    return {"compareRunSections": _page_sections(sections), "compareRunCharts": list(_page_charts(sections))}


def _page_sections(sections: Sequence[Section]) -> list[dict[str, Any]]:
    shown = [(section.name, section.columns, section.height, True) for section in sections]
    return [
        {
            "uuid": f"section-{number}",
            "name": name,
            "display": is_open,
            "isReordered": True,
            "deleted": False,
            "isGenerated": False,
            "columns": columns,
            "cardHeight": height,
        }
        for number, (name, columns, height, is_open) in enumerate([*shown, *((name, 3, 360, False) for name in _REST)])
    ]


def _page_charts(sections: Sequence[Section]) -> Iterator[dict[str, Any]]:
    for section_number, section in enumerate(sections):
        for number, chart in enumerate(section.charts):
            yield {
                "uuid": f"chart-{section_number}-{number}",
                "metricSectionId": f"section-{section_number}",
                "runsCountToCompare": _MOST_RUNS,
                "deleted": False,
                "isGenerated": False,
                **chart,
            }
