"""`bazar db seed`: one line of a script, what it says and asks, and whatever ends it half-way."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bazar_cli.domain.declared.shapes import FILE_BYTES
from bazar_cli.domain.declared.state import DeclaredState
from bazar_cli.domain.demo.data import DEMO
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.services.apply.workers import WORKERS
from tests.cli.db.conftest import On
from tests.support.auth_proxy import AuthProxy, Fault, auth_proxy, held_wire
from tests.support.cli import Bazar
from tests.support.demo import Demo, as_file, cast
from tests.support.people import People, Someone
from tests.support.waiting import sooner_than

Databases = Callable[..., str]
COUNTS = ("created", "taken_back", "completed", "existing", "differing", "failed")


@pytest.fixture
def demo(people: People) -> Demo:
    """What was made in this worker's own database."""
    root = people.superuser()
    people.identity(root)
    return Demo(people, root)


@pytest.fixture
def root(as_user: Callable[[Someone], Bazar], demo: Demo) -> Bazar:
    return as_user(demo.operator)


def file_of(root: Bazar, text: str) -> str:
    (root.folder("work") / "demo.json").write_text(text)
    return "demo.json"


def counts(said: dict[str, int]) -> list[int]:
    return [said[name] for name in COUNTS]


@pytest.mark.usefixtures("without_demo")
def test_demo_set_in_one_line_of_a_script_and_again(
    first: On, fresh_database: Databases, people: People, target: Target
) -> None:
    url = fresh_database()
    script = first(url).having(BAZAR_SEED_PASSWORD="demo-password")
    script("db", "migrate", "--env", "local", "--unprotected").ok()
    made = script("db", "seed", "--yes", "-o", "json").ok()
    assert counts(made.json) == [len(DEMO.users), 0, 0, 0, 0, 0]
    assert f"this creates 3 organizations and {len(DEMO.users)} users" in made.err
    assert [u["email"] for u in made.json["users"]] == [u.email for u in DEMO.users]
    with People(replace(target, database_url=Secret(url))) as here:
        (row,) = here.sql("SELECT id, email FROM bazar.users WHERE is_superuser")
        Demo(here, Someone(row["id"], row["email"])).assert_made(DEMO)
    assert people.signs_in(DEMO.users[0].email, "demo-password")
    assert "demo-password" not in made.out + made.err
    again = script("db", "seed").ok()
    assert again.err == "everything exists already; nothing was changed\n"
    assert "users\tolivia.hart@example.com: existing\n" in again.out
    assert script("db", "seed", "-o", "ids").ok().out.split() == [u["id"] for u in made.json["users"]]


def test_without_consent_it_says_what_it_would_do_and_how(root: Bazar, people: People) -> None:
    data = cast()
    words = ("db", "seed", "--file", file_of(root, as_file(data)), "--users", "2")
    before = people.everything()
    refused = root(*words, "-o", "json")
    assert (refused.code, refused.out, refused.error["code"]) == (10, "", "input.consent")
    assert refused.error["hint"] == "to do it: `bazar db seed --file demo.json --users 2 --yes`"
    assert refused.error["details"]["created"] == 6
    assert refused.error["details"]["new_organizations"] == [o.slug for o in data.organizations]
    foreseen = root(*words, "--dry-run", "-o", "json").ok()
    assert counts(foreseen.json) == [6, 0, 0, 0, 0, 0]
    assert foreseen.err == "dry run: nothing was written\n"
    assert people.everything() == before


def test_file_from_standard_input_and_its_differences(root: Bazar, people: People, demo: Demo) -> None:
    data = cast()
    someone = people.user(email=data.users[1].email)
    people.identity(someone)
    made = root("db", "seed", "--file", "-", "--yes", "-o", "json", stdin=as_file(data)).ok()
    assert counts(made.json) == [3, 0, 0, 0, 1, 0]
    told = f"warning: {someone.email} exists with other values and was not changed: another plan and organizations\n"
    assert told in made.err
    shown = root("db", "seed", "--file", "-", stdin=as_file(data)).ok()
    assert f"users\t{someone.email}: differs (another plan and organizations)\n" in shown.out
    assert root("db", "seed", "--file", "-", "-o", "ids", stdin=as_file(data)).ok().out.split() == [
        str(demo.ids(data)[user.email]) for user in data.users
    ]


