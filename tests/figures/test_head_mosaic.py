"""All heads in one picture: where each is, what its colours say, and how large it grows."""

from __future__ import annotations

import numpy as np
import pytest

from gpt_experiments.figures import head_mosaic

YELLOW, PURPLE = (253, 231, 37), (68, 1, 84)  # viridis at 1 and at 0


def test_a_head_that_looks_at_itself_is_a_diagonal_in_its_own_panel() -> None:
    weights = np.zeros((2, 3, 8, 8), np.float32)
    weights[1, 2] = np.eye(8)
    image = head_mosaic(weights, title="x")
    rows, columns = np.nonzero((image == YELLOW).all(axis=2))
    height, width = image.shape[:2]
    assert rows.min() > height / 2
    assert columns.min() > width / 2
    cell = (rows.max() - rows.min() + 1) // 8
    assert len(rows) == 8 * cell**2
    assert (columns.max() - columns.min() + 1, rows.max() - rows.min() + 1) == (8 * cell, 8 * cell)
    assert (image == PURPLE).all(axis=2).sum() == (6 * 64 - 8) * cell**2


@pytest.mark.parametrize(("layers", "heads", "length"), [(1, 1, 1), (4, 1, 32), (8, 4, 32), (4, 8, 32), (2, 32, 11)])
def test_it_is_of_a_size_to_look_at(layers: int, heads: int, length: int) -> None:
    image = head_mosaic(np.ones((layers, heads, length, length), np.float32), title="baseline, step 500: First Citizen")
    assert image.dtype == np.uint8
    assert max(image.shape[:2]) < 1400


def test_of_very_many_heads_the_first_are_shown() -> None:
    many = np.zeros((40, 64, 4, 4), np.float32)
    many[32:] = many[:, 32:] = 1
    image = head_mosaic(many, title="x")
    assert not (image == YELLOW).all(axis=2).any()
    few = head_mosaic(np.zeros((32, 32, 4, 4), np.float32), title="x")
    assert few.shape[0] == image.shape[0]
    assert not np.array_equal(few, image)  # the title says that it is not all
