"""`bazar users create`, from sign-in to both systems."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Pending, Plan, Role
from tests.support.cli import Bazar
from tests.support.people import People, Someone

pytestmark = pytest.mark.live

AsUser = Callable[[Someone], Bazar]
Email = Callable[[str], str]
JSON = ("-o", "json")


def test_one_object_and_one_id_in_both_systems(admin: Bazar, people: People, unique_email: Email) -> None:
    email = unique_email("ada")
    done = admin("users", "create", email, "--name", "Ada Lovelace", "--generate-password", "-o", "json").ok()
    user = done.json
    (identity,) = people.identities(email)
    (row,) = people.sql("SELECT id, name, pending FROM bazar.users WHERE email = %s", email)
    assert str(identity["id"]) == str(row["id"]) == user["id"]
    assert (row["name"], row["pending"], user["state"], user["plan"]) == ("Ada Lovelace", None, "active", "free")
    assert people.signs_in(email, user["password"])
    assert done.err == ""


@pytest.mark.parametrize("before", ["", "\ufeff"])
@pytest.mark.parametrize("after", ["", "\n", "\r\n"])
def test_password_of_a_pipe_is_the_one_that_was_typed(
    admin: Bazar, people: People, unique_email: Email, before: str, after: str
) -> None:
    email, password = unique_email("zoe"), " Zoe\u0308-secret-1A "
    given = f"{before}{password}{after}".encode()
    user = admin("users", "create", email, "--name", " Zoe\u0308 ", "--password-stdin", *JSON, stdin=given).ok().json
    assert user["name"] == "Zo\u00eb"
    assert people.signs_in(email, password)


def test_free_operator_is_denied_with_an_explanation_and_leaves_one_event(
    as_user: AsUser, people: People, unique_email: Email
) -> None:
    operator, email = people.user(plan=Plan.FREE), unique_email("eve")
    bazar = as_user(operator)
    done = bazar("users", "create", email)
    assert done.code == 5
    assert "users:create" in done.err
    assert "Free" in done.err
    assert "Premium has it" in done.err
    assert "superuser on Premium can move" in done.err
    assert people.identities(email) == []
    assert people.sql("SELECT count(*) AS n FROM bazar.users WHERE email = %s", email) == [{"n": 0}]
    (event,) = people.sql("SELECT use_case, outcome FROM bazar.audit_events WHERE operator_id = %s", operator.id)
    assert (event["use_case"], event["outcome"]) == ("users.create", "denied")


def test_denial_as_json(as_user: AsUser, people: People) -> None:
    done = as_user(people.user())("users", "create", "x@example.com", "-o", "json")
    assert (done.code, done.out) == (5, "")
    assert done.error["code"] == "access.plan"
    assert done.error["details"]["permissions"] == ["users:create"]
    assert done.error["details"]["plans_with_it"] == ["premium"]
    assert done.error["request_id"]


def test_denial_by_scope_is_recorded_too(as_user: AsUser, people: People, unique_email: Email) -> None:
    operator = people.user(plan=Plan.PREMIUM)
    done = as_user(operator)("users", "create", unique_email("x"))
    assert done.code == 5
    assert "--org" in done.err
    assert len(people.sql("SELECT 1 FROM bazar.audit_events WHERE operator_id = %s", operator.id)) == 1


def test_admin_of_an_organization_creates_a_member(as_user: AsUser, people: People, unique_email: Email) -> None:
    org = people.org()
    bazar = as_user(people.user({org: Role.ADMIN}, plan=Plan.PREMIUM))
    user = bazar("users", "create", unique_email("m"), "--org", org.slug, "-o", "json").ok().json
    assert user["organizations"] == [{"id": str(org.id), "slug": org.slug, "role": "member"}]


def test_in_use_in_any_case(admin: Bazar, unique_email: Email) -> None:
    email = unique_email("taken")
    admin("users", "create", email).ok()
    assert admin("users", "create", email, "-o", "json").error["code"] == "users.email_exists"
    assert admin("users", "create", email.upper()).code == 6
    again = admin("users", "create", email.upper(), "--if-not-exists", "-o", "json").ok()
    assert (again.json["email"], again.json["created"]) == (email, False)
    differs = admin("users", "create", email, "--if-not-exists", "--name", "Other")
    assert differs.code == 6


BAD = {
    "no at": (["nonsense"], "users.email_invalid"),
    "spaces": ([" a@example.com"], "users.email_invalid"),
    "inner space": (["a b@example.com"], "users.email_invalid"),
    "unicode": (["ä@example.com"], "users.email_invalid"),
    "256 characters": (["a" * 244 + "@example.com"], "users.email_invalid"),
    "control characters": (["c@example.com", "--name", "a\x1b[2Jb"], "users.name_invalid"),
    "10,000 characters": (["l@example.com", "--name", "x" * 10_000], "users.name_invalid"),
    "two passwords": (["p@example.com", "--generate-password", "--password-stdin"], "users.two_passwords"),
    "lost password": (["p@example.com", "--generate-password", "--fields", "id"], "output.loses_field"),
    "role without org": (["r@example.com", "--role", "admin"], "users.role_without_org"),
}


@pytest.mark.parametrize(("words", "code"), BAD.values(), ids=BAD.keys())
def test_bad_value_names_the_rule_and_writes_nothing(admin: Bazar, people: People, words: list[str], code: str) -> None:
    done = admin("users", "create", *words, "-o", "json")
    assert (done.code, done.out) == (2, "")
    assert done.error["code"] == code
    assert done.error["hint"]
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", words[0].strip().lower()) == []


def test_generated_password_is_not_for_ids(admin: Bazar) -> None:
    assert admin("users", "create", "i@example.com", "--generate-password", "-o", "ids").code == 2


@pytest.mark.parametrize(("size", "code"), [(5, 2), (6, 0), (72, 0), (73, 2)])
def test_password_of_so_many_bytes(admin: Bazar, people: People, unique_email: Email, size: int, code: int) -> None:
    email, password = unique_email("bytes"), "é" * (size // 2) + "x" * (size % 2)
    done = admin("users", "create", email, "--password-stdin", stdin=password + "\n")
    assert done.code == code
    assert password not in done.err + done.out
    if code == 0:
        assert people.signs_in(email, password)
    else:
        assert f"{size} bytes" in done.err
        assert people.identities(email) == []


def test_hash_is_taken_as_it_is(admin: Bazar, people: People, unique_email: Email) -> None:
    import bcrypt

    email = unique_email("hash")
    hashed = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
    admin("users", "create", email, "--password-hash-stdin", stdin=hashed).ok()
    assert people.signs_in(email, "correct horse")
    assert admin("users", "create", unique_email("h"), "--password-hash-stdin", stdin="$2b$nonsense").code == 2


def test_unknown_organization(admin: Bazar, people: People, unique_email: Email) -> None:
    email = unique_email("lost")
    done = admin("users", "create", email, "--org", "no-such-org", "-o", "json")
    assert (done.code, done.error["code"]) == (3, "orgs.not_found")
    assert people.identities(email) == []


def test_dry_run_writes_to_neither_system(admin: Bazar, people: People, unique_email: Email) -> None:
    email = unique_email("dry")
    done = admin("users", "create", email, "--dry-run", "-o", "json").ok()
    assert done.json["email"] == email
    # The id of the real run is another one: none is shown.
    assert (done.json["id"], done.json["created"]) == (None, True)
    assert "nothing was written" in done.err
    assert admin("users", "create", email, "-n", "-o", "ids").ok().out == ""
    assert {"id\t", "created\twould create"} < set(admin("users", "create", email, "-n").ok().out.splitlines())
    assert people.identities(email) == []
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []


def test_dry_run_of_an_unfinished_user_shows_the_id_that_stays(admin: Bazar, people: People) -> None:
    begun = people.user(pending=Pending.CREATE)
    assert admin("users", "create", begun.email, "-n", "-o", "ids").ok().out == f"{begun.id}\n"


def test_no_secret_in_any_output(admin: Bazar, unique_email: Email) -> None:
    secret = "a-rather-secret-word"
    done = admin("users", "create", unique_email("s"), "--password-stdin", "--debug", "-o", "json", stdin=secret).ok()
    for hidden in (secret, admin.environ["SUPABASE_KEY"], admin.environ["BAZAR_TOKEN"]):
        assert hidden not in done.out + done.err
