from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import BboxImage
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image

from gpt_experiments.figures import style
from gpt_experiments.figures.heatmaps import attention_heads, attention_mean

STUDY_TEXT = "First Citizen:\nBefore we proceed"
WIDE = "@@\n\nWW\t\tmm  ||"  # the widest labels side by side
FOREIGN = "a中b\t$\u200b\u0301é€😀\U00020000 x\n漢字"
SIZES = [
    *((n_head, length, STUDY_TEXT) for n_head in (1, 4, 6, 8, 16) for length in (1, 11, 32)),
    *((n_head, 256, STUDY_TEXT) for n_head in (1, 4, 16)),
    *((n_head, length, WIDE) for n_head, length in ((2, 2), (5, 40), (7, 3), (9, 41), (16, 40), (64, 32))),
    *((n_head, length, FOREIGN) for n_head, length in ((1, 1), (4, 18), (8, 40), (2, 100))),
]


def causal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Random attention weights (..., T, T): rows sum to 1 over the keys up to the query."""
    scores = 3 * np.random.default_rng(seed).normal(size=shape)
    weights = np.tril(np.exp(scores))
    normalised: NDArray[np.float32] = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
    return normalised


def text_of(length: int, pattern: str = STUDY_TEXT) -> str:
    return (pattern * length)[:length]


def heatmaps(figure: Figure) -> dict[str, Any]:
    """The coloured squares, and the colour bar, by label."""
    found = figure.findobj(lambda artist: isinstance(artist, QuadMesh | BboxImage))
    return {str(artist.get_label()): artist for artist in found}


def labels_of(figure: Figure) -> list[Any]:
    """The collections of labels that are drawn as outlines."""
    return figure.findobj(PathCollection)


def label_boxes(figure: Figure) -> list[Bbox]:
    """What every label drawn as an outline covers, in pixels."""
    extents: dict[int, Bbox] = {}  # equal labels share a path
    boxes = []
    for labels in labels_of(figure):
        for path, (x, y) in zip(labels.get_paths(), labels.get_offsets(), strict=True):
            if id(path) not in extents:
                extents[id(path)] = path.get_extents()
            boxes.append(extents[id(path)].translated(x, y))
    return boxes


def text_boxes(figure: Figure) -> list[Bbox]:
    return [text.get_window_extent() for text in figure.texts]


def says(labels: Any, expected: list[str], points: float) -> bool:
    """Whether a collection's outlines are those of the labels that are expected, in their order."""
    font = FontProperties(family=list(style.CHARACTER_FONTS))
    outlines: list[Any] = [TextPath((0, 0), label, size=points * style.DPI / 72, prop=font) for label in expected]
    drawn = [path.vertices - path.vertices.min(axis=0) for path in labels.get_paths()]
    wanted = [path.vertices - path.vertices.min(axis=0) for path in outlines]
    return len(drawn) == len(wanted) and all(
        one.shape == other.shape and np.allclose(one, other, atol=1e-6)
        for one, other in zip(drawn, wanted, strict=True)
    )


@pytest.mark.parametrize("n_head", [1, 4, 6, 7, 8, 16])
def test_one_panel_a_head_on_one_colour_scale_with_one_bar(n_head: int) -> None:
    figure = attention_heads(causal(n_head, 12, 12), text_of(12), title="title")
    maps = heatmaps(figure)
    names = [f"Head {i + 1}" for i in range(n_head)]
    assert sorted(maps) == sorted([*names, "colour bar"])
    written = [text.get_text() for text in figure.texts]
    assert all(written.count(name) == 1 for name in names)
    assert written.count("attention weight\n(square-root scale)") == 1
    assert written.count("query (character that looks)") == written.count("key (character looked at)") == 1
    assert len({id(artist.norm) for artist in maps.values()}) == 1
    assert (maps["colour bar"].norm.vmin, maps["colour bar"].norm.vmax) == (0, 1)


def test_a_panel_a_layer_shows_the_mean_over_its_heads() -> None:
    weights = causal(3, 4, 9, 9)
    maps = heatmaps(attention_mean(weights, text_of(9), title="title"))
    assert sorted(maps) == ["Layer 1", "Layer 2", "Layer 3", "colour bar"]
    for layer in range(3):
        shown = maps[f"Layer {layer + 1}"].get_array()
        seen = np.tril_indices(9)
        np.testing.assert_allclose(shown[seen], weights[layer].mean(axis=0)[seen], rtol=1e-6)


