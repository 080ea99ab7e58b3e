"""Says in a sentence why a worker of a Ray cluster was lost, or did not start; Ray's own messages are paragraphs."""

from __future__ import annotations

from ray.exceptions import ActorDiedError, ActorUnschedulableError, RayError, RuntimeEnvSetupError

from gpt_experiments.errors import shortened


def why_lost(error: Exception, host: str) -> str:
    """Why a worker on that host is gone."""
    text = str(error)
    if "node has died" in text or "node died" in text.lower():
        return f"the machine {host} was lost"
    if "memory pressure" in text or "running low on memory" in text:
        return f"Ray ended a worker on {host}, which was out of memory: try fewer --workers"
    return f"a worker on {host} died"


def why_not_started(error: RayError | Exception) -> str | None:
    """Why no worker can start on some machine; None where its machine was lost, which says nothing about others."""
    text = str(error).strip()
    if isinstance(error, ActorUnschedulableError | RuntimeEnvSetupError):
        return shortened(text, 300)
    if isinstance(error, ActorDiedError) and "creation task" in text:
        return shortened(text.splitlines()[-1], 300)
    return None
