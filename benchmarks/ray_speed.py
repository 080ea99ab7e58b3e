"""Ray against local processes: the same trials on the same cores, in turn.

It measures from the first group that is handed out to the last file that is back, with workers that have started. What
starting takes is shown apart. Ray is not running while local processes are measured. Beside the time on the wall it
measures that of the processors, of all processes together, those of Ray included: where every core is busy, that
decides how fast a sweep is, and other work on the machine disturbs it less.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
import time
from collections import deque

import psutil

from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import load_corpus
from gpt_experiments.execution import make_executor
from gpt_experiments.execution.protocol import Executor, Hardware, Job, JobDone, JobFailed
from gpt_experiments.parameters import Shape, TrainingSetup
from gpt_experiments.quiet import quieten_libraries
from gpt_experiments.sweep.resources import RunOptions, find_hardware

ROUNDS = 2
TRIALS = 4
STEPS = 150  # of the study's baseline, a tenth of a second each on one core


def jobs(count: int, steps: int, first_seed: int = 1) -> deque[Job]:
    setup = TrainingSetup(steps=steps, eval_interval=steps)
    seeds = range(first_seed, first_seed + count)
    return deque(Job(key=str(s), trial=Trial(shape=Shape(), seed=s, training=setup), label="baseline") for s in seeds)


def processor_seconds() -> float:
    """Of this process and of all that it has started, directly or not."""
    this = psutil.Process()
    total = 0.0
    for process in (this, *this.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def seconds(executor: Executor, waiting: deque[Job]) -> tuple[float, float]:
    """How long the executor takes for the jobs, files included: on the wall, and of all processors."""
    left, started, processors = len(waiting), time.perf_counter(), processor_seconds()
    while left:
        while waiting and executor.has_room:
            executor.submit([waiting.popleft()])
        for _, event in executor.events(1.0):
            assert not isinstance(event, JobFailed), event
            if isinstance(event, JobDone):
                with event.files.folder() as folder:
                    assert any(folder.iterdir())
                left -= 1
    return time.perf_counter() - started, processor_seconds() - processors


def measure(name: str, corpus: Corpus, hardware: Hardware) -> tuple[float, float, float]:
    """Seconds until every worker has trained something; then for the trials, on the wall and of the processors."""
    started = time.perf_counter()
    with contextlib.closing(make_executor(name, corpus, hardware)) as executor:
        seconds(executor, jobs(hardware.workers, 1, first_seed=1_000))
        began = time.perf_counter() - started
        return began, *seconds(executor, jobs(TRIALS, STEPS))


def main() -> None:
    quieten_libraries()
    corpus = load_corpus(sys.argv[1] if len(sys.argv) > 1 else None)
    corpus = Corpus.from_text(corpus.text[:100_000], name="a part")  # so that evaluations do not take most of the time
    hardware = {name: find_hardware(RunOptions(device="cpu", executor=name), TRIALS + 100) for name in ("local", "ray")}
    cluster = hardware["ray"].cluster
    assert cluster is not None
    hardware["ray"] = dataclasses.replace(hardware["ray"], cluster=dataclasses.replace(cluster, trials=1_000))
    ratios: list[float] = []
    for number in range(ROUNDS):
        order = ("local", "ray") if number % 2 == 0 else ("ray", "local")
        found = {name: measure(name, corpus, hardware[name]) for name in order}
        (local_start, local, local_cpu), (ray_start, ray, ray_cpu) = found["local"], found["ray"]
        ratios.append(local_cpu / ray_cpu)
        print(
            f"round {number + 1}: processors local {local_cpu:.1f} s, ray {ray_cpu:.1f} s, ratio {ratios[-1]:.3f}; "
            f"wall local {local:.1f} s, ray {ray:.1f} s, ratio {local / ray:.3f}; "
            f"started in {local_start:.1f} s and {ray_start:.1f} s",
            flush=True,
        )
    print(f"processor time of local processes over that of Ray: {statistics.mean(ratios):.3f}")


if __name__ == "__main__":
    main()
