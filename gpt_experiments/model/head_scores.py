"""What each attention head does, in numbers: six scores a head, and a name where one of them is clear.

All are means over several texts. A[i, j] is a head's weight on key j when it is asked at query i, counted from 0.

previous_position: the mean over i >= 1 of A[i, i-1] (Elhage et al. 2021, "A Mathematical Framework for Transformer
    Circuits").
first_position: the mean over i >= 1 of A[i, 0] (Xiao et al. 2023, "Efficient Streaming Language Models with Attention
    Sinks").
entropy: the mean over i >= 1 of -sum_j A[i, j] ln A[i, j] / ln(i + 1), Shannon's entropy over the largest that i + 1
    keys allow: 1 is uniform, 0 a single key.
same_word: the mean over i of the sum of A[i, j] over the keys of i's own word, itself among them.
same_character: the weight on the earlier keys that hold the query's character, over what uniform causal attention,
    A[i, j] = 1 / (i + 1), would put there: 1 is chance.
induction: on R random characters said twice, the weight from each i of the second time on what followed it the first
    time, A[i, i-R+1], again over what uniform causal attention would put there (Olsson et al. 2022, "In-context
    Learning and Induction Heads").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from gpt_experiments import names
from gpt_experiments.corpus import Corpus
from gpt_experiments.model.gpt import GPT

REPEAT_LENGTH: Final = 64
"""Random characters that are said twice, where the context has room for it."""

_TEXTS: Final = 8
_LONGEST_TEXT: Final = 128
_SEED: Final = 0  # of the random characters; the same for every model, so that scores can be compared


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """The scores of every head of a model.

    Attributes:
        scores: for each of names.HEAD_SCORES a tensor (n_layer, n_head); NaN where the context is too short for it.
        repeat_length: how many random characters were said twice for the induction score; less than REPEAT_LENGTH
            where twice that exceeds the context, 0 where there is no room at all.
    """

    scores: Mapping[str, Tensor]
    repeat_length: int

    def name(self, layer: int, head: int) -> str:
        """What the head does, where that is clear: the first rule that holds; otherwise nothing."""
        value = {score: float(tensor[layer, head]) for score, tensor in self.scores.items()}
        for name, score, least in _RULES:
            if value[score] >= least:  # never true of NaN
                return name
        return ""

    def rows(self) -> list[dict[str, object]]:
        """One row a head: `layer` and `head`, counted from 1, each score, and the name."""
        n_layer, n_head = self.scores[names.HEAD_SCORES[0]].shape
        return [
            {"layer": layer + 1, "head": head + 1}
            | {score: float(self.scores[score][layer, head]) for score in names.HEAD_SCORES}
            | {"name": self.name(layer, head)}
            for layer in range(n_layer)
            for head in range(n_head)
        ]


# Name, score, least value. In a heatmap: a diagonal line, a vertical stripe at the left, an even spread, blocks along
# the diagonal. The order matters: a head on the previous character is mostly within its own word, too.
_RULES: Final = (
    ("induction", "induction", 10.0),
    ("previous character", "previous_position", 0.5),
    ("first character", "first_position", 0.5),
    ("own word", "same_word", 0.75),
    ("same character", "same_character", 4.0),
    ("uniform", "entropy", 0.97),
)


def head_scores(model: GPT, corpus: Corpus) -> HeadScores:
    """The scores of every head, on eight passages spread over the validation split and eight random repeated texts.

    A passage has as many characters as the context, at most 128.
    """
    block_size = model.config.shape.block_size
    length = min(block_size, _LONGEST_TEXT, len(corpus.val))
    starts = torch.linspace(0, len(corpus.val) - length, _TEXTS).long()
    tokens = torch.from_numpy(corpus.val)
    return head_scores_on(model, [tokens[start : start + length] for start in starts], corpus.tokenizer.vocabulary)


@torch.no_grad()
def head_scores_on(model: GPT, texts: Sequence[Tensor], vocabulary: Sequence[str]) -> HeadScores:
    """The scores of every head on `texts`, each (T,) tokens of `vocabulary`, and on eight random repeated texts."""
    block_size = model.config.shape.block_size
    spaces = torch.tensor([character.isspace() for character in vocabulary])
    on_text = [_scores_on_text(model, text, spaces) for text in texts]
    scores = {name: torch.stack([found[name] for found in on_text]).nanmean(dim=0).cpu() for name in on_text[0]}
    repeat_length = min(REPEAT_LENGTH, block_size // 2)
    if repeat_length >= 2:
        generator = torch.Generator().manual_seed(_SEED)
        random = torch.randint(len(vocabulary), (_TEXTS, repeat_length), generator=generator)
        lifts = [induction(model.attention_maps(half.repeat(2).to(model.device)), repeat_length) for half in random]
        scores["induction"] = torch.stack(lifts).mean(dim=0).cpu()
    else:
        repeat_length = 0
        scores["induction"] = torch.full_like(scores["entropy"], float("nan"))
    return HeadScores(scores=scores, repeat_length=repeat_length)


def _scores_on_text(model: GPT, tokens: Tensor, spaces: Tensor) -> dict[str, Tensor]:
    weights = model.attention_maps(tokens.to(model.device)).float()
    word = spaces[tokens].long().cumsum(0)  # (T,): rises at every space, so a word goes with the space before it
    return {
        "previous_position": previous_position(weights),
        "first_position": first_position(weights),
        "entropy": normalised_entropy(weights),
        "same_word": same_word(weights, word.to(weights.device)),
        "same_character": same_character(weights, tokens.to(weights.device)),
    }


def previous_position(weights: Tensor) -> Tensor:
    """Of weights (..., T, T): (...), from 0 to 1; NaN where T is 1."""
    return weights.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=-1)


def first_position(weights: Tensor) -> Tensor:
    """Of weights (..., T, T): (...), from 0 to 1; NaN where T is 1."""
    return weights[..., 1:, 0].mean(dim=-1)


def normalised_entropy(weights: Tensor) -> Tensor:
    """Of weights (..., T, T): (...), from 0 to 1; NaN where T is 1."""
    entropy = -torch.special.xlogy(weights, weights).sum(dim=-1)[..., 1:]  # (..., T - 1)
    return (entropy / _seen(weights)[1:].log()).mean(dim=-1)


def same_word(weights: Tensor, word: Tensor) -> Tensor:
    """Of weights (..., T, T) on a text whose characters belong to the words numbered in `word` (T,): (...)."""
    return (weights * (word[:, None] == word)).sum(dim=-1).mean(dim=-1)


def same_character(weights: Tensor, tokens: Tensor) -> Tensor:
    """Of weights (..., T, T) on `tokens` (T,), as lift: (...); NaN where no character occurs twice."""
    return _lift(weights, (tokens[:, None] == tokens).tril(-1))


def induction(weights: Tensor, repeat_length: int) -> Tensor:
    """Of weights (..., 2R, 2R) on R = repeat_length characters said twice, as lift: (...)."""
    query = torch.arange(repeat_length, 2 * repeat_length, device=weights.device)
    hits = torch.zeros(weights.shape[-2:], dtype=torch.bool, device=weights.device)
    hits[query, query - repeat_length + 1] = True
    return _lift(weights, hits)


def _lift(weights: Tensor, hits: Tensor) -> Tensor:
    """The weight (..., T, T) where `hits` (T, T), over what uniform causal attention puts there."""
    uniform = (hits / _seen(weights)[:, None]).sum()
    return (weights * hits).sum(dim=(-2, -1)) / uniform


def _seen(weights: Tensor) -> Tensor:
    """How many keys each query sees: 1, 2, ..., T."""
    return torch.arange(1, weights.shape[-1] + 1, device=weights.device, dtype=weights.dtype)
