"""Writes a sweep's report: to a folder, and to the sweep's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gpt_experiments import names
from gpt_experiments.analysis import LOSS, SweepResults
from gpt_experiments.analysis.prediction import CannotPredictError, fit_predictor
from gpt_experiments.figures import save_png, save_svg
from gpt_experiments.report.attention import attention_pictures, compared_pictures
from gpt_experiments.report.content import PREDICTION_FILE, Extras, conclusions, make_document
from gpt_experiments.report.document import Document
from gpt_experiments.report.html import render_html
from gpt_experiments.report.markdown import render_markdown
from gpt_experiments.report.prediction_page import prediction_page, trust
from gpt_experiments.report.tables import Importance
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.sweep.methods.importances import importance_ranges, importances
from gpt_experiments.tracking import RunRecorder, Store
from gpt_experiments.tracking.reader import read_pretrained, read_sweep
from gpt_experiments.tracking.run_files import LeftOut, UnreadableError, read_text
from gpt_experiments.tracking.runs import get_run

_FEWEST_FOR_IMPORTANCES = 10  # trials; a forest of fewer is meaningless
_LEAST_SPREAD = 1e-9  # nats per character; equal losses have no variance to explain
_SHOWN_BY_MLFLOW = ("summary", "effects", "effects-at-best", "beliefs")  # on the page of the sweep's run
_DIGITS = 5  # after the decimal point, there


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """A report that was written.

    Attributes:
        results: of the sweep, from which it was made.
        lead: its first sentences: what was found.
        tables: by name; each is a CSV file of the folder, too.
        left_out: sentences on what could not be read.
    """

    folder: Path
    results: SweepResults
    lead: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]
    left_out: tuple[str, ...]

    @property
    def page(self) -> Path:
        return self.folder / "report.html"

    @property
    def prediction(self) -> Path | None:
        """The page that predicts other variants; None where the sweep allows no prediction."""
        page = self.folder / PREDICTION_FILE
        return page if page.exists() else None


def write_report(
    store: Store,
    reference: str | None = None,
    folder: Path | None = None,
    *,
    attention: Sequence[str] = (),
    pretrained: Sequence[str] = (),
    margin: float | None = None,
) -> ReportFiles:
    """Make the report of a sweep from the store alone; a folder and the sweep's run get the same files.

    Args:
        reference: a sweep's name or run id; None is the one last worked on.
        folder: created if needed; None is `report-NAME` in the working directory.
        attention: ids of the runs whose attention is shown instead of the baseline's and the single head's.
        pretrained: ids of runs of `evaluate` to show beside the sweep.
        margin: a smaller difference counts as none; None takes the sweep's.

    Raises:
        ConfigError: the margin does not fit; see `SweepResults.with_margin`.
        TrackingError: no such sweep or run, the sweep has no finished trial, or the store cannot be read.
        CheckpointError: a run of `attention` has no complete checkpoint.
    """
    results = read_sweep(store, reference)
    if margin is not None:
        results = results.with_margin(margin)
    folder = folder or Path(f"report-{results.name}")
    left_out = LeftOut()
    folder.mkdir(parents=True, exist_ok=True)
    shown = results if results.compared.finished.empty else results.compared  # of whose models pictures are shown
    sentences, has_prediction = _write_prediction(store, shown, folder)
    extras = Extras(
        prediction=sentences,
        has_prediction=has_prediction,
        attention=attention_pictures(attention, store.uri)
        if attention
        else compared_pictures(shown, store.uri, left_out),
        pretrained=[read_pretrained(store, run_id) for run_id in pretrained],
        importances=importances_of(results.compared),
        explorers=_write_explorers(store, shown, folder, left_out),
        left_out=left_out.sentences(),
    )
    document = make_document(results, extras)
    write_files(document, folder)
    recorder = RunRecorder(store.client, results.run_id, store.uri)
    recorder.log_artifacts(folder, names.REPORT_FOLDER)
    recorder.log_tables(
        {
            f"{names.TABLES_FOLDER}/{table.name}.json": table.values.round(_DIGITS)
            for table in document.tables()
            if table.name in _SHOWN_BY_MLFLOW
        }
    )
    recorder.describe(conclusions(document, results))
    return ReportFiles(
        folder=folder,
        results=results,
        lead=tuple(document.lead),
        tables={table.name: table.values for table in document.tables()},
        left_out=tuple(document.left_out),
    )


def write_files(document: Document, folder: Path) -> None:
    """`report.html`, `report.md`, each picture as PNG and SVG, each table as CSV, in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_pictures(document, folder)
    for table in document.tables():
        table.values.to_csv(folder / f"{table.name}.csv", index=False)
    (folder / "report.html").write_text(render_html(document, folder), encoding="utf-8")
    (folder / "report.md").write_text(render_markdown(document), encoding="utf-8")


