"""The one part that knows MLflow: what a run is called, how it is written, how it is found again."""

from gpt_experiments.tracking import names
from gpt_experiments.tracking.claims import Claims, Others
from gpt_experiments.tracking.model_run import ModelRun
from gpt_experiments.tracking.models import model_folder
from gpt_experiments.tracking.recorder import RunRecorder
from gpt_experiments.tracking.store import FinishedTrial, FinishedTrials, Store

__all__ = [
    "Claims",
    "FinishedTrial",
    "FinishedTrials",
    "ModelRun",
    "Others",
    "RunRecorder",
    "Store",
    "model_folder",
    "names",
]
