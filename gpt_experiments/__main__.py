"""`python -m gpt_experiments`: the same program as the console script `gpt-experiments`."""

from gpt_experiments.cli import main

if __name__ == "__main__":
    main()