def test_wrong_input_is_refused_before_any_connection(nobody: Bazar) -> None:
    bad: dict[str | bytes, tuple[tuple[str, ...], str]] = {
        '{"users": [{"email": "x", "plan": "gold"}]}': (("--file", "demo.json"), "seed.file_invalid"),
        "no json": (("--file", "demo.json"), "seed.file_unreadable"),
        b"\xff\xfe": (("--file", "demo.json"), "input.encoding"),
        "1": (("--file", ""), "usage.invalid_value"),
        "2": (("--file", "nowhere.json"), "files.unwritable"),
        "3": (("--file", "."), "files.unwritable"),
        "4": (("--file", "large.json"), "input.too_long"),
    }
    with (nobody.folder("work") / "large.json").open("wb") as large:
        large.truncate(FILE_BYTES + 1)
    for content, (words, code) in bad.items():
        (nobody.folder("work") / "demo.json").write_bytes(content if isinstance(content, bytes) else content.encode())
        refused = nobody("db", "seed", *words, "--yes", "-o", "json")
        assert (refused.code, refused.out, refused.error["code"]) == (2, "", code)
        assert refused.error["hint"]


def test_every_wrong_value_stands_on_a_line_of_its_own(nobody: Bazar) -> None:
    refused = nobody("db", "seed", "--file", "-", stdin='{"users": [{"email": "x", "plan": "gold"}]}')
    assert refused.code == 2
    said = (
        "error: standard input has 2 wrong values, and nothing was written\n  line 1 column 22: users[0].email: 'x' is"
    )
    assert said in refused.err
    rule = "users[0].plan: 'gold' is not valid; choose one of: free, plus, premium"
    assert f"\n  line 1 column 35: {rule}\nhint: " in refused.err


@pytest.mark.parametrize("protected", [True, None], ids=["protected", "unmarked"])
def test_protected_database_refuses_whatever_is_given(
    nobody: Bazar, fresh_database: Databases, protected: bool | None, target: Target
) -> None:
    with People(replace(target, database_url=Secret(fresh_database(migrated=True)))) as here:
        ruler = here.superuser()
        here.identity(ruler)
        script = nobody.on(here.target).having(BAZAR_TOKEN=here.access_token(ruler))
        here.sql("UPDATE bazar.deployment SET protected = true" if protected else "DELETE FROM bazar.deployment")
        before = here.everything()
        for words in ((), ("--dry-run",), ("--yes", "--quiet", "--no-input", "--users", "3")):
            refused = script("db", "seed", *words, "-o", "json")
            code = "db.protected" if protected else "db.unmarked"
            assert (refused.code, refused.out, refused.error["code"]) == (10, "", code), words
            assert "seeding is refused" in refused.error["message"]
        assert here.everything() == before


def test_what_supabase_refuses_of_one_user_ends_with_8(root: Bazar, target: Target, demo: Demo) -> None:
    data = cast()
    with auth_proxy(target) as proxy:
        proxy.add(Fault("POST", "/admin/users", status=422))
        done = root.on(proxy.target)("db", "seed", "--file", "-", "--yes", "-o", "json", stdin=as_file(data))
    assert done.code == 8
    assert counts(done.json) == [3, 0, 0, 0, 0, 1]
    failed = done.json["users"][0]
    assert (failed["id"], failed["outcome"]) == (None, "failed")
    assert f"warning: {data.users[0].email} was not created: Supabase Auth refused" in done.err
    again = root("db", "seed", "--file", "-", "--yes", "-o", "json", stdin=as_file(data)).ok()
    assert counts(again.json) == [1, 0, 0, 3, 0, 0]
    demo.assert_made(data)


# -- ended half-way -------------------------------------------------------------------------------------------------


@pytest.fixture
def company(demo: Demo) -> DeclaredState:
    """Data whose organizations and first users are there, and enough users to be made for all workers."""
    data = cast(size=WORKERS * 4)
    demo.seed(replace(data, users=data.users[:4]))
    return data


