"""New users of a run, through the API and by SQL: what is written, and what becomes of rows that cannot be."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from bazar_cli.adapters.postgres.connections import connect
from bazar_cli.adapters.postgres.imports import auth_schema
from bazar_cli.domain.doctor import FIX
from bazar_cli.domain.entities import Pending, Plan, Role
from bazar_cli.domain.errors import Conflict, Denied, NotSignedIn
from bazar_cli.domain.imports.imports import ImportRun, OnConflict, Via
from bazar_cli.domain.secrets import Secret
from bazar_cli.services.imports import via_database
from bazar_cli.services.users.resume import resume
from tests.support.auth_proxy import AuthProxy, auth_proxy
from tests.support.imports import Importing, Row, refusing_trigger, rows
from tests.support.people import OLD_HASH, OLD_PASSWORD, People, Someone, an_address
from tests.support.postgres import limited_role

BOTH = pytest.mark.parametrize("via", list(Via))
MOMENTS = ("created_at", "updated_at", "email_confirmed_at", "confirmed_at", "last_sign_in_at")


@pytest.fixture
def importing(people: People, root: Someone) -> Importing:
    """Imports of a superuser."""
    return Importing(people, root)


@BOTH
def test_new_users_are_in_both_systems(importing: Importing, people: People, via: Via) -> None:
    file = [Row(name="Ada", plan="plus"), *rows(10)]
    run = importing.stage(file, via)
    importing.apply(run)
    importing.assert_exact(run, file)
    assert people.signs_in(file[0].email, OLD_PASSWORD)


@BOTH
def test_new_users_are_members_with_an_event_for_each_membership(
    importing: Importing, people: People, via: Via
) -> None:
    acme, beta = people.org(), people.org()
    row = Row(name="Ada", roles={acme: Role.ADMIN, beta: Role.MEMBER})
    importing.apply(importing.stage([row, Row()], via))
    roles = people.sql("SELECT organization_id, role FROM bazar.memberships WHERE user_id = %s", row.id)
    assert {(m["organization_id"], m["role"]) for m in roles} == {(acme.id, "admin"), (beta.id, "member")}
    events = people.events(row.id)
    assert [(e["use_case"], e["outcome"], e["operator_id"]) for e in events] == [
        ("users.import", "done", importing.operator.id)
    ] * 2
    assert [(e["organization_id"], e["after"]) for e in events] == [
        (acme.id, {"email": row.email, "name": "Ada", "plan": "free", "organization": acme.slug, "role": "admin"}),
        (beta.id, {"organization": beta.slug, "role": "member"}),
    ]


@BOTH
def test_nobody_signs_in_to_a_user_without_a_password(importing: Importing, people: People, via: Via) -> None:
    file = [Row(password_hash=None), Row(password_hash=None)]
    importing.apply(importing.stage(file, via))
    assert not people.signs_in(file[0].email, OLD_PASSWORD)
    stored = people.sql(
        "SELECT DISTINCT encrypted_password AS hash FROM auth.users WHERE id = ANY(%s)", [row.id for row in file]
    )
    assert len(stored) == 2
    assert all(len(one["hash"]) == 60 and one["hash"].startswith("$2a$10$") for one in stored)


def test_identities_are_key_for_key_those_of_the_api(importing: Importing, people: People) -> None:
    """Also the rows in `auth.*`; only ids, addresses and moments differ."""
    metadata: dict[str, Any] = {
        "user_metadata": {"name": "Ada", "nothing": None, "deep": {"a": [1, None]}},
        "app_metadata": {"org": "acme", "deep": {"nothing": None}},
    }
    pairs = [(Row(), Row()), (Row(**metadata), Row(**metadata))]
    importing.apply(importing.stage([pair[0] for pair in pairs], Via.API))
    importing.apply(importing.stage([pair[1] for pair in pairs], Via.DATABASE))

    def written(row: Row) -> list[object]:
        shown = people.auth("GET", f"/admin/users/{row.id}").raise_for_status().json()
        [user] = people.sql("SELECT to_jsonb(u) AS row FROM auth.users u WHERE id = %s", row.id)
        [identity] = people.sql("SELECT to_jsonb(i) AS row FROM auth.identities i WHERE user_id = %s", row.id)
        shown["identities"][0].pop("identity_id")
        identity["row"].pop("id")
        return [unlike(part, row) for part in (shown, user["row"], identity["row"])]

    def unlike(value: object, row: Row, name: str = "") -> object:
        """The value without what differs between two users; a moment says whether it is there."""
        if isinstance(value, dict):
            return {key: unlike(inner, row, str(key)) for key, inner in value.items()}  # pyright: ignore
        if isinstance(value, list):
            return [unlike(inner, row) for inner in value]  # pyright: ignore
        if name in MOMENTS:
            return value is not None
        return {str(row.id): "<id>", row.email: "<email>"}.get(str(value), value)

    for by_api, by_sql in pairs:
        assert written(by_sql) == written(by_api)


@BOTH
@pytest.mark.parametrize(
    ("on_conflict", "outcome"),
    [
        (OnConflict.FAIL, ("failed", "users.email_exists")),
        (OnConflict.SKIP, ("skipped", "users.email_exists")),
        (OnConflict.UPDATE, ("updated", None)),
    ],
)
def test_a_user_who_was_created_after_the_comparison_prevents_only_their_row(
    importing: Importing, people: People, via: Via, on_conflict: OnConflict, outcome: tuple[str, str | None]
) -> None:
    """It is compared with the user again: an equal one is unchanged."""
    acme = people.org()
    same, other = people.known_user({acme: Role.MEMBER}, name="Ada"), people.known_user(name="Ada")
    file = [Row(email=someone.email, name="Ada", roles={acme: Role.MEMBER}) for someone in (same, other)]
    run = importing.stage([Row(), *file, Row()], via, on_conflict)
    importing.apply(run)
    assert importing.statuses(run) == [("created", None), ("unchanged", None), outcome, ("created", None)]
    roles = people.sql("SELECT role FROM bazar.memberships WHERE user_id = %s", other.id)
    assert len(roles) == (on_conflict is OnConflict.UPDATE)
    assert people.signs_in(same.email, OLD_PASSWORD)


@BOTH
def test_a_user_whom_another_command_is_creating_is_compared_when_it_has_ended(
    importing: Importing, people: People, via: Via, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bazar_cli.services.imports.apply._WAIT_SECONDS", 0.1)
    other = people.user(pending=Pending.CREATE)
    leased = "UPDATE bazar.users SET lease_owner = gen_random_uuid(), lease_until = now() + interval '1 hour'"
    people.sql(f"{leased} WHERE id = %s", other.id)
    run = importing.stage([Row(email=other.email)], via)
    looks: list[object] = []

    def other_ends() -> bool:
        looks.append(importing.statuses(run))
        if len(looks) == 5:
            ended = "UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL WHERE id = %s"
            people.sql(ended, other.id)
        return False

    importing.apply(run, other_ends)
    assert looks[4] == [("open", None)]
    assert importing.statuses(run) == [("unchanged", None)]


@BOTH
def test_a_taken_id_prevents_only_its_row(importing: Importing, people: People, via: Via) -> None:
    there = people.user()
    run = importing.stage([Row(id=there.id), Row()], via, chosen_ids=True)
    importing.apply(run)
    assert importing.statuses(run) == [("failed", "users.id_taken"), ("created", None)]


@BOTH
def test_an_address_that_only_supabase_has_leaves_nothing(importing: Importing, people: People, via: Via) -> None:
    stranger = Someone(uuid.uuid4(), an_address("stranger"))
    people.identity(stranger)
    file = [Row(email=stranger.email), Row()]
    run = importing.stage(file, via)
    importing.apply(run)
    assert importing.statuses(run) == [("failed", "users.email_at_supabase"), ("created", None)]
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", stranger.email) == []
    assert [i["id"] for i in people.identities(stranger.email)] == [stranger.id]
    outcomes = {"done", "undone"} if via is Via.API else set[str]()
    assert {e["outcome"] for e in people.events(file[0].id)} == outcomes


@BOTH
def test_an_id_that_only_supabase_has_leaves_nothing(importing: Importing, people: People, via: Via) -> None:
    stranger = Someone(uuid.uuid4(), an_address("stranger"))
    people.identity(stranger)
    file = [Row(id=stranger.id), Row()]
    run = importing.stage(file, via, chosen_ids=True)
    importing.apply(run)
    code = "users.id_taken" if via is Via.API else "users.email_at_supabase"
    assert importing.statuses(run) == [("failed", code), ("created", None)]
    assert people.row(stranger) is None
    assert people.identities(file[0].email) == []


@BOTH
def test_rows_of_an_organization_that_is_gone_fail(importing: Importing, people: People, via: Via) -> None:
    acme, beta = people.org(), people.org()
    run = importing.stage([Row(roles={acme: Role.OWNER}), Row(roles={beta: Role.MEMBER})], via)
    people.sql("DELETE FROM bazar.organizations WHERE id = %s", acme.id)
    importing.apply(run)
    assert importing.statuses(run) == [("failed", "orgs.not_found"), ("created", None)]


@BOTH
def test_rows_that_the_operator_may_not_write_any_more_fail(people: People, via: Via) -> None:
    acme, beta = people.org(), people.org()
    admin = people.known_user({acme: Role.ADMIN, beta: Role.ADMIN}, plan=Plan.PREMIUM)
    importing = Importing(people, admin)
    roles = [{acme: Role.MEMBER}, {beta: Role.MEMBER}, {acme: Role.OWNER}, {}]
    run = importing.stage([Row(roles=one) for one in roles], via)
    people.sql("DELETE FROM bazar.memberships WHERE user_id = %s AND organization_id = %s", admin.id, beta.id)
    importing.apply(run)
    assert importing.statuses(run) == [
        ("created", None),
        ("failed", "access.role"),
        ("failed", "access.role"),
        ("failed", "access.platform"),
    ]


@BOTH
def test_nothing_is_written_for_an_operator_whose_plan_does_not_allow_it_any_more(people: People, via: Via) -> None:
    someone = people.known_user(plan=Plan.PLUS)
    importing = Importing(people, someone)
    run = importing.stage(rows(2), via)
    with pytest.raises(Denied, match="users:create"):
        importing.apply(run)
    assert importing.statuses(run) == [("open", None)] * 2


@BOTH
def test_the_command_ends_between_two_chunks(importing: Importing, via: Via, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"bazar_cli.services.imports.via_{via.value}.CHUNK", 2)
    file = rows(5)
    run = importing.stage(file, via)
    importing.apply(run, lambda: ("created", None) in importing.statuses(run))
    assert sorted(importing.statuses(run)) == [("created", None)] * 2 + [("open", None)] * 3
    importing.apply(run)
    importing.assert_exact(run, file)


@BOTH
def test_the_operator_is_proven_again_while_it_runs(
    importing: Importing, people: People, via: Via, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that ended at Supabase stops the import at the next proof."""
    monkeypatch.setattr(f"bazar_cli.services.imports.via_{via.value}.CHUNK", 1)
    monkeypatch.setattr("bazar_cli.services.imports.apply.PROVEN_SECONDS", 0.0)
    run = importing.stage(rows(3), via)

    def sign_out() -> bool:
        if ("created", None) in importing.statuses(run):
            people.sql("DELETE FROM auth.sessions WHERE user_id = %s", importing.operator.id)
        return False

    with pytest.raises(NotSignedIn) as refused:
        importing.apply(run, sign_out)
    assert refused.value.code == "auth.session_revoked"
    assert ("open", None) in importing.statuses(run)


