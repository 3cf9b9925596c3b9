"""The number of requests that an import runs side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from bazar_cli.services.imports import pace
from bazar_cli.services.imports.pace import Pace

MOST = 8


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


def never() -> bool:
    return False


async def fill(tested: Pace) -> int:
    """Begin as many requests as may run now; return how many."""
    begun = [asyncio.ensure_future(tested.begin()) for _ in range(MOST + 1)]
    for _ in range(3):
        await asyncio.wait(begun, timeout=0)
    running = sum(one.done() for one in begun)
    for one in begun:
        if not one.done():
            one.cancel()
    await asyncio.gather(*begun, return_exceptions=True)
    return running


def running(act: Callable[[Pace], None] = lambda _pace: None) -> int:
    """How many may run after this happened."""
    tested = Pace(MOST, never)
    act(tested)
    return asyncio.run(fill(tested))


def test_it_begins_with_few() -> None:
    assert running() == 4


def test_a_round_of_answers_lets_one_more_run_up_to_the_most() -> None:
    def answers(tested: Pace, rounds: int) -> None:
        for _ in range(rounds):
            tested.went_well()

    assert running(lambda tested: answers(tested, 5)) == 5
    assert running(lambda tested: answers(tested, 500)) == MOST


def test_failures_at_the_same_time_halve_once_and_later_ones_again(clock: Clock) -> None:
    def fail(tested: Pace, times: int, later: int) -> None:
        began = clock.now
        clock.now += 1
        for _ in range(times):
            tested.failed(began)
        for _ in range(later):
            clock.now += 1
            tested.failed(clock.now)

    assert running(lambda tested: fail(tested, 3, 0)) == 2
    assert running(lambda tested: fail(tested, 3, 1)) == 1
    assert running(lambda tested: fail(tested, 1, 9)) == 1


def test_all_wait_as_long_as_supabase_says(clock: Clock) -> None:
    tested = Pace(MOST, never)
    tested.failed(clock.now, limited=True, retry_after=17)
    began = clock.now
    assert asyncio.run(tested.begin())
    assert 17 <= clock.now - began < 17.5


def test_the_wait_doubles_where_supabase_names_none(clock: Clock) -> None:
    tested, waits = Pace(MOST, never), list[float]()
    for _ in range(9):
        before = clock.now
        tested.failed(clock.now, limited=True)
        assert asyncio.run(tested.begin())
        tested.end()
        waits.append(clock.now - before)
    intervals = [0.02 * 1.5**place for place in range(9)]
    pauses = [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert waits == pytest.approx([p + i for p, i in zip(pauses, intervals, strict=True)])
    assert tested.limited_for == pytest.approx(sum(waits))
    tested.went_well()
    assert tested.limited_for == 0


def test_requests_begin_at_intervals_after_a_limit_until_all_went_well(clock: Clock) -> None:
    tested, began = Pace(MOST, never), list[float]()
    for after in (None, 3.0):
        tested.failed(clock.now, limited=True, retry_after=after)

    async def begin(count: int) -> None:
        for _ in range(count):
            assert await tested.begin()
            began.append(clock.now)
            tested.end()

    asyncio.run(begin(4))
    assert began[0] - 1000 == pytest.approx(3.03)
    assert [later - sooner for sooner, later in pairwise(began)] == pytest.approx([0.03] * 3)
    for _ in range(1000):
        tested.went_well()
    before = clock.now
    asyncio.run(begin(4))
    assert clock.now == before


def test_none_begins_once_the_command_is_to_end(clock: Clock) -> None:
    ended = False
    tested = Pace(1, lambda: ended)

    async def wait_and_end() -> list[bool]:
        nonlocal ended
        assert await tested.begin()
        waiting = [asyncio.ensure_future(tested.begin()) for _ in range(3)]
        await asyncio.wait(waiting, timeout=0)
        ended = True
        tested.end()
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(wait_and_end()) == [False] * 3
    tested.failed(clock.now, limited=True, retry_after=1000)
    before = clock.now
    assert not asyncio.run(tested.begin())
    assert clock.now == before
