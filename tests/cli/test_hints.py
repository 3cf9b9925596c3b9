"""A command that a hint tells people to run is for the target of the command that they ran."""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.domain.entities import Pending, Role, UserState
from bazar_cli.terminal.hints import with_target
from tests.cli.auth.support import let_it_end_soon, session_file, sign_in
from tests.support.cli import Bazar, Done
from tests.support.people import Org, People, Someone

TARGET = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")


@pytest.fixture
def elsewhere(signed_out: Bazar) -> Bazar:
    """`bazar` where an unreachable target is the active one, and the real one only has names."""
    values = {name: signed_out.environ[name] for name in TARGET}
    profiles = Profiles(signed_out.environment())
    closed = {**values, "SUPABASE_URL": "http://127.0.0.1:1", "DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}
    profiles.save("active", closed, activate=True)
    profiles.save("prod", values, activate=False)
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    (signed_out.folder("work") / "my target.env").write_text(text)
    return signed_out.lacking(*TARGET)


FLAGS = pytest.mark.parametrize(
    "flag", [("--profile", "prod"), ("--env-file", "my target.env")], ids=["profile", "file"]
)


def told(done: Done) -> list[str]:
    """The words of the first command in the hint."""
    return shlex.split(done.error["hint"].split("`")[1])


@FLAGS
def test_consent_hint_names_the_complete_command(elsewhere: Bazar, people: People, flag: tuple[str, str]) -> None:
    root, someone = people.superuser(), people.user()
    people.identity(root)
    bazar = elsewhere.having(BAZAR_TOKEN=people.access_token(root))
    refused = bazar("users", "delete", someone.email, *flag, "-o", "json")
    assert refused.code == 10
    assert told(refused) == ["bazar", "users", "delete", someone.email, "--confirm", someone.email, *flag]
    bazar(*told(refused)[1:]).ok()
    assert people.row(someone) is None


@FLAGS
def test_a_fix_that_needs_consent(elsewhere: Bazar, people: People, flag: tuple[str, str]) -> None:
    root, someone = people.superuser(), people.user()
    people.identity(root)
    people.sql("UPDATE bazar.users SET pending = 'delete' WHERE id = %s", someone.id)
    bazar = elsewhere.having(BAZAR_TOKEN=people.access_token(root))
    refused = bazar("doctor", "--fix", *flag, "-o", "json")
    assert refused.code == 10
    assert told(refused) == ["bazar", "doctor", "--fix", "--yes", *flag]
    bazar(*told(refused)[1:])
    assert people.row(someone) is None


@FLAGS
def test_what_would_change_a_decision(elsewhere: Bazar, people: People, flag: tuple[str, str]) -> None:
    member = people.user()
    people.identity(member)
    bazar = elsewhere.having(BAZAR_TOKEN=people.access_token(member))
    changes = bazar("plans", "explain", "users:create", *flag, "-o", "json").ok().json["changes"]
    assert changes[0].startswith(f"`bazar plans assign {member.email} premium {shlex.join(flag)}` (")


@FLAGS
def test_signing_in_here(elsewhere: Bazar, people: People, flag: tuple[str, str]) -> None:
    member = people.user()
    people.identity(member)
    asked = ["bazar", "auth", "login", *flag]
    assert told(elsewhere("users", "me", *flag, "-o", "json")) == asked
    sign_in(elsewhere, member, *flag).ok()
    kept = session_file(elsewhere).read_text()
    let_it_end_soon(elsewhere, -5)
    session_file(elsewhere).write_text(
        session_file(elsewhere).read_text().replace('"refresh_token": "', '"refresh_token": "x')
    )
    ended = elsewhere("users", "me", *flag, "-o", "json")
    assert (ended.error["code"], told(ended)) == ("auth.session_expired", asked)
    session_file(elsewhere).write_text(kept[:-1])
    broken = elsewhere("users", "me", *flag, "-o", "json")
    assert (broken.error["code"], told(broken)) == ("auth.session_unreadable", asked)
    doctor = elsewhere("doctor", *flag, "-o", "json").json["items"]
    (remedy,) = (check["remedy"] for check in doctor if check["check"] == "session")
    assert shlex.join(flag) in remedy


# -- values that begin with a hyphen ----------------------------------------------------------------------

HERE = ("--env-file", "my target.env")
JSON = ("-o", "json")


@dataclass(frozen=True)
class Hyphen:
    """`bazar` of a superuser for users whose addresses begin like an option, and what it tells people to run."""

    bazar: Bazar
    people: People
    org: Org
    an_address: Callable[[str], str]

    def address(self) -> str:
        """An address of nobody yet, which begins like `-ojson`."""
        return f"-ojson{self.an_address('x')}"

    def user(self, **values: Any) -> Someone:
        """A user as `People.user` makes one, with an identity that bears the stamp."""
        someone = self.people.user(email=self.address(), **values)
        [row] = self.people.sql("SELECT id FROM bazar.deployment")
        self.people.identity(someone, app_metadata={"bazar": {"deployment": str(row["id"]), "origin": "created"}})
        return someone

    def __call__(self, *words: str) -> Done:
        """Run a command on the target that only a file names."""
        options = words.index("--") if "--" in words else len(words)
        return self.bazar(*words[:options], *HERE, *JSON, *words[options:])

    def run(self, text: str, which: int = 0) -> Done:
        """Run a command that a text tells people to run, by default its first."""
        words = shlex.split(text.split("`")[1 + 2 * which])
        return self.bazar(*words[1:])


@pytest.fixture
def hyphen(elsewhere: Bazar, people: People, unique_email: Callable[[str], str]) -> Hyphen:
    root = people.superuser()
    people.identity(root)
    return Hyphen(elsewhere.having(BAZAR_TOKEN=people.access_token(root)), people, people.org(), unique_email)


def test_creation_that_finds_another_one(hyphen: Hyphen) -> None:
    email = hyphen.address()
    hyphen("users", "create", "--", email).ok()
    there = hyphen("users", "create", "--name", "Other", "--if-not-exists", "--", email)
    assert there.error["code"] == "users.differs"
    assert email in hyphen.run(there.error["hint"]).ok().out
    mistyped = hyphen("users", "get", f"-{email}")
    assert (mistyped.code, "after `--`" in mistyped.error["hint"]) == (2, True)


@pytest.mark.parametrize("verb", ["delete", "promote", "demote"])
def test_confirmation(hyphen: Hyphen, verb: str) -> None:
    someone = hyphen.user(superuser=verb == "demote")
    refused = hyphen("users", verb, "--", someone.email)
    assert refused.error["code"] == "users.confirm_mismatch"
    hyphen.run(refused.error["hint"]).ok()
    row = hyphen.people.row(someone)
    assert row is None if verb == "delete" else (row or {})["is_superuser"] is (verb == "promote")


def test_suspension_and_its_effects(hyphen: Hyphen) -> None:
    someone = hyphen.user()
    refused = hyphen("users", "suspend", "--reason", "-- left", "--", someone.email)
    hyphen.run(refused.error["hint"]).ok()
    assert (hyphen.people.row(someone) or {})["state"] == "suspended"
    refused = hyphen("users", "reset-password", "--", someone.email)
    assert refused.error["code"] == "users.suspended"
    hyphen.run(refused.error["hint"]).ok()
    assert (hyphen.people.row(someone) or {})["state"] == "active"


def test_membership(hyphen: Hyphen) -> None:
    someone, org = hyphen.user(), hyphen.org.slug
    absent = hyphen("orgs", "members", "update", "--role", "admin", "--", org, someone.email)
    assert absent.error["code"] == "members.not_found"
    hyphen.run(absent.error["hint"]).ok()
    other = hyphen("orgs", "members", "add", "--role", "member", "--", org, someone.email)
    assert other.error["code"] == "members.differs"
    hyphen.run(other.error["hint"]).ok()
    refused = hyphen("orgs", "members", "remove", "--", org, someone.email)
    assert refused.error["code"] == "input.consent"
    hyphen.run(refused.error["hint"]).ok()
    assert hyphen.people.sql("SELECT 1 FROM bazar.memberships WHERE user_id = %s", someone.id) == []


def test_plans(hyphen: Hyphen) -> None:
    someone = hyphen.user()
    signed_in = replace(hyphen, bazar=hyphen.bazar.having(BAZAR_TOKEN=hyphen.people.access_token(someone)))
    told = signed_in("users", "create", "ada@example.com")
    assert told.error["code"] == "access.plan"
    hyphen.run(told.error["hint"]).ok()
    assert (hyphen.people.row(someone) or {})["plan"] == "premium"
    refused = hyphen("plans", "assign", "--", someone.email, "free")
    hyphen.run(refused.error["hint"]).ok()
    assert (hyphen.people.row(someone) or {})["plan"] == "free"
    promoted = hyphen("users", "promote", f"--confirm={someone.email}", "--", someone.email).ok()
    hyphen.run(promoted.err).ok()
    assert (hyphen.people.row(someone) or {})["plan"] == "premium"


def test_hint_that_would_change_the_decision_about_another_user(hyphen: Hyphen) -> None:
    suspended = hyphen.user(state=UserState.SUSPENDED)
    member = hyphen.user(roles={hyphen.org: Role.MEMBER})
    stranger = hyphen.user()
    asked = (
        (suspended, "users:create", ("state",)),
        (member, "members:manage", ("plan", "role")),
        (stranger, "members:manage", ("plan", "organization", "role")),
        (stranger, "plans:manage", ("superuser",)),
    )
    for someone, permission, steps in asked:
        words = ("plans", "explain", f"--user={someone.email}", "--org", hyphen.org.slug, permission)
        explained = hyphen(*words).ok().json
        assert set(steps) <= {step["step"] for step in explained["steps"] if not step["ok"]}
        for change in explained["changes"]:
            if "plans grant" not in change:
                hyphen.run(change).ok()
        left = hyphen(*words).ok().json
        assert [s["step"] for s in left["steps"] if not s["ok"] and s["step"] != "plan"] == []


@pytest.mark.parametrize("pending", list(Pending))
def test_change_that_is_under_way(hyphen: Hyphen, pending: Pending) -> None:
    someone = hyphen.user(pending=pending)
    other = "promote" if pending is not Pending.EMAIL else "suspend"
    confirm = f"--confirm={someone.email}" if other == "promote" else "--reason=x"
    stopped = hyphen("users", other, confirm, "--", someone.email)
    assert stopped.error["code"] == "users.pending"
    hyphen.run(stopped.error["hint"]).ok()
    row = hyphen.people.row(someone)
    assert row is None if pending is Pending.DELETE else (row or {})["pending"] is None


def test_identity_that_lives_only_at_supabase(hyphen: Hyphen) -> None:
    someone = Someone(uuid.uuid4(), hyphen.address())
    hyphen.people.identity(someone, confirmed=False)
    hyphen.people.ban(someone)
    taken = hyphen("users", "create", "--", someone.email)
    assert taken.error["code"] == "users.email_at_supabase"
    adopted = hyphen.run(taken.error["hint"]).ok()
    for which in (0, 1):
        hyphen.run(adopted.err, which).ok()


def test_identity_that_is_gone_or_has_another_address(hyphen: Hyphen) -> None:
    gone, moved = hyphen.people.user(email=hyphen.address()), hyphen.user()
    missing = hyphen("users", "reset-password", "--", gone.email)
    assert missing.error["code"] == "users.identity_missing"
    hyphen.run(missing.error["hint"]).ok()
    hyphen.run(missing.error["hint"], 1).ok()
    [made] = hyphen.people.identities(gone.email)
    assert made["id"] != gone.id
    body = {"email": hyphen.address(), "email_confirm": True}
    hyphen.people.auth("PUT", f"/admin/users/{moved.id}", body).raise_for_status()
    differs = hyphen("users", "reset-password", "--", moved.email)
    assert differs.error["code"] == "users.email_differs"
    hyphen.run(differs.error["hint"]).ok()
    assert [found["id"] for found in hyphen.people.identities(moved.email)] == [moved.id]


def test_organization_whose_slug_is_taken(hyphen: Hyphen) -> None:
    owner = hyphen.user()
    words = ("orgs", "create", "--slug", hyphen.org.slug, f"--owner={owner.email}", "--", "-- Ltd")
    taken = hyphen(*words)
    assert taken.error["code"] == "orgs.slug_exists"
    hyphen.run(taken.error["hint"]).ok()
    [made] = hyphen.people.sql("SELECT name FROM bazar.organizations WHERE slug = %s", f"{hyphen.org.slug}-2")
    assert made["name"] == "-- Ltd"


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ("--profile X users list", "bazar users list --profile X"),
        (
            "-q --env-file=a.env users get ada@example.com -o json",
            "bazar users get -q --env-file=a.env ada@example.com -o json",
        ),
        ("users -o json list", "bazar users list -o json"),
    ],
)
def test_option_before_the_command_is_shown_in_its_place(nobody: Bazar, words: str, right: str) -> None:
    done = nobody(*words.split())
    assert done.code == 2
    said = done.error["hint"] if "-o json" in words else done.err
    assert f"write it after the command: `{right}`" in said


