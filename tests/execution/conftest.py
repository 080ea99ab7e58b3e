"""Two nodes of a Ray cluster on this machine, for the tests of its executor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="package")
def ray_nodes() -> Iterator[Any]:
    """A cluster of two nodes, with a core for each; it ends with the tests of this folder, as idle nodes cost time."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    each = {"num_cpus": 1, "object_store_memory": 2**28, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=each)
    nodes.add_node(**each)
    yield nodes
    nodes.shutdown()
