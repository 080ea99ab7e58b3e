"""What is to be written to the run of a trial, in the order in which it happened: plain data, in memory or in a folder.

A trial that trains while the store is away goes on, and its log grows. `sweep/log_writer.py` writes a log to its run.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

_VERSION: Final = 1
_LOG_FILE: Final = "trial.json"
_IMAGES: Final = "pictures"


def now() -> int:
    """Milliseconds since 1970, as MLflow dates everything."""
    return int(time.time() * 1000)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a trial's run is opened with.

    Attributes:
        at: when training began, milliseconds since 1970.
        tags: what the run is marked with, also what it is computed with.
        source: MLflow's own tags, the versions and the commit that compute it.
        corpus: the run's input, as `tracking.recorder.corpus_input` describes it.
        sweep, parent_run_id: the sweep's name and run; None for a trial on its own.
    """

    at: int
    run_name: str
    cell: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    source: Mapping[str, str]
    corpus: Mapping[str, str]
    sweep: str | None
    parent_run_id: str | None


@dataclass(frozen=True, kw_only=True)
class Values:
    """Metrics, each with its value and step: losses, what the worker uses, scores of heads."""

    at: int
    values: tuple[tuple[str, float, int], ...]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The attention after `step` optimisation steps: (height, width, 3), or the file that has it."""

    at: int
    step: int
    image: NDArray[np.uint8] | Path

    @property
    def file_name(self) -> str:
        return f"{self.step}-{self.at}.png"

    def pixels(self) -> NDArray[np.uint8]:
        if isinstance(self.image, Path):
            with PillowImage.open(self.image) as image:
                return np.asarray(image.convert("RGB"))
        return self.image


@dataclass(frozen=True, kw_only=True)
class Tags:
    """Tags that are set or changed while the trial trains."""

    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Results:
    """A finished training: metrics and tags of its model; its files are in a folder beside the log."""

    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class State:
    """The trial's state after `step` optimisation steps, to be kept in place of the one before.

    Attributes:
        group: what it has in common with the states with which it goes on together.
        data: the state's bytes; they are never written into a folder, since a trial that has ended needs none.
    """

    step: int
    group: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class StateRemoval:
    """What is kept of the trial's state is of no more use."""


@dataclass(frozen=True, kw_only=True)
class End:
    """How the run ends; `reason` is why it failed or was stopped."""

    status: Literal["FINISHED", "FAILED", "KILLED"]
    reason: str = ""
    traceback: str | None = None


Entry = Values | Drawing | Tags | State | StateRemoval | Results | End
_KINDS: Final[Mapping[str, type[Any]]] = {
    kind.__name__.lower(): kind for kind in (Values, Drawing, Tags, StateRemoval, Results, End)
}


@dataclass(kw_only=True)
class TrialLog:
    """What is still to be written to the run of one trial.

    Attributes:
        entries: what the run does not have yet, the oldest first.
        run_id: the run that it is written to; empty until that is open.
    """

    opening: Opening
    entries: list[Entry] = field(default_factory=list)
    run_id: str = ""

    @property
    def is_written(self) -> bool:
        return bool(self.run_id) and not self.entries

    def drop_states(self) -> None:
        """Leave out the states that are not written, because a newer one comes, or none is needed any more."""
        self.entries = [entry for entry in self.entries if not isinstance(entry, State)]

    def save(self, folder: Path, owner: str) -> None:
        """Write the log into `folder`, where `load` finds it; its drawings are then there and no longer in memory.

        Args:
            owner: the process that will write it to its run, as long as that lives.

        Raises:
            OSError: the folder cannot be written.
        """
        rows = []
        self.drop_states()
        for entry in self.entries:
            if isinstance(entry, Drawing):
                name = f"{_IMAGES}/{entry.file_name}"
                if not isinstance(entry.image, Path):
                    (folder / _IMAGES).mkdir(exist_ok=True)
                    PillowImage.fromarray(entry.image).save(folder / name)
                row = {"at": entry.at, "step": entry.step, "image": name}
            else:
                row = dataclasses.asdict(entry)
            rows.append({"kind": type(entry).__name__.lower(), **row})
        values = {
            "version": _VERSION,
            "owner": owner,
            "opening": dataclasses.asdict(self.opening),
            "run_id": self.run_id,
            "entries": rows,
        }
        unfinished = folder / f"{_LOG_FILE}.new"
        unfinished.write_text(json.dumps(values, indent=1), encoding="utf-8")
        unfinished.replace(folder / _LOG_FILE)
        self.use_drawings_in(folder)

    def use_drawings_in(self, folder: Path) -> None:
        """Read drawings from where `save` has put them, in `folder`, which may have been moved since."""
        images = folder / _IMAGES
        self.entries = [
            dataclasses.replace(entry, image=images / entry.file_name) if isinstance(entry, Drawing) else entry
            for entry in self.entries
        ]


def load(folder: Path) -> tuple[TrialLog, str]:
    """The log that `TrialLog.save` has left in `folder`, and its owner.

    Raises:
        OSError, ValueError: there is none, or it is damaged.
    """
    values = json.loads((folder / _LOG_FILE).read_text(encoding="utf-8"))
    try:
        if values["version"] != _VERSION:
            raise ValueError(f"its version is {values['version']!r}; this program reads version {_VERSION}")
        log = TrialLog(
            opening=Opening(**values["opening"]),
            entries=[_entry(row) for row in values["entries"]],
            run_id=values["run_id"],
        )
        owner = str(values["owner"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error
    log.use_drawings_in(folder)
    return log, owner


def _entry(row: dict[str, Any]) -> Entry:
    kind = _KINDS[row.pop("kind")]
    if kind is Values:
        row["values"] = tuple((str(name), float(value), int(step)) for name, value, step in row["values"])
    if kind is Drawing:
        row["image"] = Path(row["image"])
    made: Entry = kind(**row)
    return made
