"""Sweeps whose store goes away: training goes on, what has ended waits on disk, nothing is lost or written twice."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import StoreAwayError, TrackingError
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.records import PlannedTrial
from gpt_experiments.sweep import trial_log
from gpt_experiments.sweep.definition import SweepDefinition
from gpt_experiments.sweep.plan import sweep_key
from gpt_experiments.sweep.resources import RunOptions
from gpt_experiments.sweep.runner import run_sweep
from gpt_experiments.sweep.trial_log import Drawing, End, Opening, Results, Tags, TrialLog, Values
from gpt_experiments.sweep.unwritten import FOLDER_VARIABLE
from gpt_experiments.tracking import Store
from gpt_experiments.tracking.failures import as_tracking_error, as_tracking_errors
from gpt_experiments.training import Evaluation
from tests.support.listeners import Recorder
from tests.support.stores import TRIAL_FILES, add_run

INLINE = RunOptions(device="cpu", executor="inline")
SWEEP = SweepDefinition(
    name="away",
    method="one-at-a-time",
    baseline=Shape(n_head=2, n_layer=1, n_embed=8, dropout=0.0, block_size=16),
    levels={"n_head": (1, 2)},
    training=TrainingSetup(steps=4, batch_size=2, eval_interval=2),
)


class Line:
    """What lies between a store's client and its server; while it is cut, calls fail.

    Args:
        is_full: whether only files are refused, for lack of room; else every call fails, as where nobody answers.
    """

    def __init__(self, store: Store, *, is_full: bool = False) -> None:
        self.is_cut, self._is_full = False, is_full
        self._client = store.client._client  # type: ignore[attr-defined]
        store.client._client = self  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.is_cut and self._is_full and name == "log_artifacts":
                raise OSError(errno.ENOSPC, "No space left on device")
            if self.is_cut and not self._is_full:
                raise MlflowException("could not connect to server: Connection refused")
            return getattr(self._client, name)(*args, **kwargs)

        return call


class Cutter(Recorder):
    """Cuts the line before the trial of that number starts, and joins it again when a number of trials have ended."""

    def __init__(self, line: Line, *, cut_at: int, joined_at: int | None = None) -> None:
        super().__init__()
        self._line, self._cut_at, self._joined_at = line, cut_at, joined_at

    def trial_evaluated(self, planned: PlannedTrial, evaluation: Evaluation) -> None:
        super().trial_evaluated(planned, evaluation)
        if len(self.trials) == self._cut_at and evaluation.step == 0:
            self._line.is_cut = True

    def trial_ended(self, record: Any) -> None:
        super().trial_ended(record)
        if len(self.ended) == self._joined_at:
            self._line.is_cut = False


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where trials wait; and nobody waits for long."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "unwritten"))
    for name in ("backlog._BETWEEN_TRIES", "backlog._FIRST_NOTICE", "coordinator._SECONDS_TO_ASK"):
        monkeypatch.setattr(f"gpt_experiments.sweep.{name}", 0.0)
    monkeypatch.setattr("gpt_experiments.tracking.retry._BETWEEN_TRIES", 0.0)
    monkeypatch.setattr("gpt_experiments.sweep.backlog._LONGEST_WAIT", 0.5)
    return tmp_path / "unwritten"


def assert_whole(store: Store, run_id: str) -> None:
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert names.FAILURE not in run.data.tags
    for name in (names.TRAIN_LOSS, names.VAL_LOSS):
        assert [point.step for point in store.client.get_metric_history(run_id, name)] == [0, 2, 4]
    assert {file.path for file in store.client.list_artifacts(run_id)} >= TRIAL_FILES
    pictures = [file for file in store.client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
    assert len(pictures) == 3
    assert len(run.outputs.model_outputs) == 1


@pytest.mark.usefixtures("all_files")
@pytest.mark.parametrize(
    ("is_full", "reason"),
    [(False, "it does not answer"), pytest.param(True, "its disk is full", marks=pytest.mark.slow)],
)
def test_trials_that_end_while_the_store_is_away_wait_on_disk_and_the_next_sweep_writes_them(
    store_uri: str, corpus: Corpus, place: Path, is_full: bool, reason: str
) -> None:
    store = Store(store_uri)
    line = Line(store, is_full=is_full)
    listener = Cutter(line, cut_at=1)
    with pytest.raises(TrackingError, match=f"2 trials that have ended wait in {place}/.*the same command writes"):
        run_sweep(SWEEP, corpus, store, INLINE, listener)
    assert [record.outcome for record in listener.ended] == ["finished", "finished"]
    assert f"waiting for the tracking store, while training goes on: {reason}" in listener.notices[0]
    (folder,) = (path for path in place.iterdir() if path.is_dir())
    assert len([path for path in folder.iterdir() if (path / "files" / "checkpoint").is_dir()]) == 2

    line.is_cut = False
    listener = Recorder()
    summary = run_sweep(SWEEP, corpus, store, INLINE, listener)
    assert [record.outcome for record in summary.trials] == ["reused", "reused"]
    assert listener.notices[0].startswith("wrote 2 trials that waited in")
    for record in summary.trials:
        assert_whole(store, record.run_id)
    assert len(store.search(f"tags.`{names.KIND}` = 'trial'")) == 2
    assert list(place.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("all_files")
def test_a_store_that_comes_back_gets_everything_but_what_another_process_has_finished(
    store_uri: str, corpus: Corpus, place: Path
) -> None:
    store = Store(store_uri)

    class Other(Cutter):
        """Another process finishes the second trial's cell while this one trains it, unseen."""

        def trial_started(self, planned: PlannedTrial) -> None:
            super().trial_started(planned)
            if len(self.trials) == 2:
                add_run(Store(store_uri), corpus, 2.0, trial=planned.trial)

    listener = Other(Line(store), cut_at=1, joined_at=2)
    summary = run_sweep(SWEEP, corpus, store, INLINE, listener)
    assert [record.outcome for record in listener.ended] == ["finished", "finished"]
    assert [record.outcome for record in summary.trials] == ["finished", "reused"]
    assert_whole(store, summary.trials[0].run_id)
    cell = summary.trials[1].planned.cell
    (run,) = store.search(f"tags.`{names.CELL}` = '{cell}'")
    assert run.info.run_id == summary.trials[1].run_id
    assert any("answers again" in notice for notice in listener.notices)
    assert not list(place.glob("*/*"))
    plan = store.earlier_plan(sweep_key(SWEEP, corpus))
    assert [row["run_id"] for row in plan] == [record.run_id for record in summary.trials]