@contextmanager
def all_at_work(
    root: Bazar, target: Target, data: DeclaredState
) -> Generator[tuple[subprocess.Popen[bytes], AuthProxy]]:
    """Start a run and wait until each worker has asked for a user; Supabase made every other one, and answered none."""
    with auth_proxy(target) as proxy:
        holds = [proxy.hold("POST", "/admin/users", acts=place % 2 == 0) for place in range(WORKERS)]
        with root.on(proxy.target).start("db", "seed", "--file", file_of(root, as_file(data)), "--yes") as process:
            for hold in holds:
                assert hold.held is not None
                assert hold.held.wait(60)
            yield process, proxy


def run_again(root: Bazar, people: People, data: DeclaredState) -> dict[str, int]:
    people.leases_run_out()
    return root("db", "seed", "--file", file_of(root, as_file(data)), "--yes", "-o", "json").ok().json


def test_killed_with_several_at_once_it_is_finished_by_running_it_again(
    root: Bazar, target: Target, people: People, demo: Demo, company: DeclaredState
) -> None:
    with all_at_work(root, target, company) as (process, _):
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    rest = len(company.users) - 4 - WORKERS
    assert counts(run_again(root, people, company)) == [rest, 0, WORKERS, 4, 0, 0]
    demo.assert_made(company)
    assert counts(run_again(root, people, company)) == [0, 0, 0, len(company.users), 0, 0]


def test_ctrl_c_ends_it_after_the_changes_in_hand(
    root: Bazar, target: Target, people: People, demo: Demo, company: DeclaredState
) -> None:
    with all_at_work(root, target, company) as (process, proxy):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        proxy.heal()
        assert process.wait() == -signal.SIGINT
    # Whom Supabase made is settled; whom it did not make is left for the next run. Nobody else was begun.
    rows = people.sql("SELECT pending FROM bazar.users WHERE id = ANY(%s)", [*demo.ids(company).values()])
    assert [row["pending"] for row in rows].count("create") == WORKERS // 2
    assert len(rows) == 4 + WORKERS
    run_again(root, people, company)
    demo.assert_made(company)


def test_second_ctrl_c_ends_it_at_once(
    root: Bazar, target: Target, people: People, demo: Demo, company: DeclaredState
) -> None:
    with all_at_work(root, target, company) as (process, _):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        with sooner_than(8):  # the requests under way would end by their timeout of 10 s
            assert process.wait(60) == -signal.SIGINT
    run_again(root, people, company)
    demo.assert_made(company)


def test_ctrl_c_where_one_comes_after_the_other(root: Bazar, target: Target, demo: Demo) -> None:
    data = cast()
    words = ("db", "seed", "--file", file_of(root, as_file(data)), "--yes")
    with held_wire(target, "POST", "/admin/users", arrives=True) as wire, root.on(wire.target).start(*words) as process:
        assert wire.held.wait(60)
        process.send_signal(signal.SIGINT)
        wire.release.set()
        assert process.wait() == -signal.SIGINT
    (begun,) = demo.ids(data).values()
    (row,) = demo.people.sql("SELECT pending, lease_owner FROM bazar.users WHERE id = %s", begun)
    assert (row["pending"], row["lease_owner"]) == (None, None)
    root(*words).ok()
    demo.assert_made(data)


@pytest.mark.parametrize(
    ("method", "path", "arrives"),
    [("POST", "/admin/users", True), ("PUT", "/admin/users/", False)],
    ids=["created, and no answer", "not banned yet"],
)
def test_killed_between_the_systems_it_is_finished_by_running_it_again(
    root: Bazar, target: Target, people: People, demo: Demo, method: str, path: str, arrives: bool
) -> None:
    data = cast()
    words = ("db", "seed", "--file", file_of(root, as_file(data)), "--yes")
    with held_wire(target, method, path, arrives=arrives) as wire, root.on(wire.target).start(*words) as process:
        assert wire.held.wait(60)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    people.leases_run_out()
    done = root(*words, "-o", "json").ok().json
    assert done["completed"] == 1
    demo.assert_made(data)
