"""Waiting by asking again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.errors import BackendUnavailable, Conflict

LONG = 3600.0


def answering(*answers: object) -> Callable[[], object]:
    """A question with these answers in turn; an error is raised."""
    left: Iterable[object] = iter(answers)

    def ask() -> object:
        answer = next(iter(left))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def away(text: str = "away") -> BackendUnavailable:
    return BackendUnavailable("postgres.unavailable", text)


def test_first_answer_ends_the_wait_without_a_pause() -> None:
    assert poll(answering("there"), seconds=LONG, pause=LONG) == "there"


def test_none_and_false_are_asked_again() -> None:
    assert poll(answering(None, False, "there"), seconds=LONG, pause=0.0) == "there"


@pytest.mark.parametrize("last", [None, False])
def test_last_answer_is_returned_when_the_time_is_over(last: object) -> None:
    assert poll(answering(last), seconds=0.0, pause=LONG) is last


def test_pause_never_outlasts_the_time() -> None:
    assert poll(answering(None, "there"), seconds=0.001, pause=(LONG, LONG)) == "there"


def test_wait_is_announced_once_and_only_when_there_is_one() -> None:
    announced = list[str]()
    poll(answering(None, None, "there"), seconds=LONG, pause=0.0, on_wait=lambda: announced.append("waiting"))
    assert announced == ["waiting"]
    poll(answering("there"), seconds=LONG, pause=0.0, on_wait=lambda: announced.append("again"))
    poll(answering(None), seconds=0.0, pause=0.0, on_wait=lambda: announced.append("too late"))
    assert announced == ["waiting"]


def test_chosen_errors_are_tried_again_until_the_time_is_over() -> None:
    def again(error: Exception) -> bool:
        return isinstance(error, BackendUnavailable)

    assert poll(answering(away(), "there"), seconds=LONG, pause=0.0, again=again) == "there"
    with pytest.raises(BackendUnavailable, match="the last"):
        poll(answering(away("the last")), seconds=0.0, pause=0.0, again=again)
    with pytest.raises(Conflict):
        poll(answering(away(), Conflict("db.no_database", "none")), seconds=LONG, pause=0.0, again=again)


@pytest.mark.parametrize("error", [away(), ValueError("a bug")])
def test_any_other_error_ends_the_wait(error: Exception) -> None:
    with pytest.raises(type(error)):
        poll(answering(error, "there"), seconds=LONG, pause=0.0)
