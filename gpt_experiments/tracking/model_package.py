"""A checkpoint as an MLflow model: code, signature and requirements beside the weights, so that it loads anywhere."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Final

import mlflow.pyfunc
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

import gpt_experiments
from gpt_experiments.scratch import scratch_folder
from gpt_experiments.tracking import served_model

# What `served_model` needs of this package, and of others; a test loads a model with nothing else of this package.
_SOURCES: Final = (
    "__init__.py",
    "config.py",
    "errors.py",
    "names.py",
    "parameters.py",
    *(f"corpus/{name}.py" for name in ("__init__", "files", "text", "tokenizer")),
    "kernels",
    "model",
)
_REQUIREMENTS: Final = ("numpy", "safetensors", "torch")


def write_model_package(checkpoint: Path, example_prompt: str, folder: Path) -> None:
    """Write the checkpoint's folder as an MLflow model into `folder`, which must be empty or missing.

    It is a model from code: nothing is pickled, and it loads where this package is not installed.
    """
    with scratch_folder() as temporary:
        mlflow.pyfunc.save_model(
            folder,
            python_model=served_model.__file__,
            artifacts={served_model.CHECKPOINT_ARTIFACT: str(checkpoint)},
            code_paths=[str(_copy_sources(temporary))],
            signature=_signature(),
            input_example=(
                pd.DataFrame({served_model.PROMPT_COLUMN: [example_prompt]}),
                served_model.DEFAULT_PARAMS,
            ),
            pip_requirements=[f"{package}=={_public_version(package)}" for package in _REQUIREMENTS],
        )


def _copy_sources(folder: Path) -> Path:
    """The served part of this package, as a package of the same name below `folder`."""
    source, target = Path(gpt_experiments.__file__).parent, folder / "gpt_experiments"
    for name in _SOURCES:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        else:
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copy(source / name, target / name)
    return target


def _signature() -> ModelSignature:
    specs = [
        ParamSpec(name, DataType.long if isinstance(default, int) else DataType.double, default)
        for name, default in served_model.DEFAULT_PARAMS.items()
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, served_model.PROMPT_COLUMN)]),
        outputs=Schema([ColSpec(DataType.string)]),
        params=ParamSchema(specs),
    )


def _public_version(package: str) -> str:
    """The version without its build, such as the cpu of 2.13.0+cpu, which no public index serves."""
    return version(package).partition("+")[0]
