"""`bazar diff` and `bazar apply`: what they show, ask and answer."""

from __future__ import annotations

import secrets
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.target import Target
from tests.cli.auth.support import Terminal
from tests.support.auth_proxy import held_wire
from tests.support.cli import Bazar
from tests.support.people import RUN, Org, People, Someone

pytestmark = pytest.mark.live

NOT_BEGUN = "2 changes, 1 not begun"


@dataclass(frozen=True)
class Company:
    """An organization with its owner and a member."""

    org: Org
    owner: Someone
    member: Someone

    def file(self, **of_member: str) -> str:
        """Return a file that declares the owner, and the member with these values."""
        values = "".join(f", {key}: {value}" for key, value in of_member.items())
        return (
            f"organizations:\n  - {{slug: {self.org.slug}, members: [{{email: {self.owner.email}}}]}}\n"
            f"users:\n  - {{email: {self.member.email}{values}}}\n"
        )


@pytest.fixture
def company(people: People) -> Company:
    org = people.org(name="Acme")
    owner, member = (people.user({org: role}, name="Ada") for role in (Role.OWNER, Role.MEMBER))
    for someone in (owner, member):
        people.identity(someone)
    return Company(org, owner, member)


def rows(people: People, company: Company) -> list[object]:
    """Return the rows of the company, to compare before and after."""
    members = people.sql("SELECT * FROM bazar.memberships WHERE organization_id = %s ORDER BY user_id", company.org.id)
    return [people.row(company.owner), people.row(company.member), *members]


def write(bazar: Bazar, text: str) -> str:
    (bazar.folder("work") / "state.yaml").write_text(text)
    return "state.yaml"


def test_diff_shows_changes_and_members_who_are_not_in_the_file(admin: Bazar, people: People, company: Company) -> None:
    before = rows(people, company)
    file = write(admin, company.file(name="Bob"))
    shown = admin("diff", "-f", file)
    assert (shown.code, shown.err) == (9, "")
    member, slug = company.member.email, company.org.slug
    assert shown.out == (
        f"~ user {member}: name Ada -> Bob\n? member {member} of {slug}: role member (not in the file)\n1 change\n"
    )
    found = admin("diff", "-f", "-", "-o", "json", stdin=company.file(name="Bob"))
    assert found.code == 9
    assert found.json["changes"] == [
        {
            "use_case": "users.update",
            "organization": None,
            "user": member,
            "plan": None,
            "before": {"name": "Ada"},
            "after": {"name": "Bob"},
            "outcome": "planned",
            "code": None,
            "message": None,
        }
    ]
    assert found.json["not_in_file"] == [{"organization": slug, "user": member, "role": "member"}]
    assert found.json["changed"] is False
    same = admin("diff", "-f", write(admin, company.file(name="Ada")))
    assert (same.code, same.out.splitlines()[-1]) == (0, "no changes")
    assert rows(people, company) == before


def test_without_consent_it_shows_the_changes_and_the_command(admin: Bazar, people: People, company: Company) -> None:
    file = write(admin, company.file(name="Bob", state="suspended"))
    before = rows(people, company)
    refused = admin("apply", "-f", file, "--prune", "--max-delete", "50%", "-o", "json")
    assert (refused.code, refused.out, refused.error["code"]) == (10, "", "input.consent")
    assert refused.error["hint"] == "to do it: `bazar apply --file state.yaml --prune --max-delete 50% --yes`"
    assert refused.error["details"]["changes"] == 3
    assert refused.error["details"]["takes_away"] == 2
    assert f"~ user {company.member.email}: state active -> suspended\n" in refused.err
    foreseen = admin("apply", "-f", file, "--dry-run", "-o", "json").ok()
    assert foreseen.err == "dry run: nothing was written\n"
    assert (foreseen.json["dry_run"], foreseen.json["changed"], len(foreseen.json["changes"])) == (True, False, 2)
    assert rows(people, company) == before


