"""Commands at the same moment on the same address: one wins, the others get a conflict, and no user is left pending."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from bazar_cli.domain.entities import Pending, Plan, Role
from tests.support.auth_proxy import AuthProxy
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.waiting import until_turned_away, until_waiting

Email = Callable[[str], str]
RACERS = 10
DEFAULT_ROUNDS = 5
LONG_ROUNDS = 200


def all_at_once(commands: list[Callable[[], Done]]) -> list[Done]:
    """Run every command in a process of its own, all at the same moment."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return [future.result() for future in [pool.submit(command) for command in commands]]


def race(admin: Bazar, people: People, email: str) -> None:
    """Ten creates of one address: one user, nine conflicts, one id and one event."""
    create: Callable[[], Done] = lambda: admin("users", "create", email, "-o", "json")  # noqa: E731
    done = all_at_once([create] * RACERS)
    assert Counter(d.code for d in done) == {0: 1, 6: RACERS - 1}
    assert {d.error["code"] for d in done if d.code} == {"users.email_exists"}
    [row] = people.sql("SELECT id, pending, lease_owner FROM bazar.users WHERE email = %s", email)
    [identity] = people.identities(email)
    assert (row["id"], row["pending"], row["lease_owner"]) == (identity["id"], None, None)
    assert [e["outcome"] for e in people.events(row["id"])] == ["done"]


def test_ten_creates_of_one_address(admin: Bazar, people: People, unique_email: Email) -> None:
    for _ in range(DEFAULT_ROUNDS):
        race(admin, people, unique_email("raced"))


@pytest.mark.long
def test_ten_creates_of_one_address_for_long(admin: Bazar, people: People, unique_email: Email) -> None:
    for _ in range(LONG_ROUNDS):
        race(admin, people, unique_email("raced"))


def test_two_if_not_exists_both_succeed_with_one_user(admin: Bazar, people: People, unique_email: Email) -> None:
    for _ in range(2):
        email = unique_email("twins")
        words = ("users", "create", email, "--name", "Ada", "--if-not-exists", "-o", "json")
        done = all_at_once([lambda words=words: admin(*words)] * 2)
        assert [d.code for d in done] == [0, 0]
        assert len({d.json["id"] for d in done}) == 1
        assert sorted(d.json["created"] for d in done) == [False, True]
        [identity] = people.identities(email)
        assert str(identity["id"]) == done[0].json["id"]


def test_two_if_not_exists_with_other_values_disagree(admin: Bazar, people: People, unique_email: Email) -> None:
    email = unique_email("twins")
    words = ("users", "create", email, "--if-not-exists", "-o", "json")
    done = all_at_once([lambda name=name: admin(*words, "--name", name) for name in ("Ada", "Grace")])
    assert sorted(d.code for d in done) == [0, 6]
    [loser] = [d for d in done if d.code]
    assert loser.error["code"] == "users.differs"
    assert len(people.identities(email)) == 1


def test_two_deletes_of_one_user(admin: Bazar, people: People) -> None:
    someone = people.user()
    people.identity(someone)
    done = all_at_once([lambda: admin("users", "delete", someone.email, "--confirm", someone.email)] * 2)
    assert sorted(d.code for d in done) == [0, 3]
    assert people.row(someone) is None
    assert people.identities(someone.email) == []
    assert [e["use_case"] for e in people.events(someone.id)] == ["users.delete"]


def test_create_and_delete_of_one_address(admin: Bazar, people: People, unique_email: Email) -> None:
    """The second command waits for the first, then finds its result."""
    for _ in range(3):
        email = unique_email("both")
        made, gone = all_at_once(
            [
                lambda email=email: admin("users", "create", email),
                lambda email=email: admin("users", "delete", email, "--confirm", email),
            ]
        )
        assert (made.code, gone.code) in {(0, 0), (0, 3)}
        rows = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
        identities = people.identities(email)
        assert [(r["id"], r["pending"]) for r in rows] == [(i["id"], None) for i in identities]
        assert len(rows) == (1 if gone.code else 0)