@pytest.mark.parametrize("words", ["--profile", "--frob users list", "--profile X usres list", "--profile users list"])
def test_option_before_an_unknown_word_gets_the_general_hint(nobody: Bazar, words: str) -> None:
    done = nobody(*words.split())
    assert (done.code, "options come after the command" in done.err) == (2, True)


@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_env_file_of_another_program_that_is_half_a_target(nobody: Bazar, named: bool) -> None:
    (nobody.folder("work") / ".env").write_text("DATABASE_URL=postgresql://blog@127.0.0.1/blog\n")
    done = nobody("users", "list", "-o", "json", *(("--env-file", ".env") if named else ()))
    assert (done.code, done.error["code"]) == (2, "target.incomplete")
    # Whoever named the file knows whose it is.
    assert ("name yours with --profile or --env-file" in done.error["hint"]) == (not named)


def test_hint_without_a_target_or_with_one_is_unchanged() -> None:
    for text in (
        "`bazar local start`",
        "`bazar config profiles list`",
        "`bazar help environment`",
        "`bazar users list --help`",
        "`bazar auth login --profile other`",
        "`bazar nonsense`",
    ):
        assert with_target(text, "prod", None) == text
    assert with_target("`bazar doctor`", None, None) == "`bazar doctor`"
    assert with_target("`bazar config show`", "prod", None) == "`bazar config show --profile prod`"
