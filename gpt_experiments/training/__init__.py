"""Training: batches, the loop, exact losses, and the events that it yields."""

from gpt_experiments.training.cuda_graph import CaptureWarning
from gpt_experiments.training.device import (
    SpeedWarning,
    breaks_device,
    describe_device,
    device_memory,
    devices_of,
    free_memory,
    is_out_of_memory,
    prepare_process,
    release_memory,
    resolve_device,
    set_cublas_workspace,
)
from gpt_experiments.training.evaluation import SplitLoss, evaluate
from gpt_experiments.training.events import (
    Attention,
    Evaluation,
    Look,
    Progress,
    Save,
    Stop,
    Stopped,
    TrainingSummary,
)
from gpt_experiments.training.loop import Request, Training, TrainingResult, group_key, train, train_group
from gpt_experiments.training.state import TrialState, require_usable, together_of
from gpt_experiments.training.timing import time_group, time_trial

__all__ = [
    "Attention",
    "CaptureWarning",
    "Evaluation",
    "Look",
    "Progress",
    "Request",
    "Save",
    "SpeedWarning",
    "SplitLoss",
    "Stop",
    "Stopped",
    "Training",
    "TrainingResult",
    "TrainingSummary",
    "TrialState",
    "breaks_device",
    "describe_device",
    "device_memory",
    "devices_of",
    "evaluate",
    "free_memory",
    "group_key",
    "is_out_of_memory",
    "prepare_process",
    "release_memory",
    "require_usable",
    "resolve_device",
    "set_cublas_workspace",
    "time_group",
    "time_trial",
    "together_of",
    "train",
    "train_group",
]
