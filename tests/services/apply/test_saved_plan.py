"""Plans as files: private, without a secret, and refused as soon as a row that they rely on has moved."""

from __future__ import annotations

import json
import secrets
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.declared.changes import Removals
from bazar_cli.domain.declared.state import DeclaredOrganization, DeclaredPlan, DeclaredState, DeclaredUser
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import Conflict, Refused, StoreUnusable, UsageError
from bazar_cli.services.apply import declared
from bazar_cli.services.apply.saved_plan import FORMAT
from tests.support.declared import Declaring, lines, member
from tests.support.people import RUN, Org, People, Someone, an_address

MORE = SEEDED_PLANS[Plan.PLUS] | {Permission.AUDIT_READ}


@pytest.fixture(scope="module")
def declaring(people: People) -> Declaring:
    return Declaring(people, people.known_superuser())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@dataclass(frozen=True)
class Saved:
    """A plan whose changes rely on rows of every kind, and these rows."""

    path: Path
    acme: Org
    """Its name changes; it has no members."""
    beta: Org
    """Its members change."""
    ada: Someone
    """The plan of this user changes, who is in no organization."""
    bob: Someone
    """A member whose role changes."""
    eve: Someone
    """A member who is not in the file, and is removed."""
    new: str
    """The address of a user who is created."""
    slug: str
    """The slug of an organization that is created."""


def save(declaring: Declaring, folder: Path) -> Saved:
    """Make the rows, and save a plan that changes all of them."""
    people = declaring.people
    acme, beta = people.org(), people.org()
    owner = people.known_user({beta: Role.OWNER})
    saved = Saved(
        folder / "plan.json",
        acme,
        beta,
        people.known_user(name="Ada"),
        people.known_user({beta: Role.MEMBER}, name="Bob"),
        people.known_user({beta: Role.MEMBER}),
        an_address("new"),
        f"org-{RUN}-{secrets.token_hex(5)}",
    )
    state = DeclaredState(
        (
            DeclaredOrganization(acme.slug, "Renamed"),
            DeclaredOrganization(beta.slug),
            DeclaredOrganization(saved.slug, "New"),
        ),
        (
            DeclaredUser(owner.email, organizations=(member(beta.slug),)),
            DeclaredUser(saved.ada.email, plan=Plan.PLUS),
            DeclaredUser(saved.bob.email, organizations=(member(beta.slug, Role.ADMIN),)),
            DeclaredUser(saved.new, organizations=(member(beta.slug),)),
        ),
        (DeclaredPlan(Plan.PLUS, MORE),),
    )
    done = declaring.save(state, saved.path, Removals(prune=True, limit="5"))
    assert len(done.results) == 7
    return saved


@pytest.fixture
def saved(declaring: Declaring, folder: Path) -> Iterator[Saved]:
    yield save(declaring, folder)
    declaring.people.seed_plans()


def prepare(declaring: Declaring, path: Path) -> Any:
    return declaring.prepare(declared.wanted_plan(path, path.name))


def stale_rows(declaring: Declaring, path: Path) -> list[tuple[str, str]]:
    """Return the rows that a stale plan names."""
    with pytest.raises(Conflict) as raised:
        prepare(declaring, path)
    assert raised.value.code == "apply.plan_stale"
    rows: Any = raised.value.details["rows"]
    assert raised.value.lines[1:] == tuple(f"  {row['kind']} {row['name']}" for row in rows)
    return [(row["kind"], row["name"]) for row in rows]


def edit(path: Path, **values: object) -> None:
    """Change values of a plan."""
    plan = json.loads(path.read_text())
    path.write_text(json.dumps({**plan, **values}))


