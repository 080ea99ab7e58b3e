"""A progress bar for the one download there is."""

from __future__ import annotations

import sys
from typing import Any

import click

from gpt_experiments.cli.streams import can_redraw


class DownloadBar:
    """Called with bytes done and bytes in all (None when unknown); draws a bar on a terminal, nothing elsewhere."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden or not can_redraw(sys.stderr)
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> DownloadBar:
        return self

    def __call__(self, done: int, total: int | None) -> None:
        if self._hidden or not total:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label="Downloading", file=sys.stderr)
            self._bar.render_progress()
        self._bar.update(done - self._done)
        self._done = done

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()
