"""The console of standard output, and whether its lines can be redrawn."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

from gpt_experiments.cli.streams import can_redraw
from gpt_experiments.cli.tables import UNBROKEN

_NARROWEST: Final = 20  # cells; on a narrower terminal redrawn lines would wrap


def standard_console() -> Console:
    """Return a console for standard output; only a terminal has a right margin and may have redrawn lines."""
    is_terminal = sys.stdout.isatty() and sys.stdout is not sys.stderr  # which stands in for it with --json
    return Console(
        force_terminal=is_terminal,  # Rich takes FORCE_COLOR for a terminal; escape codes would end up in log files
        force_interactive=is_terminal and can_redraw(sys.stdout) and Console().width >= _NARROWEST,
        width=None if is_terminal else UNBROKEN,
        highlight=False,
    )
