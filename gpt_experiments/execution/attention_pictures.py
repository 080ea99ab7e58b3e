"""Shows how a trial's attention changes while it trains: at its evaluations, where every head looks in one text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gpt_experiments.artifacts import shown_texts
from gpt_experiments.corpus import Corpus
from gpt_experiments.execution.protocol import Job, Picture
from gpt_experiments.figures import head_mosaic
from gpt_experiments.training import Attention, Evaluation, Look

_MOST_PICTURES: Final = 50  # of one trial; a slider with more would be of no use


class AttentionPictures:
    """Asks training for the attention of each job that is to be watched, and draws it.

    The text is the first of those that the trial's finished model is shown on.
    """

    def __init__(self, jobs: Sequence[Job], corpus: Corpus) -> None:
        text = next(iter(shown_texts(corpus).values()))
        self._text, self._tokens = text, corpus.tokenizer.encode(text)
        self._steps = {
            job.key: _pictured(job.trial.training.evaluation_steps()) for job in jobs if job.watches_attention
        }

    def request(self, index: int, job: Job, event: object) -> Look | None:
        """The answer to an event of the trial of that index: whether its attention is wanted now."""
        if not isinstance(event, Evaluation) or event.step not in self._steps.get(job.key, ()):
            return None
        return Look(index=index, tokens=self._tokens[: job.trial.shape.block_size])

    def draw(self, job: Job, attention: Attention) -> Picture:
        text = self._text[: job.trial.shape.block_size].replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}")
        title = f"{job.label}, step {attention.step:,}: {text}"
        return Picture(step=attention.step, image=head_mosaic(attention.weights, title=title))


def _pictured(steps: Sequence[int]) -> frozenset[int]:
    """The last evaluation and, going back from it, as many as there may be, evenly spaced."""
    return frozenset(steps[:: -math.ceil(len(steps) / _MOST_PICTURES)])
