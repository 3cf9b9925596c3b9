"""`bazar doctor` compares both systems: what each lacks, and who is in the middle of a change."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.entities import Pending, Plan
from tests.cli.doctor.support import BOTH_WAYS, compared, signed_in, stamp
from tests.support.auth_proxy import Asked, Fault, auth_proxy, between
from tests.support.cli import Bazar
from tests.support.people import People, Someone
from tests.support.postgres import TEMPLATE, scratch_database, target_of


@pytest.fixture
def people(emptied: People) -> People:
    """Two systems that hold nobody but whom a test puts there."""
    return emptied


@contextmanager
def list_shown_as(people: People, show: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Generator[str]:
    """Lend a way to the Auth service whose list of identities is what `show` makes of the real one."""

    def answer(asked: Asked) -> httpx.Response:
        answered = asked.passed_on(people.target.supabase_url)
        if not asked.path.startswith("/auth/v1/admin/users?"):
            return answered
        headers = {
            name: answered.headers[name]
            for name in ("X-Total-Count", "X-Supabase-Api-Version")
            if name in answered.headers
        }
        body = answered.json()
        return httpx.Response(answered.status_code, json={**body, "users": show(body["users"])}, headers=headers)

    with between(answer) as url:
        yield url


@BOTH_WAYS
def test_two_systems_that_agree(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool
) -> None:
    for _ in range(3):
        people.identity(people.user(), app_metadata=stamp(people))
    people.identity(Someone(uuid.uuid4(), "stranger@example.com"))
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json").ok()
    assert {(c["status"], c["count"]) for c in compared(done).values()} == {("ok", 0)}


@BOTH_WAYS
def test_what_each_system_lacks_is_named(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool
) -> None:
    lonely = people.user()
    orphan = Someone(uuid.uuid4(), "orphan@example.com")
    people.identity(orphan, app_metadata=stamp(people))
    people.identity(Someone(uuid.uuid4(), "stranger@example.com"))
    other = {"bazar": {"deployment": str(uuid.uuid4()), "origin": "created"}}
    people.identity(Someone(uuid.uuid4(), "neighbour@example.com"), app_metadata=other)

    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json")

    found = compared(done)
    assert done.code == 9
    assert found["pending"]["status"] == "ok"
    without_identity, without_user = found["users-without-identity"], found["identities-without-user"]
    assert (without_identity["status"], without_identity["count"]) == ("failed", 1)
    assert without_identity["rows"] == [{"id": str(lonely.id), "email": lonely.email, "name": None, "note": None}]
    assert (without_user["status"], without_user["count"]) == ("failed", 1)
    assert without_user["rows"] == [{"id": str(orphan.id), "email": orphan.email, "name": None, "note": None}]
    assert all(c["remedy"] for c in (without_identity, without_user))
    assert lonely.email in without_identity["detail"]


@BOTH_WAYS
def test_user_with_a_pending_change_is_no_mismatch(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool
) -> None:
    begun, going = people.user(pending=Pending.CREATE), people.user(pending=Pending.DELETE)
    people.sql(
        "UPDATE bazar.users SET lease_owner = gen_random_uuid(), lease_until = now() + interval '1 hour' WHERE id = %s",
        going.id,
    )
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json")
    found = compared(done)
    assert done.code == 9
    assert found["users-without-identity"]["status"] == "ok"
    assert (found["pending"]["status"], found["pending"]["count"]) == ("warning", 1)
    assert found["pending"]["rows"] == [
        {"id": str(begun.id), "email": begun.email, "name": None, "note": "pending create"}
    ]
    assert "1 in the middle of a command" in found["pending"]["detail"]
    assert "bazar doctor --fix" in found["pending"]["remedy"]


@BOTH_WAYS
def test_soft_deleted_identity_counts_as_missing(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool
) -> None:
    someone = people.user()
    people.identity(someone, app_metadata=stamp(people))
    people.sql("UPDATE auth.users SET deleted_at = now() WHERE id = %s", someone.id)
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json")
    assert [r["email"] for r in compared(done)["users-without-identity"]["rows"]] == [someone.email]


@BOTH_WAYS
def test_soft_deleted_identity_without_a_user_is_no_finding(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool
) -> None:
    orphan = Someone(uuid.uuid4(), "orphan@example.com")
    people.identity(orphan, app_metadata=stamp(people))
    people.sql("UPDATE auth.users SET deleted_at = now() WHERE id = %s", orphan.id)
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json").ok()
    assert compared(done)["identities-without-user"]["count"] == 0


@BOTH_WAYS
def test_invited_user_needs_no_identity_yet(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool
) -> None:
    invited = people.user(pending=Pending.INVITE)
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json")
    assert compared(done)["users-without-identity"]["count"] == 0
    assert [row["email"] for row in compared(done)["pending"]["rows"]] == [invited.email]


@pytest.mark.spread
@BOTH_WAYS
@pytest.mark.parametrize(
    ("stored", "count"),
    [
        ('{"bazar": {"deployment": "UPPER"}}', 1),
        ('{"bazar": {"deployment": "{lower}"}}', 0),
        ('{"bazar": ["lower"]}', 0),
        ('{"bazar": {"deployment": 7}}', 0),
        ('["bazar"]', 0),
        ('"bazar"', 0),
    ],
)
def test_both_ways_read_a_stamp_alike(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, proven: bool, stored: str, count: int
) -> None:
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    odd = Someone(uuid.uuid4(), "odd@example.com")
    people.identity(odd)
    written = stored.replace("UPPER", str(marker["id"]).upper()).replace("lower", str(marker["id"]))
    people.sql("UPDATE auth.users SET raw_app_meta_data = %s::jsonb WHERE id = %s", written, odd.id)
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)("doctor", "-o", "json")
    assert compared(done)["identities-without-user"]["count"] == count


def test_identity_that_the_list_skips_is_read_by_id(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys
) -> None:
    """The server's list may skip an identity while others are made; its total counts all of them."""
    skipped = people.user()
    people.identity(skipped, app_metadata=stamp(people))
    with list_shown_as(people, lambda users: [u for u in users if u["id"] != str(skipped.id)]) as url:
        bazar = signed_in(tmp_path, people, ruler, auth_keys, proven=False).having(SUPABASE_URL=url)
        done = bazar("doctor", "-o", "json")
    found = compared(done)
    assert done.code == 9
    assert (found["users-without-identity"]["status"], found["identities-without-user"]["status"]) == ("ok", "warning")
    assert "1 could not be read" in found["identities-without-user"]["detail"]
    assert "run it again" in found["identities-without-user"]["remedy"]


