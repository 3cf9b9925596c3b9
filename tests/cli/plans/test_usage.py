"""`bazar plans usage` and `matrix`: pictures where one may draw, data elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Plan, Role, UserState
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live


@pytest.fixture
def bazar(as_user: Callable[[Someone], Bazar], people: People) -> Bazar:
    """`bazar` signed in as one of four who share an organization; of the fifth one organization is out of reach."""
    acme, beta = people.org(), people.org()
    me = people.user({acme: Role.MEMBER}, plan=Plan.PREMIUM)
    people.user({acme: Role.MEMBER}, plan=Plan.PLUS, state=UserState.SUSPENDED)
    people.user({acme: Role.MEMBER})
    people.user({acme: Role.MEMBER, beta: Role.MEMBER})
    people.user({beta: Role.MEMBER})
    return as_user(me)


def test_usage_as_data(bazar: Bazar) -> None:
    listed = bazar("plans", "usage", "-o", "json").ok().json["items"]
    assert listed == [
        {"plan": "free", "title": "Free", "users": 2, "active": 2, "suspended": 0, "share": 0.5},
        {"plan": "plus", "title": "Plus", "users": 1, "active": 0, "suspended": 1, "share": 0.25},
        {"plan": "premium", "title": "Premium", "users": 1, "active": 1, "suspended": 0, "share": 0.25},
    ]
    assert bazar("plans", "usage").ok().out.splitlines()[:2] == [
        "PLAN\tUSERS\tACTIVE\tSUSPENDED\tSHARE",
        "free\t2\t2\t0\t0.5",
    ]
    assert bazar("plans", "usage", "-o", "csv", "--fields", "plan,users").ok().out.split() == [
        *("plan,users", "free,2", "plus,1", "premium,1"),
    ]
    assert bazar("plans", "usage", "-o", "ids").ok().out.split() == ["free", "plus", "premium"]


def test_usage_has_bars_where_one_may_draw(bazar: Bazar) -> None:
    plain = bazar("plans", "usage").ok().out
    for columns in ("100", "60"):
        here = bazar.having(CLICOLOR_FORCE="1", NO_COLOR="1", COLUMNS=columns)
        lines = here("plans", "usage").ok().out.splitlines()
        drawn = {line.split()[0]: line.count("█") for line in lines if "%" in line}
        assert list(drawn) == ["free", "plus", "premium"]
        assert drawn["free"] > drawn["plus"] == drawn["premium"] > 0
        assert max(map(len, lines)) <= int(columns)
    drawing = bazar.having(CLICOLOR_FORCE="1")
    assert drawing.having(BAZAR_ACCESSIBLE="1")("plans", "usage").ok().out == plain
    assert "█" not in drawing("plans", "usage", "--fields", "plan,users").ok().out


def test_narrow_terminal_has_no_bars_and_cuts_nothing_off(bazar: Bazar) -> None:
    drawn = bazar.having(CLICOLOR_FORCE="1", NO_COLOR="1", COLUMNS="42")("plans", "usage").ok().out
    assert [line.split() for line in drawn.splitlines() if "%" in line] == [
        ["free", "2", "2", "0", "50.0%"],
        ["plus", "1", "0", "1", "25.0%"],
        ["premium", "1", "1", "0", "25.0%"],
    ]