def test_a_log_is_read_from_its_folder_as_it_was_saved(tmp_path: Path) -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    opening = Opening(
        at=1, run_name="x", cell="c", params={"a": "1"}, tags={}, source={}, corpus={}, sweep=None, parent_run_id="p"
    )
    entries = [
        Values(at=2, values=(("loss", 0.1, 0),)),
        Drawing(at=3, step=2, image=image),
        Tags(tags={"t": "v"}),
        Results(metrics={"m": 1.5}, tags={}),
        End(status="FAILED", reason="why", traceback="lines"),
    ]
    log = TrialLog(opening=opening, entries=list(entries), run_id="r")
    log.save(tmp_path, "owner")
    read, owner = trial_log.load(tmp_path)
    assert (owner, read.opening, read.run_id) == ("owner", opening, "r")
    drawing = read.entries[1]
    assert isinstance(drawing, Drawing)
    assert (drawing.pixels() == image).all()
    assert [*read.entries[:1], *read.entries[2:]] == [*entries[:1], *entries[2:]]
    (tmp_path / "trial.json").write_text('{"version": 1}')
    with pytest.raises(ValueError, match="damaged"):
        trial_log.load(tmp_path)


def test_a_full_disk_and_a_silent_server_are_for_later_and_a_refusal_is_not() -> None:
    for error in (OSError(errno.ENOSPC, "No space left on device"), MlflowException("Connection refused")):
        assert isinstance(as_tracking_error(error, "x"), StoreAwayError)
    unreachable = type("EndpointConnectionError", (Exception,), {"__module__": "botocore.exceptions"})
    with pytest.raises(StoreAwayError), as_tracking_errors("x"):
        raise unreachable('Could not connect to the endpoint URL: "http://127.0.0.1:1/runs"')
    assert not isinstance(as_tracking_error(PermissionError(errno.EACCES, "denied"), "x"), StoreAwayError)