def test_plan_does_what_was_shown_and_only_once(declaring: Declaring, saved: Saved) -> None:
    prepared = prepare(declaring, saved.path)
    shown = json.loads(saved.path.read_text())["changes"]
    done = declaring.apply(declared.wanted_plan(saved.path, "plan.json"))
    assert [r.change for r in done.results if r.code] == []
    assert len(lines(done)) == len(shown) == len(prepared.comparison.changes)
    assert {row[0] for row in stale_rows(declaring, saved.path)} == {"user", "organization", "member", "plan"}


def test_plan_is_private_and_names_who_where_and_what(declaring: Declaring, saved: Saved) -> None:
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600
    plan = json.loads(saved.path.read_text())
    (deployment,) = declaring.people.sql("SELECT id FROM bazar.deployment")
    assert (plan["format"], plan["deployment"]) == (FORMAT, str(deployment["id"]))
    assert plan["operator"] == {"id": str(declaring.operator.id), "email": declaring.operator.email}
    (ada,) = [row for row in plan["rows"] if row["name"] == saved.ada.email]
    (stored,) = declaring.people.sql("SELECT updated_at FROM bazar.users WHERE id = %s", saved.ada.id)
    assert (ada["kind"], ada["id"]) == ("user", str(saved.ada.id))
    assert ada["updated_at"] == stored["updated_at"].isoformat()
    assert "password" not in saved.path.read_text()


# -- every change in between ----------------------------------------------------------------------------------------

LATER = "{column} + interval '1 microsecond'"
OTHER = "gen_random_uuid()"
USERS = {
    "id": OTHER,
    "email": "'x' || email",
    "name": "'Other'",
    "plan": "'premium'",
    "state": "'suspended'",
    "pending": "'restore'",
    "lease_owner, lease_until": f"{OTHER}, now()",
    "origin": "'adopted'",
    "is_superuser": "true",
    "created_at": LATER,
    "updated_at": LATER,
}
ORGANIZATIONS = {"id": OTHER, "slug": "slug || '-x'", "name": "'Other'", "created_at": LATER, "updated_at": LATER}
MEMBERSHIPS = {"organization_id": "'{acme}'", "user_id": "'{ada}'", "role": "'owner'", "created_at": LATER}
PLANS = {"title": "'Other'", "position": "position + 100"}
"""A value for each column that differs from the stored one. The name of a plan is its key, which users refer to."""


def changes_in_between(saved: Saved) -> Iterator[tuple[str, str, str, str, tuple[str, str]]]:
    """Yield a table, the condition for its row, columns, other values, and the row of the plan that moves."""
    beta = saved.beta
    user, of_bob = f"id = '{saved.ada.id}'", f"user_id = '{saved.bob.id}' AND organization_id = '{beta.id}'"
    for column, value in USERS.items():
        yield "users", user, column, value, ("user", saved.ada.email)
    for column, value in ORGANIZATIONS.items():
        yield "organizations", f"id = '{saved.acme.id}'", column, value, ("organization", saved.acme.slug)
    for column, value in MEMBERSHIPS.items():
        given = value.format(acme=saved.acme.id, ada=saved.ada.id, column=column)
        yield "memberships", of_bob, column, given, ("member", f"{saved.bob.email} of {beta.slug}")
    for column, value in PLANS.items():
        yield "plans", "name = 'plus'", column, value, ("plan", "plus")


def test_every_column_of_every_kind_of_row_has_a_change(people: People) -> None:
    rows = people.sql("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'bazar'")
    tried = {"users": USERS, "organizations": ORGANIZATIONS, "memberships": MEMBERSHIPS, "plans": {**PLANS, "name": ""}}
    for table, values in tried.items():
        columns = {row["column_name"] for row in rows if row["table_name"] == table}
        assert columns == {name for names in values for name in names.split(", ")}, table