def write_page(document: Document, file: Path) -> None:
    """The document as one page that refers to nothing outside itself; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder() as folder:
        _write_pictures(document, folder)
        page = render_html(document, folder)
    file.write_text(page, encoding="utf-8")


def _write_pictures(document: Document, folder: Path) -> None:
    for picture in document.pictures():
        save_png(picture.figure, folder / f"{picture.name}.png")
        picture.figure.set_layout_engine("none")  # the layout is done; drawing again would repeat it
        save_svg(picture.figure, folder / f"{picture.name}.svg")


def _write_prediction(store: Store, results: SweepResults, folder: Path) -> tuple[list[str], bool]:
    """The page of predictions, where the sweep allows one: sentences for the report, and whether there is one."""
    page = folder / PREDICTION_FILE
    try:
        predictor = fit_predictor(results)
    except CannotPredictError as error:
        page.unlink(missing_ok=True)  # of an earlier report
        return [str(error)], False
    experiment = store.experiment.experiment_id
    address = f"{store.uri.rstrip('/')}/#/experiments/{experiment}/runs/" if store.uri.startswith("http") else ""
    page.write_text(prediction_page(results, predictor, run_address=address), encoding="utf-8")
    first = (
        "predicts the loss, the size and the training time of variants that were not trained, each with its interval: "
        "choose a value of each parameter there."
    )
    return [first, *trust(predictor)], True


def _write_explorers(store: Store, results: SweepResults, folder: Path, left_out: LeftOut) -> dict[str, str]:
    """The attention explorers of the baseline and of the best variant: the files written, with their labels."""
    written = {}
    for name, label in (("baseline", "baseline"), ("best", str(results.by_variant["label"].iloc[0]))):
        for run_id in results.runs_of(label)["run_id"].head(1):
            try:
                page = read_text(get_run(store, run_id), names.EXPLORER_FILE, store.uri)
            except UnreadableError as error:
                left_out.add(names.EXPLORER_FILE, str(error), label)
                continue
            file = folder / f"explorer-{name}.html"
            file.write_text(page, encoding="utf-8")
            written[file.name] = label
    return written


def importances_of(results: SweepResults) -> dict[str, Importance] | None:
    """FANOVA importances, for designs without an exact decomposition (no factorial, not one at a time)."""
    rows = results.finished
    if rows.empty or float(rows[LOSS].max() - rows[LOSS].min()) < _LEAST_SPREAD:
        return None
    exact = results.is_factorial or results.varies_one_at_a_time
    if exact or len(rows) < _FEWEST_FOR_IMPORTANCES or not results.varied:
        return None
    varied = results.varied
    values: list[dict[str, object]] = [{name: row[name] for name in varied} for _, row in rows.iterrows()]
    losses = list(rows[LOSS])
    ranges = importance_ranges(values, losses, varied)
    found = importances(values, losses, varied)
    return {name: Importance(share=share, low=ranges[name][0], high=ranges[name][1]) for name, share in found.items()}
