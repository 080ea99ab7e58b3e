"""`ui`: MLflow's pages, open on the comparison."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from typing import Final

import click

from gpt_experiments.cli.options import tracking_options

_WITH_WINDOWS: Final = ("win32", "darwin")  # systems that always have a browser with windows
_OF_WINDOWS: Final = ("DISPLAY", "WAYLAND_DISPLAY")  # elsewhere set where windows can be opened


@click.command()
@click.argument("sweep", required=False)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port that the server listens at."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address that the server listens at; 0.0.0.0 lets other machines in.",
)
@click.option("--no-open", is_flag=True, help="Print the address, and open no browser.")
@tracking_options
def ui(sweep: str | None, port: int, host: str, no_open: bool, tracking_uri: str | None, experiment: str) -> None:
    """Open MLflow's pages on the comparison.

    Starts MLflow's server for the store, prints the address of the leaderboard, and opens it in the browser. SWEEP is a
    sweep's name or the id of its run, whose trials alone are then shown. The server runs until Ctrl-C, which ends it
    with status 0. Where the store is a tracking server, nothing is started: its address is printed and opened.
    """
    from gpt_experiments.app.ui import find_comparison, serve
    from gpt_experiments.cli.ending import INTERRUPTED
    from gpt_experiments.signals import StopRequest

    def show(address: str) -> None:
        click.echo(address)
        if not no_open and _has_browser():
            _open(address)

    def when_ready(address: str) -> None:
        show(address)
        if not _is_of_this_machine(host):
            _say("Whoever reaches this machine can read and change these runs: MLflow asks for no password.")
        _say("Press Ctrl-C to end the server.")

    found = find_comparison(sweep, tracking_uri=tracking_uri, experiment=experiment, notice=_say)
    if found.served_at is not None:
        show(found.address(found.served_at))
        return
    with StopRequest() as stop:
        _say("Starting MLflow's server, which takes some seconds ...")
        was_shown = serve(found, host=host, port=port, when_ready=when_ready, must_stop=lambda: stop.requested)
    if not was_shown:
        sys.exit(INTERRUPTED)
    _say("The server has ended.")


def _say(text: str) -> None:
    """Say what is no result: on standard error."""
    click.echo(text, err=True)


def _open(address: str) -> None:
    """Open it from a process of its own: a browser may keep its starter waiting, and writes to the terminal."""
    nowhere, command = subprocess.DEVNULL, [sys.executable, "-m", "webbrowser", address]
    subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)


def _has_browser() -> bool:
    """Whether a browser can open a window; one that takes the terminal is not wanted."""
    return sys.platform in _WITH_WINDOWS or any(os.environ.get(name) for name in (*_OF_WINDOWS, "BROWSER"))


def _is_of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
