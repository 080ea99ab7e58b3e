"""Training: batches, the loop, exact losses, and the events in which it tells of itself."""

from gpt_experiments.training.device import describe_device, prepare_process, resolve_device
from gpt_experiments.training.evaluation import SplitLoss, evaluate
from gpt_experiments.training.events import Evaluation, Progress, TrainingSummary
from gpt_experiments.training.groups import group_key
from gpt_experiments.training.loop import TrainingResult, train, train_group
from gpt_experiments.training.timing import time_trial

__all__ = [
    "Evaluation",
    "Progress",
    "SplitLoss",
    "TrainingResult",
    "TrainingSummary",
    "describe_device",
    "evaluate",
    "group_key",
    "prepare_process",
    "resolve_device",
    "time_trial",
    "train",
    "train_group",
]
