"""Train every variant of a small character-level GPT as MLflow runs, and show what its hyperparameters do."""

__version__ = "0.1.0"