@pytest.mark.parametrize("first", ["create", "delete"])
def test_create_in_an_organization_and_its_deletion(
    admin: Bazar, people: People, unique_email: Email, first: str
) -> None:
    """Both systems have the user or neither has, whichever command gets the organization first."""
    org, email = people.org(), unique_email("joins")
    owners = [people.user({org: Role.OWNER}, plan=Plan.PREMIUM) for _ in range(2)]
    for owner in owners:
        people.identity(owner)
    makes, ends = (admin.having(BAZAR_TOKEN=people.access_token(owner)) for owner in owners)
    create = lambda: makes("users", "create", email, "--org", org.slug, "-o", "json")  # noqa: E731
    delete = lambda: ends("orgs", "delete", org.slug, "--confirm", org.slug, "-o", "json")  # noqa: E731
    with psycopg.connect(people.target.database_url.reveal()) as holder, ThreadPoolExecutor(2) as pool:
        holder.execute("SELECT 1 FROM bazar.organizations WHERE id = %s FOR UPDATE", (org.id,))
        running: dict[str, Future[Done]] = {}
        for name in (first, "delete" if first == "create" else "create"):
            running[name] = pool.submit(create if name == "create" else delete)
            until_waiting(people, len(running))
        holder.rollback()
        made, gone = running["create"].result(), running["delete"].result()
    # A user in the middle of creation keeps the organization; who comes after its end has lost the role in it.
    ended = (made.code, gone.code, "" if not gone.code else gone.error["code"])
    assert ended in {(0, 0, ""), (0, 6, "users.pending"), (6, 0, "")}
    rows = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    identities = people.identities(email)
    assert [(r["id"], r["pending"]) for r in rows] == [(i["id"], None) for i in identities]
    assert len(rows) == (1 if made.code == 0 else 0)
    if made.code:
        assert made.error["code"] == "access.changed"


def test_suspend_waits_for_a_create(
    admin: Bazar, faulty: Bazar, proxy: AuthProxy, people: People, unique_email: Email
) -> None:
    email = unique_email("both")
    hold = proxy.hold("POST", "/admin/users", acts=True)
    assert hold.held is not None
    with ThreadPoolExecutor(2) as pool:
        made = pool.submit(faulty, "users", "create", email, "--password-stdin", stdin=f"{OLD_PASSWORD}\n")
        assert hold.held.wait(60)
        suspended = pool.submit(admin, "users", "suspend", email, "--reason", "left", "--yes")
        until_turned_away(people)
        assert not suspended.done()
        hold.release.set()
        assert (made.result().code, suspended.result().code) == (0, 0)
    [row] = people.sql("SELECT id, state, pending FROM bazar.users WHERE email = %s", email)
    assert (row["state"], row["pending"]) == ("suspended", None)
    assert not people.signs_in(email, OLD_PASSWORD)
    assert [e["use_case"] for e in people.events(row["id"])] == ["users.create", "users.suspend"]


def test_the_command_and_the_doctor_finish_the_same_user(admin: Bazar, people: People, unique_email: Email) -> None:
    for _ in range(3):
        email = unique_email("pending")
        someone = people.user(email=email, pending=Pending.CREATE)
        create, doctor = all_at_once(
            [
                lambda email=email: admin("users", "create", email, "--if-not-exists"),
                lambda: admin("doctor", "--fix", "--yes", "-o", "json"),
            ]
        )
        assert create.code == 0, create.err
        assert doctor.code in {0, 9}
        [identity] = people.identities(email)
        assert (identity["id"], (people.row(someone) or {})["pending"]) == (someone.id, None)


# -- what others hold at Supabase ---------------------------------------------------------------------------


def test_an_address_that_lives_only_at_supabase(admin: Bazar, people: People, unique_email: Email) -> None:
    stranger = Someone(uuid.uuid4(), unique_email("stranger"))
    people.identity(stranger)
    for words in ((), ("--if-not-exists",), ("--generate-password",)):
        done = admin("users", "create", stranger.email, *words, "-o", "json")
        assert done.code == 6
        assert done.error["code"] == "users.email_at_supabase"
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", stranger.email) == []
    assert [i["id"] for i in people.identities(stranger.email)] == [stranger.id]


def test_a_rerun_after_a_success_that_was_never_seen(admin: Bazar, people: People, unique_email: Email) -> None:
    """Supabase answers 422 to the second create of one id and address; the row stays, because the id is ours."""
    email = unique_email("unseen")
    deployment = people.sql("SELECT id FROM bazar.deployment")[0]["id"]
    someone = people.user(email=email, pending=Pending.CREATE)
    people.identity(someone, app_metadata={"bazar": {"deployment": str(deployment), "origin": "created"}})
    assert admin("users", "create", email, "-o", "json").ok().json["id"] == str(someone.id)
    assert (people.row(someone) or {})["pending"] is None


@pytest.mark.parametrize("by_doctor", [False, True], ids=["again", "doctor"])
def test_an_id_that_a_stranger_took(admin: Bazar, people: People, unique_email: Email, by_doctor: bool) -> None:
    email = unique_email("wanted")
    someone = people.user(email=email, pending=Pending.CREATE)
    people.identity(Someone(someone.id, unique_email("taker")))
    if by_doctor:
        done = admin("doctor", "--fix", "--yes", "-o", "json")
        [fix] = [check for check in done.json["items"] if check["check"] == "fix"]
        assert next(r["note"] for r in fix["rows"] if r["email"] == email).startswith("undone")
    else:
        done = admin("users", "create", email, "-o", "json")
        assert (done.code, done.error["code"]) == (6, "users.id_taken")
    assert people.row(someone) is None
    assert [e["outcome"] for e in people.events(someone.id)] == ["undone"]
    assert admin("users", "create", email, "-o", "json").ok().json["id"] != str(someone.id)
