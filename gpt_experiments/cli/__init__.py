"""The command line: it parses, calls, and prints; heavy imports wait inside the commands until they are needed."""

from __future__ import annotations

import sys
from typing import Any

import click

from gpt_experiments import __version__
from gpt_experiments.cli.attention import attention
from gpt_experiments.cli.baseline import baseline
from gpt_experiments.cli.bench import bench
from gpt_experiments.cli.data import data
from gpt_experiments.cli.ending import INTERRUPTED
from gpt_experiments.cli.generate import generate
from gpt_experiments.cli.register import register
from gpt_experiments.cli.report import report
from gpt_experiments.cli.sweep import sweep
from gpt_experiments.cli.train import train
from gpt_experiments.errors import ConfigError, ExperimentError


class _Misuse(click.ClickException):
    """A wrong value, told as one message."""

    exit_code = 2


class _Program(click.Group):
    """Prints an error of the user's, or of the disk, as one message; status 2 for a wrong value, 1 for failed work."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ExperimentError as error:
            told = _Misuse if isinstance(error, ConfigError) else click.ClickException
            raise told(str(error)) from error
        except OSError as error:
            if error.filename is None:  # not about a file that the user could name, or move
                raise
            raise click.ClickException(
                f"{error.filename} cannot be read or written ({error.strerror}); check the path, its permissions and "
                "the space on its disk"
            ) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gpt-experiments")
def program() -> None:
    """Find out what a transformer's hyperparameters do.

    Trains variants of a small character-level GPT, each as an MLflow run. Begin with `sweep quick`, then `mlflow ui`.
    """


for command in (sweep, report, register, train, baseline, attention, generate, data, bench):
    program.add_command(command)


def main() -> None:
    """Run the program with the arguments of this process."""
    program(prog_name="gpt-experiments")