# -- by SQL -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE auth.users ADD COLUMN nickname text", "it has auth.users.nickname text"),
        ("ALTER TABLE auth.users DROP COLUMN is_super_admin", "it lacks auth.users.is_super_admin boolean"),
        ("ALTER TABLE auth.identities ALTER id DROP DEFAULT", "it has auth.identities.id uuid NOT NULL"),
        ("ALTER TABLE auth.users ADD CHECK (email <> '')", "it has auth.users CHECK (((email)::text <> ''::text))"),
        ("ALTER TABLE auth.users DROP CONSTRAINT users_phone_key", "it lacks auth.users UNIQUE (phone)"),
        ("CREATE UNIQUE INDEX ON auth.users (lower(email))", "it has auth.users (lower((email)::text))"),
        ("DROP TABLE auth.schema_migrations", "auth.schema_migrations cannot be read, and this version knows"),
        (
            "INSERT INTO auth.schema_migrations VALUES ('20270101000000')",
            "its last migration is 20270101000000, and this version knows 20260625000000",
        ),
    ],
)
def test_a_difference_of_the_schema_is_named(fresh_database: Callable[..., str], change: str, said: str) -> None:
    with connect(Secret(fresh_database(migrated=True))) as connection:
        assert auth_schema.differences(connection) == ()
        connection.execute(change.encode())
        assert any(said in difference for difference in auth_schema.differences(connection))


