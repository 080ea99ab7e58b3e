"""The model: its layers, text from it, its files."""

from gpt_experiments.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gpt_experiments.model.generate import generate
from gpt_experiments.model.gpt import GPT
from gpt_experiments.model.head_scores import HeadScores, head_scores, head_scores_on
from gpt_experiments.model.notebook_format import from_notebook_state_dict, load_notebook_file

__all__ = [
    "GPT",
    "Checkpoint",
    "HeadScores",
    "from_notebook_state_dict",
    "generate",
    "head_scores",
    "head_scores_on",
    "load_checkpoint",
    "load_notebook_file",
    "save_checkpoint",
]