def test_an_identity_that_went_since_the_list_is_no_finding(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys
) -> None:
    gone = Someone(uuid.uuid4(), "gone@example.com")
    shown = {"id": str(gone.id), "email": gone.email, "app_metadata": stamp(people)}
    with list_shown_as(people, lambda users: [*users, shown]) as url:
        bazar = signed_in(tmp_path, people, ruler, auth_keys, proven=False).having(SUPABASE_URL=url)
        found = compared(bazar("doctor", "-o", "json").ok())
    assert found["identities-without-user"]["count"] == 0


def test_more_than_can_be_named_is_counted(tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys) -> None:
    people.sql(
        "INSERT INTO bazar.users (id, email) SELECT gen_random_uuid(), 'lonely-' || n || '@example.com'"
        " FROM generate_series(1, 150) AS n"
    )
    for proven in (True, False):
        bazar = signed_in(tmp_path, people, ruler, auth_keys, proven=proven)
        found = compared(bazar("doctor", "-o", "json"))["users-without-identity"]
        assert (found["count"], len(found["rows"])) == (150, 100)
        assert "and 147 more" in found["detail"]


def test_pages_of_identities_are_read_to_the_last(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys
) -> None:
    people.sql(
        "INSERT INTO auth.users (instance_id, id, aud, role, email, raw_app_meta_data, confirmation_token,"
        " recovery_token, email_change, email_change_token_new, created_at, updated_at)"
        " SELECT '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'authenticated', 'authenticated',"
        " 'many-' || n || '@example.com', %s::jsonb, '', '', '', '', now(), now() FROM generate_series(1, 2100) AS n",
        f'{{"bazar": {{"deployment": "{people.sql("SELECT id FROM bazar.deployment")[0]["id"]}"}}}}',
    )
    people.sql("INSERT INTO bazar.users (id, email) SELECT id, email FROM auth.users ON CONFLICT DO NOTHING")
    bazar = signed_in(tmp_path, people, ruler, auth_keys, proven=False)
    assert {c["count"] for c in compared(bazar("doctor", "-o", "json").ok()).values()} == {0}


