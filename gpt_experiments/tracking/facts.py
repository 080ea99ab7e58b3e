"""With what a trial was computed: written as tags of its run, and read back with all that its result depends on."""

from __future__ import annotations

from collections.abc import Mapping

from gpt_experiments import names
from gpt_experiments.parameters import PARAMETERS
from gpt_experiments.records import RunFacts
from gpt_experiments.tracking.mlflow_internals import mlflow_tags


def computing_tags(*, hardware: str, threads: int, replicas: int, kernels: bool) -> dict[str, str]:
    """With what a trial is computed.

    Args:
        hardware: the device's name for a person.
        threads: CPU threads of its process.
        replicas: how many trials train as one model with it, itself included.
        kernels: whether the kernels for the CPU are switched on.
    """
    return {
        **placed_tags(hardware=hardware, threads=threads),
        **replicas_tag(replicas),
        names.KERNELS: "on" if kernels else "off",
    }


def placed_tags(*, hardware: str, threads: int, host: str | None = None) -> dict[str, str]:
    """On what a trial trains, and on which machine, if that is not the one of its owner."""
    where = {} if host is None else {names.HOST: host}
    return {names.HARDWARE: hardware, names.THREADS: str(threads), **where}


def replicas_tag(replicas: int) -> dict[str, str]:
    """How many trials train as one model with a trial, itself included."""
    return {names.REPLICAS: str(replicas)}


def facts_of(params: Mapping[str, str], tags: Mapping[str, str]) -> RunFacts:
    """What a trial's run says of all that its result depends on.

    A parameter that is newer than the run has its default, as that does what the run did.
    """
    recorded = {
        name: params.get(name, str(declared.default) if declared.is_younger else None)
        for name, declared in PARAMETERS.items()
    }
    others = {name: value for name, value in params.items() if name not in (names.DEVICE, names.VOCAB_SIZE)}
    return RunFacts(
        parameters={**recorded, names.SEED: params.get(names.SEED), **others},
        code={"commit": tags.get(mlflow_tags.MLFLOW_GIT_COMMIT), "uncommitted changes": _changes(tags)},
        versions=_versions_of(tags.get(names.VERSIONS, "")),
        hardware={
            "device": params.get(names.DEVICE),
            "hardware": tags.get(names.HARDWARE),
            "CPU threads": tags.get(names.THREADS),
            "kernels": tags.get(names.KERNELS),
            "replicas": tags.get(names.REPLICAS),
        },
        corpus={
            "name": tags.get(names.CORPUS),
            "SHA-256": tags.get(names.CORPUS_DIGEST),
            "distinct characters": params.get(names.VOCAB_SIZE),
        },
    )


def _changes(tags: Mapping[str, str]) -> str | None:
    """The digest of the code's uncommitted changes, or in words that there are none, or that they were not kept."""
    if digest := tags.get(names.UNCOMMITTED):
        return digest
    return {"true": "some, not kept", "false": "none"}.get(tags.get(mlflow_tags.MLFLOW_GIT_DIRTY, ""))


def _versions_of(text: str) -> dict[str, str | None]:
    """Each package with its version, from `python 3.11.2, torch 2.13.0`."""
    pairs = [part.partition(" ") for part in text.split(", ") if part]
    return {name: version or None for name, _, version in pairs}
