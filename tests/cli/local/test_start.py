"""`bazar local start`: one command from nothing to a signed-in superuser, as often as one likes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.devstack.credentials import DEFAULT_SUPERUSER
from tests.cli.local.conftest import GROUP, START, Shared, environment, parts, postmasters
from tests.support.cli import Bazar

pytestmark = GROUP
NEXT = "next: bazar users create grace@example.com --generate-password\n      bazar users list\n"


def test_two_starts_at_once_make_one_stack(shared: Shared) -> None:
    made, found = (done.json for done in shared.starts)
    assert list(made) == [
        *("supabase_url", "database", "superuser_email", "profile", "already_running", "migrated", "data_dir")
    ]
    assert (made["already_running"], found["already_running"]) == (False, True)
    assert made["migrated"] + found["migrated"] == len(revisions(script_location()))
    same = ("supabase_url", "database", "superuser_email", "profile", "data_dir")
    assert [made[name] for name in same] == [found[name] for name in same]
    assert (made["superuser_email"], made["profile"]) == (DEFAULT_SUPERUSER, "local")
    assert made["data_dir"] == str(shared.bazar.home / "data")
    assert "Creating a Postgres data folder" in shared.starts[0].err
    assert [done.err.endswith(NEXT) for done in shared.starts] == [True, True]
    assert postmasters(shared.bazar) == 1


def test_start_again_changes_nothing(local: Bazar) -> None:
    before = parts(local)
    done = local(*START).ok()
    assert (done.json["already_running"], done.json["migrated"], done.err) == (True, 0, NEXT)
    assert parts(local) == before
    assert postmasters(local) == 1
    quiet = local("local", "start", "--quiet").ok()
    assert quiet.err == ""
    assert "already_running\tyes\n" in quiet.out


def test_first_profile_is_active_and_signed_in(local: Bazar) -> None:
    (profile,) = local("config", "profiles", "list", "-o", "json").ok().json["items"]
    assert (profile["name"], profile["active"], profile["signed_in"]) == ("local", True, True)
    me = local("auth", "status", "-o", "json").ok().json
    assert (me["email"], me["plan"], me["is_superuser"]) == (DEFAULT_SUPERUSER, "premium", True)
    assert local("doctor").code == 0
    status = local("db", "status", "--check", "-o", "json").ok().json
    assert status["marker"] == {"environment": "local", "protected": False}


def test_proposed_command_works(local: Bazar) -> None:
    user = local("users", "create", "proposed@example.com", "--generate-password", "-o", "json").ok().json
    assert user["email"] in local("users", "list").ok().out
    signed_in = local("auth", "login", "--email", user["email"], "--password-stdin", stdin=user["password"])
    assert signed_in.code == 0
    assert local("users", "create", "denied@example.com").code == 5
    # A start signs in as the superuser again.
    local("local", "start").ok()
    assert local("users", "me", "-o", "json").ok().json["email"] == DEFAULT_SUPERUSER


def test_target_of_the_environment_comes_first_and_is_shown(local: Bazar) -> None:
    elsewhere = local.having(SUPABASE_URL="http://127.0.0.1:1")
    done = elsewhere("local", "start").ok()
    assert "bazar users list --profile local" in done.err


def test_files_are_private_and_arguments_hold_no_secret(local: Bazar) -> None:
    root: Path = local.home / "data"
    modes = {path: path.stat().st_mode & 0o777 for path in (root, *root.rglob("*")) if not path.is_socket()}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    values = environment(local)
    shown = subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert values["SUPABASE_KEY"] not in shown
    assert values["SUPERUSER_PASSWORD"] not in shown