def test_an_unknown_schema_is_refused_before_anything_is_written(importing: Importing, people: People) -> None:
    run = importing.stage(rows(2), Via.DATABASE)
    people.sql("ALTER TABLE auth.identities ADD COLUMN more text")
    try:
        with pytest.raises(Conflict, match=r"it has auth\.identities\.more text") as refused:
            importing.apply(run)
    finally:
        people.sql("ALTER TABLE auth.identities DROP COLUMN more")
    assert refused.value.code == "imports.auth_schema_unknown"
    assert importing.statuses(run) == [("open", None)] * 2


def test_a_migration_of_auth_meanwhile_is_refused_by_the_next_chunk(
    importing: Importing, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(via_database, "CHUNK", 1)
    run = importing.stage(rows(2), Via.DATABASE)

    def migrated() -> bool:
        if ("created", None) in importing.statuses(run):
            people.sql("INSERT INTO auth.schema_migrations VALUES ('99999999999999') ON CONFLICT DO NOTHING")
        return False

    try:
        with pytest.raises(Conflict, match="99999999999999"):
            importing.apply(run, migrated)
    finally:
        people.sql("DELETE FROM auth.schema_migrations WHERE version = '99999999999999'")
    assert importing.statuses(run) == [("created", None), ("open", None)]


def test_the_database_of_another_project_is_refused(alone: People) -> None:
    """Its Auth does not have the operator's session."""
    importing = Importing(alone, alone.known_superuser())
    with pytest.raises(Conflict) as refused:
        importing.apply(importing.stage(rows(1), Via.DATABASE))
    assert refused.value.code == "imports.auth_elsewhere"


def test_a_role_that_may_not_insert_identities_is_refused(importing: Importing, people: People) -> None:
    run = importing.stage(rows(1), Via.DATABASE)
    readable = "SELECT ON auth.users, auth.sessions, auth.identities"
    with (
        limited_role(people.target.database_url.reveal(), "BYPASSRLS", readable) as url,
        pytest.raises(Conflict, match="may not insert") as refused,
    ):
        importing.apply(run, target=replace(people.target, database_url=Secret(url)))
    assert refused.value.code == "imports.auth_elsewhere"


def test_a_row_that_a_trigger_refuses_does_not_fail_its_chunk(importing: Importing, people: People) -> None:
    with refusing_trigger(people) as refused:
        file = [*rows(3), Row(email=an_address(refused)), *rows(4)]
        run = importing.stage(file, Via.DATABASE)
        importing.apply(run)
    wanted: list[tuple[str, str | None]] = [("created", None)] * 8
    wanted[3] = ("failed", "imports.row_rejected")
    assert importing.statuses(run) == wanted
    assert "not at our company" in importing.results(run)[3]["message"]
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", file[3].email) == []


# -- existing users -----------------------------------------------------------------------------------------


@BOTH
def test_existing_users_are_changed_by_the_services_of_their_commands(
    importing: Importing, people: People, via: Via
) -> None:
    acme, beta = people.org(), people.org()
    people.user({acme: Role.OWNER})
    members = [people.known_user({acme: Role.OWNER}, name="Old", plan=Plan.PLUS) for _ in range(9)]
    changes = [
        Row(email=m.email, id=m.id, name="New", plan="free", roles={acme: Role.MEMBER, beta: Role.ADMIN})
        for m in members
    ]
    for change in changes:
        change.action, change.password_hash = "update", None
    file = [*changes, Row(action="update", password_hash=None, name="Nobody"), Row()]
    run = importing.stage(file, via, OnConflict.UPDATE)
    importing.apply(run)
    assert importing.statuses(run) == [("updated", None)] * 9 + [("failed", "users.not_found"), ("created", None)]
    for member in members:
        row = people.row(member) or {}
        assert (row["name"], row["plan"]) == ("New", "free")
        roles = people.sql("SELECT organization_id, role FROM bazar.memberships WHERE user_id = %s", member.id)
        assert {(m["organization_id"], m["role"]) for m in roles} == {(acme.id, "member"), (beta.id, "admin")}
        used = [event["use_case"] for event in people.events(member.id)]
        assert sorted(used) == ["orgs.members.add", "orgs.members.update", "plans.assign", "users.update"]


# -- what another command does meanwhile --------------------------------------------------------------------


def held_up(importing: Importing, proxy: AuthProxy, run: ImportRun, meanwhile: Callable[[], object]) -> None:
    """Apply a run, and do something while its first request has been acted on and not answered."""
    hold = proxy.hold("POST", "/admin/users", acts=True)
    assert hold.held is not None
    with ThreadPoolExecutor() as pool:
        applying = pool.submit(importing.apply, run, target=proxy.target, concurrency=1)
        assert hold.held.wait(60)
        meanwhile()
        hold.release.set()
        applying.result()


@pytest.mark.parametrize(
    ("password_hash", "outcome"),
    [(OLD_HASH, ("failed", "users.taken_over")), (None, ("created", None))],
    ids=["with a password", "without"],
)
def test_a_user_whom_another_command_finished_is_created_if_it_cannot_lack_anything(
    importing: Importing, people: People, password_hash: str | None, outcome: tuple[str, str | None]
) -> None:
    file = [Row(password_hash=password_hash), Row()]
    run = importing.stage(file, Via.API)

    def finish() -> None:
        people.leases_run_out()
        people.run(importing.operator, resume, FIX, file[0].id)

    with auth_proxy(people.target) as proxy:
        held_up(importing, proxy, run, finish)
    assert importing.statuses(run) == [outcome, ("created", None)]
    assert [identity["id"] for identity in people.identities(file[0].email)] == [file[0].id]


def test_a_user_who_was_deleted_meanwhile_leaves_nothing_at_supabase(importing: Importing, people: People) -> None:
    file = rows(2)
    run = importing.stage(file, Via.API)

    def remove() -> None:
        people.sql("DELETE FROM bazar.users WHERE id = %s", file[0].id)

    with auth_proxy(people.target) as proxy:
        held_up(importing, proxy, run, remove)
    assert importing.statuses(run) == [("failed", "users.taken_over"), ("created", None)]
    assert people.identities(file[0].email) == []