def test_yes_makes_the_changes_and_a_second_run_none(admin: Bazar, people: People, company: Company) -> None:
    file = write(admin, company.file(name="Bob", plan="plus"))
    done = admin("apply", "-f", file, "--yes", "-o", "json").ok()
    assert [change["outcome"] for change in done.json["changes"]] == ["done", "done"]
    assert done.json["changed"] is True
    assert "dry_run" not in done.json
    assert (people.row(company.member) or {})["name"] == "Bob"
    again = admin("apply", "-f", file, "-o", "json").ok()
    assert (again.json["changes"], again.json["changed"], again.err) == ([], False, "")


def test_answer_at_a_terminal_decides(admin: Bazar, people: People, company: Company) -> None:
    file = write(admin, company.file(name="Bob"))
    for typed, code, name in (("n", 10, "Ada"), ("y", 0, "Bob")):
        with Terminal(admin, "apply", "-f", file) as terminal:
            terminal.answer("1 change. Make these changes? [y/N] ", typed)
            assert terminal.end() == code
        assert f"user {company.member.email}: name Ada -> Bob" in terminal.seen
        assert (people.row(company.member) or {})["name"] == name


@pytest.mark.parametrize("command", [("diff",), ("apply", "--dry-run")], ids=["diff", "apply"])
def test_colours_follow_the_signs_and_data_is_escaped(
    admin: Bazar, people: People, company: Company, command: tuple[str, ...]
) -> None:
    people.sql("UPDATE bazar.users SET name = %s WHERE id = %s", "\x1b[31mred", company.member.id)
    file = write(admin, company.file(name="Bob"))
    drawn = admin.having(CLICOLOR_FORCE="1", NO_COLOR="")(*command, "-f", file).out.splitlines()
    line = f"~ user {company.member.email}: name \\x1b[31mred -> Bob"
    assert drawn[0] == f"\x1b[33m{line}\x1b[0m"
    assert drawn[1].startswith("\x1b[36m? member")
    plain = admin.having(CLICOLOR_FORCE="1", NO_COLOR="1")(*command, "-f", file).out.splitlines()
    assert plain[0] == line


def test_plan_is_private_and_applied_once(admin: Bazar, people: People, company: Company) -> None:
    file = write(admin, company.file(name="Bob"))
    made = admin("diff", "-f", file, "--out", "plan.json", "-o", "json")
    assert (made.code, made.err) == (9, "")
    assert made.json["plan_file"] == "plan.json"
    path = admin.folder("work") / "plan.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    taken = admin("diff", "-f", file, "--out", "plan.json", "-o", "json")
    assert (taken.code, taken.error["code"]) == (6, "files.exists")
    assert taken.error["hint"] == "choose another file for --out, or add --overwrite"
    assert admin("diff", "-f", file, "--out", "plan.json", "--overwrite").out.endswith("the plan is in plan.json\n")
    own = admin("diff", "-f", file, "--out", file, "--overwrite", "-o", "json")
    assert (own.code, own.error["code"]) == (2, "usage.invalid_value")
    asked = admin("apply", "plan.json", "-o", "json")
    assert (asked.code, asked.error["hint"]) == (10, "to do it: `bazar apply plan.json --yes`")
    admin("apply", "plan.json", "--yes").ok()
    stale = admin("apply", "plan.json", "--yes", "-o", "json")
    assert (stale.code, stale.error["code"]) == (6, "apply.plan_stale")
    assert stale.error["details"]["rows"] == [{"kind": "user", "name": company.member.email}]


def test_change_that_fails_ends_with_8_and_the_others_are_made(admin: Bazar, people: People, company: Company) -> None:
    owner = f"  - {{email: {company.owner.email}, state: suspended}}\n"
    done = admin("apply", "-f", write(admin, company.file(name="Bob") + owner), "--yes")
    assert done.code == 8
    assert (
        f"~ user {company.owner.email}: state active -> suspended (failed: {company.owner.email} is the last active"
        f" owner of {company.org.slug})\n"
    ) in done.out
    assert done.out.endswith("\n2 changes, 1 of which failed\n")
    assert (people.row(company.member) or {})["name"] == "Bob"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_run_that_a_signal_ends_shows_what_was_done(
    admin: Bazar, people: People, target: Target, unique_email: Callable[[str], str], number: signal.Signals
) -> None:
    first, second = unique_email("first"), unique_email("second")
    file = write(admin, f"users:\n  - {{email: {first}}}\n  - {{email: {second}}}\n")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        admin.on(wire.target).start("apply", "-f", file, "--yes") as process,
    ):
        assert wire.held.wait(60)
        process.send_signal(number)
        wire.release.set()
        out, err = (text.decode() for text in process.communicate())
    assert process.returncode == -number
    assert out == f"+ user {first}: plan free\n+ user {second}: plan free (not begun)\n{NOT_BEGUN}\n"
    assert "1 change of 2 not begun: run the same command again\n" in err
    rows = people.sql("SELECT email, pending FROM bazar.users WHERE email IN (%s, %s)", first, second)
    assert rows == [{"email": first, "pending": None}]
    admin("apply", "-f", file, "--yes").ok()


