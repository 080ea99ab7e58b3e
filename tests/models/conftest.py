"""A fresh store for each test, and its client."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from gpt_experiments.tracking import Store


@pytest.fixture
def store(store_uri: str) -> Store:
    return Store(store_uri)


@pytest.fixture
def client(store_uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=store_uri)
