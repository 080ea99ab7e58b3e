"""Sweeps: a definition becomes trials, workers train them, each becomes an MLflow run."""
