"""The rule by which processes agree, run in every order of their steps that matters, with ranks that mislead."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace

import pytest

from gpt_experiments.tracking.agreement import Answer, Asker, answer


@dataclass(frozen=True)
class Process:
    """A process that wants the thing: what it has written, what it does next, and whether it has died."""

    rank: int
    step: str = "ask"  # ask, look, hold, use, done
    has_written: str = ""  # asked, holds
    is_dead: bool = False

    @property
    def asker(self) -> Asker:
        return Asker(run_id="", asked_at=self.rank, holds=self.has_written == "holds")


World = tuple[Process, ...]


def after(world: World, number: int) -> World:
    """The world after the next step of one process; a look and what it writes are separate steps."""
    one = world[number]
    match one.step:
        case "ask":
            one = replace(one, has_written="asked", step="look")
        case "look":
            others = [other.asker for other in world if other is not world[number] and other.has_written]
            match answer(one.asker, others):
                case Answer.HOLD:
                    one = replace(one, step="hold")
                case Answer.WITHDRAW:
                    one = replace(one, step="withdraw")
        case "hold":
            one = replace(one, has_written="holds", step="use")
        case "use":
            one = replace(one, has_written="", step="done")
        case "withdraw":
            one = replace(one, has_written="", step="ask")
    return (*world[:number], one, *world[number + 1 :])


def users(world: World) -> int:
    """How many have decided to hold the thing and have not given it back."""
    return sum(process.step in ("hold", "use") and not process.is_dead for process in world)


@pytest.mark.parametrize("ranks", [*itertools.permutations(range(2)), *itertools.permutations(range(3))])
def test_never_do_two_hold_the_same_whatever_the_order_of_steps_and_someone_can_always_go_on(
    ranks: tuple[int, ...],
) -> None:
    """Every reachable state of two and of three processes."""
    start: World = tuple(Process(rank=rank) for rank in ranks)
    seen, front = {start}, [start]
    while front:
        world = front.pop()
        assert users(world) <= 1, world
        following = {after(world, number) for number, process in enumerate(world) if process.step != "done"}
        if all(process.step == "done" for process in world):
            continue
        assert following - {world}, f"nobody can go on: {world}"
        front += following - seen
        seen |= following
    assert any(all(process.step == "done" for process in world) for world in seen)
    assert len(seen) > 2 ** len(ranks)


@pytest.mark.parametrize("seed", range(20))
def test_processes_that_die_block_nobody_once_their_silence_is_noticed(seed: int) -> None:
    rng = random.Random(seed)
    ranks = rng.sample(range(100), 6)
    world: World = tuple(Process(rank=rank) for rank in ranks)
    for _ in range(2000):
        number = rng.randrange(len(world))
        one = world[number]
        if one.is_dead:
            one = replace(one, has_written="", step="done")  # its heartbeat is too old, and it is closed
            world = (*world[:number], one, *world[number + 1 :])
        elif one.step != "done" and rng.random() < 0.02:
            world = (*world[:number], replace(one, is_dead=True), *world[number + 1 :])
        else:
            world = after(world, number)
        assert users(world) <= 1
    assert all(process.step == "done" for process in world)
