"""A store that was moved or copied: found again beside its database, and never written to where it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.errors import TrackingError
from gpt_experiments.model import load_checkpoint
from gpt_experiments.models.registration import register_model
from gpt_experiments.tracking import Store, model_folder
from gpt_experiments.tracking.run_files import read_text
from tests.support.stores import SAMPLE, add_run, finished_trials


@pytest.fixture
def project(store_uri: str, tmp_path: Path, corpus: Corpus) -> tuple[Path, str]:
    """A project's folder with a store, and the id of its one run, whose model is registered."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.move(tmp_path / "mlflow.db", folder / "mlflow.db")
    store = Store(f"sqlite:///{folder}/mlflow.db")
    run_id = add_run(store, corpus, 2.0)
    register_model(run_id, store, "m")
    return folder, run_id


def sample_of(run_id: str, store: Store) -> str:
    return read_text(store.client.get_run(run_id), names.SAMPLE_FILE, store.uri)


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def test_a_moved_store_is_read_and_written_where_it_is_now(
    project: tuple[Path, str], tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    old, run_id = project
    new = tmp_path / "moved here"
    shutil.move(old, new)
    store = Store(uri_of(new))
    assert f"artifacts are in {old}/mlruns, and now says {new}/mlruns" in capsys.readouterr().err
    assert sample_of(run_id, store) == SAMPLE
    load_checkpoint(model_folder("models:/m@champion", store.uri, into=tmp_path) / "artifacts" / "checkpoint")
    second = add_run(store, corpus, 1.5)
    assert list((new / "mlruns").rglob(f"{second}/artifacts/{names.SAMPLE_FILE}"))
    assert not old.exists()
    Store(uri_of(new))
    assert capsys.readouterr().err == ""


def test_a_copy_is_a_store_of_its_own(project: tuple[Path, str], tmp_path: Path, corpus: Corpus) -> None:
    old, run_id = project
    shutil.copytree(old, tmp_path / "copy")
    before = sorted(old.rglob("*"))
    store = Store(uri_of(tmp_path / "copy"))
    add_run(store, corpus, 1.5)
    assert sorted(old.rglob("*")) == before
    shutil.rmtree(old)
    assert sample_of(run_id, store) == SAMPLE


def test_a_store_under_a_second_name_is_left_alone(
    project: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, _ = project
    (tmp_path / "link").symlink_to(old)
    assert str(old) in str(Store(uri_of(tmp_path / "link")).experiment.artifact_location)
    assert capsys.readouterr().err == ""


def test_artifacts_that_somebody_keeps_elsewhere_are_left_there(store_uri: str, tmp_path: Path) -> None:
    client = Store(store_uri).client
    for name, location in (("own", f"file://{tmp_path}/gone/files/own"), ("bucket", "s3://bucket/mlruns/bucket")):
        client.create_experiment(name, artifact_location=location)
        assert Store(store_uri, name).experiment.artifact_location == location


def test_a_database_that_was_moved_without_its_artifacts_still_reads_them(
    project: tuple[Path, str], tmp_path: Path
) -> None:
    old, run_id = project
    (tmp_path / "alone").mkdir()
    shutil.move(old / "mlflow.db", tmp_path / "alone")
    store = Store(uri_of(tmp_path / "alone"))
    assert sample_of(run_id, store) == SAMPLE


def test_nothing_is_moved_under_a_run_that_is_written(project: tuple[Path, str], tmp_path: Path) -> None:
    old, _ = project
    running = Store(uri_of(old)).start_run(kind="trial", run_name="x", params={})
    shutil.copytree(old, tmp_path / "copy")
    with pytest.raises(TrackingError, match=f"mlflow runs delete --run-id {running.run_id}`, with MLFLOW_TRACKING"):
        Store(uri_of(tmp_path / "copy"))
    running.finish()


def keep_artifacts_elsewhere(project: tuple[Path, str], tmp_path: Path) -> tuple[Path, Path, str]:
    """The folder of the database alone, the folder of the artifacts, and the run."""
    folder, run_id = project
    (tmp_path / "alone").mkdir()
    shutil.move(folder / "mlflow.db", tmp_path / "alone")
    return tmp_path / "alone", folder / "mlruns", run_id


@pytest.mark.parametrize("beside", ["mlruns", "mlruns/gpt-experiments", "mlruns/gpt-experiments/0123/artifacts"])
def test_artifacts_kept_elsewhere_stay_there_whatever_lies_beside_the_database(
    project: tuple[Path, str], tmp_path: Path, beside: str
) -> None:
    alone, artifacts, run_id = keep_artifacts_elsewhere(project, tmp_path)
    (alone / beside).mkdir(parents=True)
    for opened in (Store, Store.if_present):
        store = opened(uri_of(alone))
        assert store is not None
        assert store.experiment.artifact_location == (artifacts / "gpt-experiments").as_uri()
        assert sample_of(run_id, store) == SAMPLE


@pytest.mark.parametrize("beside", [None, "mlruns/gpt-experiments"])
def test_artifacts_on_a_mount_that_is_away_are_found_when_it_is_back(
    project: tuple[Path, str], tmp_path: Path, beside: str | None
) -> None:
    alone, artifacts, run_id = keep_artifacts_elsewhere(project, tmp_path)
    if beside:
        (alone / beside).mkdir(parents=True)
    artifacts.rename(tmp_path / "unmounted")
    Store(uri_of(alone))
    (tmp_path / "unmounted").rename(artifacts)
    assert sample_of(run_id, Store(uri_of(alone))) == SAMPLE


def test_only_experiments_whose_folders_were_moved_are_looked_for_there(
    project: tuple[Path, str], tmp_path: Path, corpus: Corpus
) -> None:
    old, run_id = project
    staying = add_run(Store(uri_of(old), "staying"), corpus, 2.0)
    Store(uri_of(old), "unused")
    new = tmp_path / "new"
    (new / "mlruns").mkdir(parents=True)
    shutil.move(old / "mlflow.db", new)
    shutil.move(old / "mlruns" / "gpt-experiments", new / "mlruns")
    assert sample_of(run_id, Store(uri_of(new))) == SAMPLE
    assert sample_of(staying, Store(uri_of(new), "staying")) == SAMPLE
    assert Store(uri_of(new), "unused").experiment.artifact_location == (new / "mlruns" / "unused").as_uri()


def test_nothing_is_moved_under_a_run_of_another_experiment(project: tuple[Path, str], tmp_path: Path) -> None:
    old, _ = project
    running = Store(uri_of(old), "other").start_run(kind="trial", run_name="x", params={})
    shutil.copytree(old, tmp_path / "copy")
    with pytest.raises(TrackingError, match=f"mlflow runs delete --run-id {running.run_id}`, with MLFLOW_TRACKING"):
        Store(uri_of(tmp_path / "copy"))
    running.finish()


def test_looking_at_a_moved_store_writes_nothing_and_finds_its_checkpoints(
    project: tuple[Path, str], tmp_path: Path
) -> None:
    old, run_id = project
    new = tmp_path / "new"
    shutil.move(old, new)
    before = (new / "mlflow.db").read_bytes()
    store = Store.if_present(uri_of(new))
    assert store is not None
    assert [trial.run_id for trial in finished_trials(store).by_cell.values()] == [run_id]
    assert (new / "mlflow.db").read_bytes() == before
