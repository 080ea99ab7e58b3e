"""What is known of a running sweep, above all how long it may still take."""

from __future__ import annotations

import pytest

from gpt_experiments.cli.scoreboard import Scoreboard
from tests.support.made_up import STEPS, evaluation, failed, finished, planned, progress, start


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def train(board: Scoreboard, clock: Clock, number: int, steps: int, seconds: float) -> None:
    """A trial starts, takes its first step in ten seconds, and then `steps` more in `seconds`."""
    board.trial_started(planned(number))
    board.trial_evaluated(planned(number), evaluation(0))
    clock.now += 10
    board.trial_progress(planned(number), progress(1))
    clock.now += seconds
    board.trial_progress(planned(number), progress(1 + steps))


def test_nothing_is_predicted_before_a_trial_has_a_pace(clock: Clock) -> None:
    board = Scoreboard(start(4), clock)
    assert board.seconds_left() is None
    board.trial_started(planned(1))
    assert board.running[planned(1).cell].phase == "starting"
    clock.now += 30
    board.trial_evaluated(planned(1), evaluation(0))
    clock.now += 1
    assert board.running[planned(1).cell].phase == "training"
    board.trial_progress(planned(1), progress(1))
    assert board.running[planned(1).cell].seconds_left(clock.now) is None
    assert board.seconds_left() is None
    assert board.seconds == pytest.approx(31)


def test_a_trial_goes_on_at_its_pace_after_the_slow_first_step(clock: Clock) -> None:
    board = Scoreboard(start(1), clock)
    train(board, clock, 1, steps=199, seconds=20)
    trial = board.running[planned(1).cell]
    assert trial.seconds_left(clock.now) == pytest.approx(800 * 20 / 199)
    clock.now += 5
    assert trial.seconds_left(clock.now) == pytest.approx(800 * 20 / 199 - 5)
    assert board.seconds_left() == trial.seconds_left(clock.now)
    clock.now += 600
    assert trial.seconds_left(clock.now) == 0


def test_a_trial_saves_after_its_last_evaluation(clock: Clock) -> None:
    board = Scoreboard(start(1), clock)
    train(board, clock, 1, steps=STEPS - 1, seconds=100)
    assert board.running[planned(1).cell].phase == "training"
    board.trial_evaluated(planned(1), evaluation(STEPS))
    assert board.running[planned(1).cell].phase == "saving"


def test_trials_that_wait_are_taken_to_last_as_long_as_those_known(clock: Clock) -> None:
    board = Scoreboard(start(5, to_train=4, workers=1), clock)
    board.trial_ended(finished(planned(1), 1.9, outcome="reused"))
    train(board, clock, 2, steps=STEPS - 1, seconds=90)
    board.trial_ended(finished(planned(2), 1.9))  # after 100 seconds
    assert board.seconds_left() == pytest.approx(300)
    board.trial_started(planned(3))
    assert board.seconds_left() == pytest.approx(300)
    train(board, clock, 3, steps=(STEPS - 1) // 3, seconds=63)  # 126 seconds of 199 lie ahead
    assert board.seconds_left() == pytest.approx(126 + 2 * (100 + 199) / 2)


def test_workers_share_what_is_left(clock: Clock) -> None:
    board = Scoreboard(start(9, workers=4), clock)
    train(board, clock, 1, steps=STEPS - 1, seconds=90)
    board.trial_ended(finished(planned(1), 1.9))
    assert board.seconds_left() == pytest.approx(8 * 100 / 4)


def test_a_slow_trial_at_the_end_decides(clock: Clock) -> None:
    board = Scoreboard(start(2), clock)
    train(board, clock, 1, steps=STEPS - 1, seconds=10)
    train(board, clock, 2, steps=9, seconds=10)
    assert board.seconds_left() == pytest.approx(990 * 10 / 9)
    board.trial_ended(finished(planned(1), 1.9))
    assert board.seconds_left() == pytest.approx(990 * 10 / 9)


def test_a_trial_that_failed_early_says_nothing_about_the_others(clock: Clock) -> None:
    board = Scoreboard(start(3), clock)
    train(board, clock, 1, steps=9, seconds=1)
    stopped = board.trial_ended(failed(planned(1)))
    assert stopped is not None
    assert stopped.step == 10
    assert board.seconds_left() is None


def test_nothing_is_left_when_all_have_ended(clock: Clock) -> None:
    board = Scoreboard(start(1), clock)
    train(board, clock, 1, steps=STEPS - 1, seconds=10)
    board.trial_ended(finished(planned(1), 1.9))
    assert board.seconds_left() is None


def test_part_done_counts_the_ended_and_the_steps_of_the_running(clock: Clock) -> None:
    board = Scoreboard(start(4, to_train=3), clock)
    assert board.part_done == 0
    board.trial_ended(finished(planned(1), 1.9, outcome="reused"))
    board.trial_started(planned(2))
    board.trial_progress(planned(2), progress(STEPS // 2))
    assert board.part_done == pytest.approx(1.5 / 4)
    assert board.outcomes["reused"] == 1
    assert Scoreboard(start(0), clock).part_done == 0


def test_a_groups_trials_train_side_by_side_in_one_worker(clock: Clock) -> None:
    board = Scoreboard(start(9, workers=1, replicas=3, writers=2), clock)
    for number in (1, 2, 3):
        board.trial_started(planned(number))
        board.trial_progress(planned(number), progress(0))
    clock.now += 60
    for number in (1, 2, 3):
        board.trial_progress(planned(number), progress(STEPS // 2))
    # A minute for these three, and then twice three that take two minutes together.
    assert board.seconds_left() == pytest.approx((3 * 60 + 6 * 120) / 3)
    clock.now += 60
    for number in (1, 2, 3):
        board.trial_evaluated(planned(number), evaluation(STEPS))
    board.trial_started(planned(4))
    board.trial_started(planned(5))
    board.trial_started(planned(6))
    clock.now += 30  # others write the files of the first three
    for number in (1, 2, 3):
        board.trial_ended(finished(planned(number), 1.9))
    assert board.seconds_left() == pytest.approx(2 * 120)
