"""`bazar plans list`, `show` and `matrix`: the plan table in every format, for everyone signed in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pytest
import yaml

from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.entities import Plan
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

FREE = ["users:read", "files:read", "orgs:read", "members:read", "plans:read"]
MATRIX = [{"permission": p.value, **{plan.value: p in SEEDED_PLANS[plan] for plan in Plan}} for p in Permission]


@pytest.fixture
def bazar(as_user: Callable[[Someone], Bazar], people: People) -> Bazar:
    """`bazar` signed in as somebody on Free, in no organization."""
    return as_user(people.user())


def test_list_from_the_least_to_the_most(bazar: Bazar) -> None:
    listed = bazar("plans", "list", "-o", "json").ok().json
    assert [(plan["name"], plan["title"], plan["permission_count"]) for plan in listed["items"]] == [
        ("free", "Free", 5),
        ("plus", "Plus", 6),
        ("premium", "Premium", len(Permission)),
    ]
    assert sorted(listed["items"][0]["permissions"]) == sorted(FREE)
    assert listed["next_cursor"] is None
    assert bazar("plans", "list").ok().out == (
        f"NAME\tTITLE\tPERMISSION_COUNT\nfree\tFree\t5\nplus\tPlus\t6\npremium\tPremium\t{len(Permission)}\n"
    )
    assert bazar("plans", "list", "-o", "ids").ok().out == "free\nplus\npremium\n"
    csv_text = bazar("plans", "list", "-o", "csv", "--fields", "permission_count,name").ok().out
    assert csv_text.splitlines()[:2] == ["permission_count,name", "5,free"]


def test_show_one_plan(bazar: Bazar) -> None:
    plus = bazar("plans", "show", "plus", "-o", "json").ok().json
    assert list(plus) == ["name", "title", "permissions"]
    assert (plus["name"], plus["title"]) == ("plus", "Plus")
    assert sorted(plus["permissions"]) == sorted([*FREE, "files:execute"])
    assert yaml.safe_load(bazar("plans", "show", "plus", "-o", "yaml").ok().out) == plus
    assert bazar("plans", "show", "free").ok().out == (
        "name\tfree\ntitle\tFree\npermissions\tusers:read files:read orgs:read members:read plans:read\n"
    )
    assert bazar("plans", "show", "premium", "-o", "ids").ok().out == "premium\n"


def test_show_unknown_plan_lists_the_known_ones(bazar: Bazar) -> None:
    done = bazar("plans", "show", "gold", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (2, "", "usage.invalid_value")
    assert all(plan.value in done.error["message"] for plan in Plan)


def test_matrix_in_every_format(bazar: Bazar) -> None:
    words = ("plans", "matrix", "-o")
    assert bazar(*words, "json").ok().json == {"items": MATRIX, "next_cursor": None}
    assert [json.loads(line) for line in bazar(*words, "jsonl").ok().out.splitlines()] == MATRIX
    assert yaml.safe_load(bazar(*words, "yaml").ok().out) == {"items": MATRIX, "next_cursor": None}
    rows = list(csv.DictReader(io.StringIO(bazar(*words, "csv").ok().out, newline="")))
    assert [{k: v == "true" if k != "permission" else v for k, v in row.items()} for row in rows] == MATRIX
    assert {row["plus"] for row in rows} == {"true", "false"}
    assert bazar(*words, "ids").ok().out.split() == [p.value for p in Permission]
    table = bazar("plans", "matrix").ok().out.splitlines()
    assert table[0] == "PERMISSION\tFREE\tPLUS\tPREMIUM"
    assert "files:execute\tno\tyes\tyes" in table
    assert len(table) == 1 + len(Permission)


def test_matrix_is_a_grid_where_one_may_draw(bazar: Bazar) -> None:
    drawn = bazar.having(CLICOLOR_FORCE="1", NO_COLOR="1")("plans", "matrix").ok().out
    assert "─" in drawn or "━" in drawn
    row = next(line for line in drawn.splitlines() if "users:create" in line)
    assert row.split() == ["users:create", "·", "·", "✓"]


def test_nobody_signed_in(signed_out: Bazar) -> None:
    for words in (("list",), ("show", "free"), ("matrix",), ("check", "users:read")):
        done = signed_out("plans", *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (4, "", "auth.not_signed_in")
