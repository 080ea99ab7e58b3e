"""`register`: the best model to the model registry."""

from __future__ import annotations

import click

from gpt_experiments import names
from gpt_experiments.cli.json_output import Answer, json_option
from gpt_experiments.cli.options import tracking_options


@click.command()
@click.argument("reference", metavar="[SWEEP | RUN]", required=False)
@click.option(
    "--name", default=names.DEFAULT_MODEL, show_default=True, metavar="NAME", help="Name of the registered model."
)
@click.option("--force", is_flag=True, help="Make it the champion even if it is not better than the present one.")
@tracking_options
@json_option
def register(reference: str | None, name: str, force: bool, tracking_uri: str | None, experiment: str) -> Answer:
    """Register the best model of a sweep.

    Picks the variant with the lowest mean validation loss over its seeds, after the last step, then its best trial.
    That becomes a new version in MLflow's model registry, and `champion` if it is better than the present champion.
    SWEEP is a sweep's name or run id, by default the one last worked on; the RUN id of a trial or of a pre-trained
    model registers that run. Runs that cannot be read are skipped and listed, and the exit status is then 1.
    """
    from gpt_experiments.app.register import register_best
    from gpt_experiments.cli.console import standard_console
    from gpt_experiments.cli.ending import command_fields, model_commands
    from gpt_experiments.cli.messages import print_commands, print_left_out

    done = register_best(reference, name, tracking_uri=tracking_uri, experiment=experiment, force=force)
    address = f"models:/{name}@{names.CHAMPION}" if done.is_champion else done.model_uri
    commands = model_commands(address, done.example_prompt, tracking_uri=tracking_uri)

    def show() -> None:
        for sentence in done.messages:
            click.echo(sentence)
        print_commands(standard_console(), commands)
        if done.left_out:
            print_left_out(done.left_out)

    fields = {
        "name": done.name,
        "model_version": int(done.version.version),
        "model_uri": done.model_uri,
        "is_new": done.is_new,
        "is_champion": done.is_champion,
        "run_id": done.version.run_id,
        "label": done.version.label,
        "final_val_loss": done.version.val_loss,
        "corpus": done.version.corpus,
        "corpus_digest": done.version.corpus_digest,
        "messages": done.messages,
        "left_out": done.left_out,
        "next_commands": command_fields(commands),
    }
    return Answer(fields=fields, show=show, exit_status=1 if done.left_out else 0)
