"""How worker processes are started."""

from __future__ import annotations

import sys
import tempfile

import pytest

from gpt_experiments.execution.processes import worker_context


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the fork server")
@pytest.mark.parametrize(("place", "method"), [("/tmp", "forkserver"), ("/tmp/" + "x" * 80, "spawn")])
def test_where_temporary_files_lie_too_deep_for_a_servers_address_workers_are_spawned(
    place: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", place)
    assert worker_context().get_start_method() == method