def test_plan_is_refused_for_each_column_that_changed(declaring: Declaring, saved: Saved) -> None:
    people = declaring.people
    for table, where, columns, values, moved in changes_in_between(saved):
        (kept,) = people.sql(f"SELECT to_jsonb(t)::text AS line FROM bazar.{table} t WHERE {where}")
        (changed,) = people.sql(
            f"UPDATE bazar.{table} SET ({columns}) = ROW({values.format(column=columns)}) WHERE {where}"
            " RETURNING ctid::text AS place"
        )
        assert moved in stale_rows(declaring, saved.path), columns
        _put_back(people, table, changed["place"], kept["line"])
    prepare(declaring, saved.path)


def _put_back(people: People, table: str, place: str, line: str) -> None:
    if table == "plans":
        people.sql(
            "UPDATE bazar.plans p SET title = r.title, position = r.position"
            " FROM jsonb_populate_record(NULL::bazar.plans, %s::jsonb) r WHERE p.name = r.name",
            line,
        )
        return
    people.sql(f"DELETE FROM bazar.{table} WHERE ctid = %s::tid", place)
    record = f"jsonb_populate_record(NULL::bazar.{table}, %s::jsonb)"
    people.sql(f"INSERT INTO bazar.{table} SELECT * FROM {record}", line)


def _goes(people: People, saved: Saved) -> None:
    people.sql("DELETE FROM bazar.memberships WHERE user_id = %s", saved.eve.id)


def _comes(people: People, saved: Saved) -> None:
    people.user(email=saved.new)


def _joins(people: People, saved: Saved) -> None:
    people.user({saved.beta: Role.MEMBER})


def _is_deleted(people: People, saved: Saved) -> None:
    people.sql("DELETE FROM bazar.users WHERE id = %s", saved.ada.id)


def _is_created(people: People, saved: Saved) -> None:
    people.org(slug=saved.slug)


def _is_dissolved(people: People, saved: Saved) -> None:
    people.sql("DELETE FROM bazar.organizations WHERE id = %s", saved.beta.id)


def _is_granted(people: People, _saved: Saved) -> None:
    people.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', 'audit:read')")


def _is_revoked(people: People, _saved: Saved) -> None:
    people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'plus' AND permission = 'users:read'")


@pytest.mark.parametrize(
    ("happens", "kind"),
    [
        (_goes, "member"),
        (_comes, "user"),
        (_joins, "member"),
        (_is_deleted, "user"),
        (_is_created, "organization"),
        (_is_dissolved, "organization"),
        (_is_granted, "plan"),
        (_is_revoked, "plan"),
    ],
)
def test_plan_is_refused_for_each_row_that_came_or_went(
    declaring: Declaring, saved: Saved, happens: Callable[[People, Saved], None], kind: str
) -> None:
    prepare(declaring, saved.path)
    happens(declaring.people, saved)
    assert kind in {row[0] for row in stale_rows(declaring, saved.path)}


def test_rows_that_the_plan_does_not_rely_on_may_change(declaring: Declaring, saved: Saved, people: People) -> None:
    other = people.org()
    people.user({other: Role.OWNER})
    people.sql("UPDATE bazar.organizations SET updated_at = now() WHERE id = %s", other.id)
    prepare(declaring, saved.path)


# -- plans of others, and files that are no plans -------------------------------------------------------------------


def test_plan_of_another_operator_is_refused(declaring: Declaring, saved: Saved, people: People) -> None:
    with pytest.raises(Conflict) as raised:
        prepare(Declaring(people, people.known_superuser()), saved.path)
    assert raised.value.code == "apply.plan_elsewhere"
    assert f"was made by {declaring.operator.email}" in raised.value.message


def test_plan_of_another_deployment_is_refused(declaring: Declaring, saved: Saved) -> None:
    edit(saved.path, deployment=str(uuid.uuid4()))
    with pytest.raises(Conflict) as raised:
        prepare(declaring, saved.path)
    assert raised.value.code == "apply.plan_elsewhere"
    assert "another deployment" in raised.value.message


def test_plan_of_another_format_is_refused(declaring: Declaring, saved: Saved) -> None:
    edit(saved.path, format=FORMAT + 1)
    with pytest.raises(UsageError) as raised:
        prepare(declaring, saved.path)
    assert raised.value.code == "apply.plan_version"


