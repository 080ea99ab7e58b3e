"""A registered model as MLflow loads and serves it: prompts in, texts out.

MLflow copies this file into the model and runs it there, with the parts of the package that it imports beside it. So
it stands alone: it must import nothing else of `gpt_experiments.tracking`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from gpt_experiments.errors import ConfigError, ExperimentError, shortened
from gpt_experiments.model import Checkpoint, generate, load_checkpoint

PROMPT_COLUMN: Final = "prompt"
CHECKPOINT_ARTIFACT: Final = "checkpoint"
DEFAULT_PARAMS: Final[dict[str, int | float]] = {"max_new_tokens": 300, "temperature": 1.0, "top_k": 0, "seed": 1337}


class TextGenerator(PythonModel):
    """Continues each prompt by itself, so the other rows of a request never change its text."""

    _checkpoint: Checkpoint

    def load_context(self, context: PythonModelContext) -> None:
        self._checkpoint = load_checkpoint(Path(context.artifacts[CHECKPOINT_ARTIFACT]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[str]:
        """Each prompt with its continuation, in the order of the rows.

        Args:
            params: `max_new_tokens`, `temperature`, `top_k` (0 samples among all characters) and `seed`.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE, which a server answers with HTTP 400: a prompt that is empty, no
                text, or has a character that the model does not know; a parameter that is out of range.
        """
        values = DEFAULT_PARAMS | (params or {})
        prompts = list(model_input[PROMPT_COLUMN])
        try:
            # All are read before any is continued, so that a mistake in the last one is reported at once.
            tokens = [self._encode(prompt, number, len(prompts)) for number, prompt in enumerate(prompts, start=1)]
            return [self._continue(prompt, values) for prompt in tokens]
        except ExperimentError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def _encode(self, prompt: Any, number: int, count: int) -> torch.Tensor:
        """The prompt's tokens (T,); an error names the prompt by its number where there are several."""
        try:
            if not isinstance(prompt, str):
                raise ConfigError(f"the prompt must be a text, but got {shortened(repr(prompt), 60)}")
            return torch.from_numpy(self._checkpoint.tokenizer.encode(prompt))
        except ExperimentError as error:
            if count == 1:
                raise
            raise ConfigError(f"prompt {number} of {count}: {error}") from error

    def _continue(self, prompt: torch.Tensor, values: dict[str, Any]) -> str:
        tokens = generate(
            self._checkpoint.model,
            prompt,
            max_new_tokens=values["max_new_tokens"],
            temperature=values["temperature"],
            top_k=values["top_k"],
            seed=values["seed"],
        )
        return self._checkpoint.tokenizer.decode(tokens[0].numpy())


set_model(TextGenerator())
