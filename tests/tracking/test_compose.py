"""compose.yaml: the server that it starts is one that MLflow knows how to start; Docker itself is not needed here."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from mlflow.cli import cli

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "shared-store.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
    return found


def test_the_server_is_given_options_that_mlflow_has(services: dict[str, Any]) -> None:
    program, command, *arguments = services["server"]["command"]
    assert (program, command) == ("mlflow", "server")
    server = cli.commands["server"]
    given, rest, _ = server.make_parser(server.make_context("server", [], resilient_parsing=True)).parse_args(arguments)
    assert rest == []
    assert set(given) == {
        "host", "port", "workers", "app_name", "artifacts_destination", "allowed_hosts", "cors_allowed_origins",
    }  # fmt: skip


def test_it_is_the_version_that_is_tested(services: dict[str, Any]) -> None:
    pinned = re.search(r"^mlflow==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M)
    assert pinned is not None
    assert f"mlflow[auth]=={pinned[1]}" in services["server"]["build"]["dockerfile_inline"]


def test_its_users_are_configured_by_names_that_mlflow_has() -> None:
    given, usual = configparser.ConfigParser(interpolation=None), configparser.ConfigParser(interpolation=None)
    given.read_string(yaml.safe_load(COMPOSE)["configs"]["users"]["content"])
    usual.read(Path(mlflow.__file__).parent / "server" / "auth" / "basic_auth.ini")
    assert set(given["mlflow"]) <= {*usual["mlflow"], "auth_cache_ttl_seconds"}
    assert given["mlflow"]["authorization_function"] == usual["mlflow"]["authorization_function"]


def test_the_guide_sets_every_variable_that_must_be_set() -> None:
    needed = set(re.findall(r"\$\{(\w+)(?::\?[^}]*)?\}", COMPOSE))
    assert needed == set(re.findall(r"^(\w+)=", GUIDE.split("cat > .env")[1].split("END\n")[1], re.M))