def test_a_database_beside_another_project_is_not_compared_by_sql(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys, postgres_url: str
) -> None:
    """Its `auth.users` has an identity of the same id, and the operator's session is not there."""
    with scratch_database(postgres_url, TEMPLATE) as url, People(target_of(url)) as beside:
        target = target_of(url, people.target.supabase_url, auth_keys.secret_key)
        for someone in (ruler, lonely := people.user()):
            beside.sql(
                "INSERT INTO bazar.users (id, email, plan, is_superuser) VALUES (%s, %s, 'premium', true)",
                someone.id,
                someone.email,
            )
        beside.sql("INSERT INTO auth.users (id, email) VALUES (%s, %s)", lonely.id, lonely.email)
        bazar = Bazar(tmp_path).on(target).having(BAZAR_TOKEN=people.access_token(ruler))
        first = compared(bazar("doctor", "-o", "json"))
        beside.sql("DROP SCHEMA auth CASCADE")
        second = compared(bazar("doctor", "-o", "json"))
    for found in (first, second):
        assert [r["email"] for r in found["users-without-identity"]["rows"]] == [lonely.email]


@pytest.mark.usefixtures("ruler")
def test_comparison_without_permission_is_explained_and_not_recorded(
    tmp_path: Path, people: People, auth_keys: AuthKeys
) -> None:
    for someone in (people.user(plan=Plan.PREMIUM), people.user(plan=Plan.FREE, superuser=True)):
        people.identity(someone)
        done = signed_in(tmp_path, people, someone, auth_keys, proven=True)("doctor", "-o", "json").ok()
        assert {c["status"] for c in compared(done).values()} == {"skipped"}
        assert people.events(someone.id) == []
        assert people.sql("SELECT 1 FROM bazar.audit_events WHERE operator_id = %s", someone.id) == []


def test_error_of_the_comparison_appears_once(
    tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys
) -> None:
    with auth_proxy(people.target) as proxy:
        proxy.add(Fault("GET", r"/admin/users\?.*per_page=1000.*", status=500, times=None))
        bazar = signed_in(tmp_path, people, ruler, auth_keys, proven=False)
        done = bazar.having(SUPABASE_URL=proxy.target.supabase_url)("doctor", "-o", "json")
    assert done.code == 9
    assert [check["status"] for check in compared(done).values()] == ["failed", *["skipped"] * 5]
    assert sum("500" in check["detail"] for check in compared(done).values()) == 1


@pytest.mark.usefixtures("ruler")
def test_hints_for_other_operators_name_no_superuser_options(
    tmp_path: Path, people: People, auth_keys: AuthKeys
) -> None:
    someone = people.user(plan=Plan.PREMIUM)
    people.identity(someone)
    done = signed_in(tmp_path, people, someone, auth_keys, proven=True)("doctor", "-o", "json").ok()
    assert (
        f"with bazar doctor is for superusers, and {someone.email} is not a superuser"
        in done.json["items"][9]["detail"]
    )


def test_csv_names_the_rows(tmp_path: Path, people: People, ruler: Someone, auth_keys: AuthKeys) -> None:
    lonely = [people.user(), people.user()]
    done = signed_in(tmp_path, people, ruler, auth_keys, proven=True)("doctor", "-o", "csv", "--fields", "check,rows")
    lines = dict(line.split(",") for line in done.out.splitlines()[1:])
    assert set(lines["users-without-identity"].split(";")) == {someone.email for someone in lonely}