def test_more_than_the_limit_is_refused(admin: Bazar, people: People, company: Company) -> None:
    file = write(admin, company.file())
    before = rows(people, company)
    refused = admin("apply", "-f", file, "--prune", "--max-delete", "0", "--yes")
    assert refused.code == 10
    assert f"\n  - member {company.member.email} of {company.org.slug}: role member\n" in refused.err
    assert "--max-delete" in refused.err.splitlines()[-1]
    assert rows(people, company) == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("apply",), "usage.missing"),
        (("diff",), "usage.missing"),
        (("apply", "-f", ""), "usage.invalid_value"),
        (("diff", "-f", "state.yaml", "--out", ""), "usage.invalid_value"),
        (("apply", "-f", "state.yaml", "--prune"), "apply.prune_unbounded"),
        (("diff", "-f", "state.yaml", "--max-delete", "many"), "apply.max_delete_invalid"),
        (("apply", "plan.json", "-f", "state.yaml"), "usage.invalid_value"),
        (("apply", "plan.json", "--max-delete", "1"), "usage.invalid_value"),
        (("apply", "nowhere.json"), "apply.plan_unreadable"),
        (("apply", ""), "apply.plan_unreadable"),
        (("apply", "-f", "nowhere.yaml"), "files.unwritable"),
        (("apply", "-f", "wrong.yaml"), "apply.file_invalid"),
        (("apply", "-f", "broken.yaml"), "apply.file_unreadable"),
        (("apply", "-f", "bytes.yaml"), "input.encoding"),
    ],
    ids=str,
)
def test_wrong_input_is_refused_before_any_connection(nobody: Bazar, words: tuple[str, ...], code: str) -> None:
    folder = nobody.folder("work")
    (folder / "state.yaml").write_text("users: []\n")
    (folder / "wrong.yaml").write_text("users:\n  - email: x\n")
    (folder / "broken.yaml").write_text("users: [\n")
    (folder / "bytes.yaml").write_bytes(b"\xff\xfe")
    refused = nobody(*words, "-o", "json")
    assert (refused.code, refused.out, refused.error["code"]) == (2, "", code)
    assert refused.error["hint"]


def test_findings_stand_on_lines_with_their_places(nobody: Bazar) -> None:
    refused = nobody("diff", "-f", "-", stdin="users:\n  - email: x\n    plan: gold\n")
    assert refused.code == 2
    assert refused.err.splitlines()[0] == "error: standard input has 2 wrong values, and nothing was written"
    assert refused.err.splitlines()[1].startswith("  line 2 column 12: users[0].email: 'x' is not")
    assert refused.err.splitlines()[2].startswith("  line 3 column 11: users[0].plan: 'gold' is not valid")


def test_new_organization_belongs_to_an_operator_without_the_platform(
    as_user: Callable[[Someone], Bazar], people: People
) -> None:
    someone, slug = people.user(plan=Plan.PREMIUM), f"org-{RUN}-{secrets.token_hex(5)}"
    bazar = as_user(someone)
    file = write(bazar, f"organizations: [{{slug: {slug}, name: Mine, members: [{{email: {someone.email}}}]}}]\n")
    bazar("apply", "-f", file, "--yes").ok()
    assert bazar("diff", "-f", file).code == 0
    assert bazar("orgs", "members", "list", slug, "-o", "json").ok().json["items"][0]["role"] == "owner"
