"""`python -m gpt_experiments`: the same program as the console script `gpt-experiments`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the program; Ctrl-C while it is still being loaded ends it as at any other time."""
    try:
        from gpt_experiments.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
