"""`rerun`: trains a finished trial again, and tells whether the same comes out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import data_option, open_corpus, quiet_option, tracking_uri_option

if TYPE_CHECKING:
    from rich.console import Console

    from gpt_experiments.app.rerun import Rerun


@click.command()
@click.argument("run")
@click.option(
    "--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps. Default: the one that the run was trained on."
)
@data_option
@tracking_uri_option
@quiet_option
@json_option
def rerun(run: str, device: str | None, data: str | None, tracking_uri: str | None, quiet: bool) -> Answer:
    """Train a finished trial again, and compare.

    RUN is the id of a trial's run. It is trained again in this process with the parameters, the CPU threads and the
    kernels that it names, and nothing is stored. The exit status is 0 if the losses of every evaluation and all weights
    are identical, bit for bit, and else 1.
    """
    from gpt_experiments.app.rerun import rerun_trial
    from gpt_experiments.cli.comparison_fields import rerun_fields
    from gpt_experiments.cli.console import standard_console
    from gpt_experiments.cli.display import make_display

    with make_display(quiet=quiet) as display:
        done = rerun_trial(
            run,
            device=device,
            tracking_uri=tracking_uri,
            open_corpus=partial(open_corpus, data, quiet=quiet),
            listener=display,
        )
    return Answer(
        fields=rerun_fields(done),
        show=lambda: _show(done, standard_console(), quiet=quiet),
        exit_status=0 if done.is_identical else 1,
    )


def _show(done: Rerun, console: Console, *, quiet: bool) -> None:
    """Print the verdict, where the losses part, and what else differs."""
    from gpt_experiments.cli.comparison_tables import facts_table, losses_table
    from gpt_experiments.cli.messages import counted
    from gpt_experiments.cli.tables import literal

    if not quiet:
        console.print()
    console.print(literal(f"{verdict(done)}: {_name(done)}", "bold green" if done.is_identical else "bold red"))
    for sentence in findings(done):
        console.print(literal(sentence))
    if quiet:
        return
    how = f"{counted(done.threads, 'CPU thread')}, kernels {'on' if done.kernels else 'off'}"
    console.print(literal(f"It was trained again on {done.device} with {how}."))
    if done.curves.parted is not None:
        console.print()
        console.print(losses_table(done.curves, "then", "now"))
    console.print()
    if done.facts.differing:
        console.print(literal("What differs between then and now:", "bold"))
        console.print(facts_table(done.facts.differing, "then", "now"))
    else:
        console.print(literal(f"Nothing that is recorded differs between then and now ({done.facts.alike} things)."))
    if done.facts.unknown:
        console.print(literal(f"Not recorded: {', '.join(done.facts.unknown)}."))
    if not done.is_identical:
        for sentence in done.notes:
            console.print(literal(sentence))


def _name(done: Rerun) -> str:
    return f"{done.label} (seed {done.seed}), run {done.run_id}"


def verdict(done: Rerun) -> str:
    """In two or three words, whether the same came out."""
    if done.is_identical:
        return "identical"
    if done.curves.is_identical and done.weights is None:
        return "losses identical, weights not compared"
    return "not identical"


def findings(done: Rerun) -> list[str]:
    """Sentences on the losses and on the weights."""
    return [*_of_losses(done), _of_weights(done)]


def _of_losses(done: Rerun) -> list[str]:
    curves = done.curves
    if not curves.pairs:
        return ["The run has no losses to compare with."]
    steps = f"steps {curves.pairs[0].step:,} to {curves.pairs[-1].step:,}"
    if curves.is_identical:
        return [f"The losses of all {len(curves.pairs)} evaluations are the same, bit for bit ({steps})."]
    sentences = []
    parted = curves.parted
    if parted is not None:
        before = [pair.step for pair in curves.pairs if pair.step < parted.step]
        until = f", after they were the same up to step {before[-1]:,}" if before else ""
        last = curves.pairs[-1]
        sentences.append(
            f"The losses part at step {parted.step:,}{until}: the training loss by {_far(parted.train_difference)}, "
            f"the validation loss by {_far(parted.val_difference)} nats per character. At step {last.step:,} they are "
            f"apart by {_far(last.train_difference)} and {_far(last.val_difference)}."
        )
    if curves.only_a:
        sentences.append(f"The run has losses at steps at which there was no evaluation now: {_listed(curves.only_a)}.")
    if curves.only_b:
        sentences.append(f"The run lacks the losses at steps {_listed(curves.only_b)}.")
    return sentences


def _far(difference: float) -> str:
    return f"{difference:+.3g}" if difference else "0"


def _listed(steps: tuple[int, ...]) -> str:
    return ", ".join(f"{step:,}" for step in steps[:5]) + (f" and {len(steps) - 5} more" if len(steps) > 5 else "")


def _of_weights(done: Rerun) -> str:
    weights = done.weights
    if weights is None:
        return f"The weights could not be compared: {done.problem}."
    if weights.is_identical:
        return f"All {weights.values:,} weights are the same as in its checkpoint, bit for bit."
    tensors = ", ".join(weights.tensors[:3]) + (
        f" and {len(weights.tensors) - 3} more" if len(weights.tensors) > 3 else ""
    )
    return (
        f"{weights.differing:,} of {weights.values:,} weights differ from its checkpoint, by up to "
        f"{weights.largest:.3g}, in {tensors}."
    )
