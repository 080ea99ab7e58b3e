import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gpt_experiments.figures import style
from gpt_experiments.figures.heatmaps import attention_heads


def _figure() -> Figure:
    return attention_heads(np.tril(np.ones((2, 4, 4))) / np.arange(1, 5)[:, None], "ab\nc", title="a title")


@pytest.mark.parametrize("width", [113, 829])  # 113 / 100 * 100 is less than 113
def test_png_has_the_size_asked_for(tmp_path: Path, width: int) -> None:
    style.save_png(style.new_figure(width, 205), tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size == (width, 205)


def test_the_same_figure_gives_the_same_bytes_and_no_metadata_that_changes(tmp_path: Path) -> None:
    style.save_png(_figure(), tmp_path / "first.png")
    style.save_png(_figure(), tmp_path / "second.png")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    with Image.open(tmp_path / "first.png") as image:
        assert set(image.info) <= {"dpi"}


def test_the_users_own_settings_neither_change_a_figure_nor_are_changed(tmp_path: Path) -> None:
    style.save_png(_figure(), tmp_path / "plain.png")
    own: Any = {
        "font.size": 30,
        "savefig.dpi": 37,
        "savefig.bbox": "tight",
        "figure.facecolor": "red",
        "image.cmap": "jet",
    }
    with matplotlib.rc_context(own):
        before = dict(matplotlib.rcParams)
        style.save_png(_figure(), tmp_path / "own.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


@pytest.mark.slow
def test_drawing_needs_neither_pyplot_nor_torch_nor_the_store(tmp_path: Path) -> None:
    program = """
import sys
from types import SimpleNamespace
import numpy as np
from gpt_experiments.figures.curves import loss_curve
from gpt_experiments.figures.heatmaps import attention_heads, attention_mean
from gpt_experiments.figures.style import save_png
save_png(loss_curve([SimpleNamespace(step=0, train_loss=1.0, val_loss=2.0)], title="t"), sys.argv[1])
save_png(attention_heads(np.ones((1, 1, 1)), "a", title="t"), sys.argv[1])
save_png(attention_mean(np.ones((1, 1, 1, 1)), "a", title="t"), sys.argv[1])
print(*{"matplotlib.pyplot", "torch", "mlflow"} & set(sys.modules))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "figure.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
