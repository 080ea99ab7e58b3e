"""Writes the log of a trial to its MLflow run, as far as the store takes it, and goes on later where it stopped."""

from __future__ import annotations

from pathlib import Path

from gpt_experiments import names
from gpt_experiments.errors import RunDeletedError, StoreAwayError
from gpt_experiments.records import FinishedTrial
from gpt_experiments.sweep.trial_log import Drawing, End, Results, State, StateRemoval, Tags, TrialLog, Values
from gpt_experiments.tracking import RunRecorder, Store, provenance


class LogWriter:
    """Writes one log to one run.

    Everything may be written twice without harm, because a call that fails may have reached the store: a metric of the
    same time, step and value counts once, files are replaced, and a run or a logged model that is there is used.

    Attributes:
        lost: why nothing can be written to the run any more, because a person has deleted it; None as long as it can.
        instead: another process's finished run of the same cell, which is there when the store is back; the trial's
            own run is then not written, or closed as KILLED. None where there is none.

        keeps_too_much: whether the store has refused to delete a state that is of no more use.

    Args:
        looks_around: whether to look for such a run; a trial that is trained again on purpose does not.
        was_away: whether a part may be written already by a call whose answer was lost.
    """

    def __init__(self, log: TrialLog, store: Store, *, looks_around: bool, was_away: bool = False) -> None:
        self.log = log
        self.lost: str | None = None
        self.instead: FinishedTrial | None = None
        self.keeps_too_much = False
        self._store, self._looks_around, self._was_away = store, looks_around, was_away
        self._recorder: RunRecorder | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing of the log is left to write."""
        return self.log.is_written or self.lost is not None or self.instead is not None

    def write(self, files: Path | None) -> None:
        """Write what is not written yet.

        Args:
            files: the trial's files; only needed when it has finished.

        Raises:
            StoreAwayError: the store takes nothing at present; what it has taken is noted in the log.
            TrackingError: the store fails for another reason.
        """
        try:
            while not self.is_done:
                self._write_next(files)
        except StoreAwayError:
            self._was_away, self._recorder = True, None  # others may have closed its run before the store is back
            raise
        except RunDeletedError as error:
            self.lost = str(error)

    def _write_next(self, files: Path | None) -> None:
        log = self.log
        if self._recorder is None:
            if log.run_id:
                self._recorder = self._store.reopen_trial(log.run_id)
            elif not self._is_finished_elsewhere():
                self._recorder = self._open()
            return
        recorder, entry, count = self._recorder, log.entries[0], 1
        match entry:
            case Values():
                count = self._write_values(recorder)
            case Drawing():
                recorder.log_image(names.ATTENTION_IMAGE, entry.pixels(), entry.step, at=entry.at)
            case Tags():
                recorder.set_tags(entry.tags)
            case State():
                could_delete = recorder.keep_state(entry.step, entry.group, entry.data)
                self.keeps_too_much |= not could_delete
            case StateRemoval():
                self.keeps_too_much |= not recorder.remove_state()
            case Results():
                if self._is_finished_elsewhere():
                    assert self.instead is not None
                    recorder.kill(f"run {self.instead.run_id} of another process has this trial's result")
                    return
                assert files is not None
                recorder.log_artifacts(files)
                recorder.log_model(
                    self._store.experiment.experiment_id,
                    name=log.opening.run_name,
                    params=log.opening.params,
                    tags=entry.tags,
                    metrics=entry.metrics,
                    again=self._was_away,
                )
            case End(status="FINISHED"):
                recorder.finish()
            case End(status="FAILED"):
                recorder.fail(entry.reason, entry.traceback)
            case End():
                recorder.kill(entry.reason)
        del log.entries[:count]  # its pictures and states take no more memory

    def _open(self) -> RunRecorder:
        opening = self.log.opening
        asks = self._looks_around and not self._was_away  # see `sweep.claiming`
        recorder = self._store.start_run(
            kind="trial",
            run_name=opening.run_name,
            sweep=opening.sweep,
            parent_run_id=opening.parent_run_id,
            params=opening.params,
            tags={**opening.tags, names.CLAIM: names.ASKED if asks else names.HOLDS},
            source={**opening.source, names.OWNER: provenance.this_process()},
            started_at=opening.at,
            again=self._was_away,
        )
        recorder.log_input(opening.corpus)
        self.log.run_id = recorder.run_id
        return recorder

    def _write_values(self, recorder: RunRecorder) -> int:
        """Write all metrics up to the next entry of another kind, in one call; returns how many entries those were."""
        found: list[Values] = []
        for entry in self.log.entries:
            if not isinstance(entry, Values):
                break
            found.append(entry)
        recorder.log_history([(name, value, one.at, step) for one in found for name, value, step in one.values])
        return len(found)

    def _is_finished_elsewhere(self) -> bool:
        """Whether another process has finished the same cell while the store was away and nobody could know."""
        if self._looks_around and self._was_away:
            found = self._store.finished_run(self.log.opening.cell)
            if found is not None and found.run_id != self.log.run_id:
                self.instead = found
        return self.instead is not None