@pytest.mark.parametrize(("n_head", "length"), [(1, 11), (4, 32), (3, 150)])
def test_pixels_show_query_down_and_key_across_and_grey_future(tmp_path: Path, n_head: int, length: int) -> None:
    weights = causal(n_head, length, length)
    figure = attention_heads(weights, text_of(length), title="title")
    style.save_png(figure, tmp_path / "heads.png")
    with Image.open(tmp_path / "heads.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    viridis = matplotlib.colormaps["viridis"]
    for head in range(n_head):
        box = heatmaps(figure)[f"Head {head + 1}"].get_window_extent()
        cell = box.width / length
        for query, key in np.random.default_rng(head).integers(length, size=(60, 2)):
            row = len(pixels) - (box.y1 - (query + 0.5) * cell)
            seen = pixels[int(row), int(box.x0 + (key + 0.5) * cell)]
            expected = viridis(weights[head, query, key] ** 0.5)[:3] if key <= query else to_rgb(style.FAINT)
            np.testing.assert_allclose(seen, 255 * np.array(expected), atol=4)


@pytest.mark.parametrize(("n_head", "length", "pattern"), SIZES)
def test_nothing_overlaps_and_nothing_is_clipped(n_head: int, length: int, pattern: str) -> None:
    text = text_of(length, pattern)
    figure = attention_heads(causal(n_head, length, length), text, title=f"Attention in layer 1 of 4, n_head={n_head}")
    panels = [artist.get_window_extent() for artist in heatmaps(figure).values()]
    texts = text_boxes(figure)
    page = figure.bbox
    labels = label_boxes(figure)
    for box in [*texts, *labels]:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
    assert not any(one.overlaps(other) for one, other in combinations([*texts, *panels], 2))
    assert not _overlaps(np.array([box.extents for box in labels]), np.array([box.extents for box in texts + panels]))
    assert not _overlaps(np.array([box.extents for box in labels]))


def _overlaps(boxes: NDArray[Any], others: NDArray[Any] | None = None) -> bool:
    """Whether any of `boxes` (n, 4) meets another of them, or one of `others`."""
    against = boxes if others is None else others
    a, b = boxes[:, None], against[None]
    meet = (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])
    return bool(np.triu(meet, k=1).any() if others is None else meet.any())


@pytest.mark.parametrize("n_head", [1, 4, 8])
def test_every_character_of_the_studys_text_is_labelled_on_the_outer_edges(n_head: int) -> None:
    figure = attention_heads(causal(n_head, 32, 32), STUDY_TEXT, title="title")
    rows, columns = {1: (1, 1), 4: (2, 2), 8: (2, 4)}[n_head]
    expected = [{"\n": r"\n", " ": "␣"}.get(char, char) for char in STUDY_TEXT]
    axes = [labels for labels in labels_of(figure) if says(labels, expected, points=9 if n_head < 8 else 8)]
    assert len(axes) == rows + columns
    down = [labels for labels in axes if len({x for x, _ in labels.get_offsets()}) == 1]
    assert len(down) == rows
    assert all(later < earlier for labels in down for (_, earlier), (_, later) in pairwise(labels.get_offsets()))


@pytest.mark.parametrize(("length", "every"), [(41, 4), (64, 4), (100, 8), (256, 16)])
def test_long_texts_are_labelled_sparsely_with_positions(length: int, every: int) -> None:
    figure = attention_heads(causal(1, length, length), text_of(length), title="title")
    assert any(f"one in {every} is labelled, with its position" in text.get_text() for text in figure.texts)
    lines = [f"{i} {text_of(length)[i]}".replace("  ", " ␣").replace("\n", r"\n") for i in range(0, length, every)]
    assert [says(labels, lines, points=8) for labels in labels_of(figure)].count(True) == 1


@pytest.mark.parametrize("text", [STUDY_TEXT, FOREIGN])
def test_a_whole_figure_is_saved_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder, text: str) -> None:
    figure = attention_mean(causal(2, 2, len(text), len(text)), text, title=f"中 $5 and $6: {text}")
    style.save_png(figure, tmp_path / "mean.png")
    assert not recwarn.list
    with Image.open(tmp_path / "mean.png") as image:
        assert image.size == figure.canvas.get_width_height()
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 50


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights of 5 characters must be \(n_head, 5, 5\)"):
        attention_heads(causal(2, 4, 4), "abcde", title="title")
    with pytest.raises(ValueError, match=r"\(n_head, 4, 4\).*shape is \(2, 3, 4, 4\)"):
        attention_heads(causal(2, 3, 4, 4), "abcd", title="title")
    with pytest.raises(ValueError, match=r"\(n_layer, n_head, 4, 4\)"):
        attention_mean(causal(2, 4, 4), "abcd", title="title")
    with pytest.raises(ValueError, match="not empty"):
        attention_heads(np.zeros((0, 4, 4)), "abcd", title="title")
    with pytest.raises(ValueError, match="not empty"):
        attention_heads(np.zeros((2, 0, 0)), "", title="title")


def test_weights_on_the_future_are_refused_rather_than_hidden() -> None:
    with pytest.raises(ValueError, match="looks at its future"):
        attention_heads(np.full((1, 3, 3), 1 / 3), "abc", title="title")