def _without_a_change(plan: dict[str, Any]) -> None:
    plan["changes"].pop()


def _with_another_state(plan: dict[str, Any]) -> None:
    plan["state"]["users"].append({"email": "extra@example.com"})


def _without_a_row(plan: dict[str, Any]) -> None:
    plan["rows"].pop()


def _without_limit(plan: dict[str, Any]) -> None:
    plan["prune"] = False


@pytest.mark.parametrize("spoil", [_without_a_change, _with_another_state, _without_a_row, _without_limit])
def test_plan_that_was_edited_is_refused(
    declaring: Declaring, saved: Saved, spoil: Callable[[dict[str, Any]], None]
) -> None:
    plan = json.loads(saved.path.read_text())
    spoil(plan)
    saved.path.write_text(json.dumps(plan))
    with pytest.raises(Conflict) as raised:
        prepare(declaring, saved.path)
    assert raised.value.code == "apply.plan_stale"


def test_limit_of_an_edited_plan_still_counts(declaring: Declaring, saved: Saved) -> None:
    edit(saved.path, max_delete="0")
    with pytest.raises(Refused) as raised:
        prepare(declaring, saved.path)
    assert raised.value.code == "apply.too_many_removals"


SPOILT: list[Any] = [
    *("", "{", "[]", "1", '"x"', "null", "{}", '{"format": "1"}', '{"format": 1}', '{"format": true}', "\0"),
    "[" * 9999,
    *({key: 7} for key in ("deployment", "operator", "prune", "max_delete", "changes", "rows")),
    *({key: None} for key in ("deployment", "operator", "prune", "changes", "rows")),
    *({"state": state} for state in (None, 7, {"users": 7}, {"users": [{"email": "x"}]})),
    {"rows": [7]},
    {"rows": [{}]},
    {"rows": [{"kind": "user"}]},
    {"rows": [{"kind": [], "name": "x"}]},
    {"operator": {"id": 1, "email": "x"}},
    {"max_delete": "x"},
]


def test_file_that_is_no_plan_is_refused(declaring: Declaring, saved: Saved) -> None:
    kept = saved.path.read_text()
    for spoilt in SPOILT:
        saved.path.write_text(spoilt if isinstance(spoilt, str) else json.dumps({**json.loads(kept), **spoilt}))
        with pytest.raises(UsageError) as raised:
            prepare(declaring, saved.path)
        assert raised.value.code in {"apply.plan_unreadable", "apply.max_delete_invalid"}, spoilt
        assert raised.value.hint, spoilt


def test_file_that_others_could_have_written_is_no_plan(declaring: Declaring, saved: Saved, folder: Path) -> None:
    saved.path.chmod(0o666)
    with pytest.raises(UsageError) as raised:
        prepare(declaring, saved.path)
    assert raised.value.code == "apply.plan_unreadable"
    saved.path.chmod(0o600)
    link = folder / "link.json"
    link.symlink_to(saved.path)
    with pytest.raises(UsageError) as raised:
        prepare(declaring, link)
    assert "it is a link" in raised.value.message
    folder.chmod(0o777)
    with pytest.raises(StoreUnusable):
        prepare(declaring, saved.path)
    folder.chmod(0o700)
    prepare(declaring, saved.path)


def test_plan_that_is_not_there_or_too_long_is_refused(
    declaring: Declaring, saved: Saved, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (folder / "nowhere.json", folder):
        with pytest.raises(UsageError) as raised:
            prepare(declaring, path)
        assert raised.value.code == "apply.plan_unreadable"
    monkeypatch.setattr("bazar_cli.services.apply.saved_plan.PLAN_BYTES", saved.path.stat().st_size - 1)
    with pytest.raises(UsageError) as raised:
        prepare(declaring, saved.path)
    assert raised.value.code == "apply.plan_unreadable"
