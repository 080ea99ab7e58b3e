"""The one part that knows MLflow: how a run is written, found again and read."""

from gpt_experiments.tracking.claims import Claims, Others
from gpt_experiments.tracking.models import model_folder
from gpt_experiments.tracking.recorder import RunRecorder
from gpt_experiments.tracking.schema import ModelRun
from gpt_experiments.tracking.store import FinishedTrials, Store

__all__ = [
    "Claims",
    "FinishedTrials",
    "ModelRun",
    "Others",
    "RunRecorder",
    "Store",
    "model_folder",
]
