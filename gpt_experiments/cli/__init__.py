"""The command line: it parses, calls, and prints; heavy imports wait inside the commands until they are needed."""

from __future__ import annotations

import copy
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from gpt_experiments import __version__
from gpt_experiments.cli.attention import attention
from gpt_experiments.cli.bench import bench
from gpt_experiments.cli.data import data
from gpt_experiments.cli.diff import diff
from gpt_experiments.cli.ending import INTERRUPTED
from gpt_experiments.cli.evaluate import evaluate
from gpt_experiments.cli.faults import bug, system_fault
from gpt_experiments.cli.generate import generate
from gpt_experiments.cli.json_output import Invocation, owes_object, print_error
from gpt_experiments.cli.register import register
from gpt_experiments.cli.report import report
from gpt_experiments.cli.rerun import rerun
from gpt_experiments.cli.streams import end_of_output, prepare_streams
from gpt_experiments.cli.sweep import sweep
from gpt_experiments.cli.train import train
from gpt_experiments.cli.ui import ui
from gpt_experiments.errors import ConfigError, ExperimentError, one_line, without_secrets
from gpt_experiments.quiet import let_threads_sleep, quieten_libraries, wants_debugging
from gpt_experiments.signals import interrupt_on_termination

# PyTorch and MLflow load a million objects that stay. To look through them as often as Python does by itself takes a
# fifth of the time to load them.
_COLLECT_AFTER: Final = (100_000, 50, 100)


class _Misuse(click.ClickException):
    """A wrong value, shown as one message."""

    exit_code = 2


class _Interrupted(click.ClickException):
    """Ctrl-C, or a signal like it."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("Interrupted.")

    def show(self, file: Any = None) -> None:
        click.echo(self.message, file=file, err=True)


@contextmanager
def _brief_misuse() -> Iterator[None]:
    """Shorten a usage error: Click repeats whatever was typed, however long."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        error.message = one_line(without_secrets(error.message))  # type: ignore[misc]  # it is final to Click's own classes
        raise


def _show_traceback(error: BaseException) -> None:
    """Show a developer the traceback that the one-line error leaves out."""
    if wants_debugging():
        click.echo(without_secrets("".join(traceback.format_exception(error))), err=True)


class _Program(click.Group):
    """Prints an error of the user or of the system as one paragraph.

    The status is 2 for a wrong value and 1 for failed work. Any other error is a bug, and is raised. A command that was
    asked for JSON has an object of each error on standard output too.
    """

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        with _brief_misuse():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        ctx.ensure_object(Invocation)
        typed = [*ctx.args]
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            command = owes_object(ctx, typed, error)
            if command is not None:
                print_error(command, error.format_message(), error.exit_code)
            raise

    def _invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the user or the system did wrong becomes Click's kind of error."""
        try:
            with _brief_misuse():
                return super().invoke(ctx)
        except ExperimentError as error:
            _show_traceback(error)
            shown_as = _Misuse if isinstance(error, ConfigError) else click.ClickException
            raise shown_as(one_line(without_secrets(str(error)))) from error
        except OSError as error:
            _show_traceback(error)
            raise click.ClickException(one_line(system_fault(error))) from error
        except MemoryError as error:
            _show_traceback(error)
            raise click.ClickException("there is not enough memory; ask for less at once, or close programs") from error
        except KeyboardInterrupt as error:
            raise _Interrupted from error


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gpt-experiments")
def program() -> None:
    """Find out what a transformer's hyperparameters do.

    Trains variants of a small character-level GPT, each as an MLflow run. Begin with `sweep quick`, then `ui`.
    """


for command in (sweep, ui, report, register, train, rerun, diff, evaluate, attention, generate, data, bench):
    program.add_command(command)

# The name of `evaluate` until 0.1.0; a baseline is now only the variant that others are compared with.
_baseline = copy.copy(evaluate)
_baseline.name, _baseline.hidden = "baseline", True
program.add_command(_baseline)


def main() -> None:
    """Run the program with the arguments of this process, and end it with the exit status."""
    gc.set_threshold(*_COLLECT_AFTER)
    prepare_streams()
    quieten_libraries()
    let_threads_sleep()
    was_interrupted = interrupt_on_termination()
    os.environ["MPLBACKEND"] = "agg"  # a notebook sets one that may not be installed here
    status = _run(was_interrupted)
    lost = end_of_output()
    if lost is not None:
        status = status or 1  # the user lacks some output; work that is stored elsewhere stays
        if lost:
            click.echo(f"Error: standard output cannot be written ({lost}); the rest of it is lost", err=True)
    gc.freeze()  # or the interpreter looks through all that was loaded once more, which takes seconds
    sys.exit(status)


def _run(was_interrupted: Callable[[], bool]) -> int:
    """Run the command and return its exit status; a bug is shown in one line."""
    invocation = Invocation()
    try:
        program(prog_name="gpt-experiments", obj=invocation)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if was_interrupted():  # in the middle of an import, say
            message, status = _Interrupted().message, INTERRUPTED
        elif wants_debugging():
            raise
        else:
            message, status = bug(error), 1
            click.echo(f"Error: {message}", err=True)
        if invocation.json_of is not None:
            print_error(invocation.json_of, message, status)
        return status
    return 0
