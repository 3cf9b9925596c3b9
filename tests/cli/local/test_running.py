"""`bazar local env`, `status`, `logs`, `mail` and `stop`, on a stack that runs."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from bazar_cli.devstack import processes
from tests.cli.local.conftest import GROUP, START, environment, parts
from tests.support.cli import Bazar

pytestmark = GROUP
NAMES = [
    *("SUPABASE_URL", "SUPABASE_KEY", "SUPABASE_ANON_KEY", "DATABASE_URL"),
    *("SUPERUSER_EMAIL", "SUPERUSER_PASSWORD"),
]


def test_env_prints_what_a_shell_evaluates(local: Bazar, tmp_path: Path) -> None:
    script = 'eval "$("$@" local env)" && printf "%s\\n" "$SUPABASE_URL" "$DATABASE_URL" && exec "$@" users me -o json'
    # Another configuration folder: nothing but the exports leads to the stack.
    environ = {**local.environment(), "BAZAR_CONFIG_DIR": str(tmp_path / "config")}
    done = subprocess.run(
        ["bash", "-c", script, "bash", *local.command()],
        env=environ,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    values = environment(local)
    supabase_url, database_url, me = done.stdout.split("\n", 2)
    assert (supabase_url, database_url) == (values["SUPABASE_URL"], values["DATABASE_URL"])
    assert json.loads(me)["email"] == values["SUPERUSER_EMAIL"]


def test_env_in_other_forms(local: Bazar) -> None:
    values = environment(local)
    assert list(values) == NAMES
    lines = local.having(BAZAR_OUTPUT="json")("local", "env").ok().out.splitlines()
    assert [shlex.split(line) for line in lines] == [["export", f"{name}={values[name]}"] for name in NAMES]
    one = local("local", "env", "--fields", "SUPABASE_URL", "-o", "csv").ok().out
    assert one == f"SUPABASE_URL\r\n{values['SUPABASE_URL']}\r\n"


def test_status(local: Bazar) -> None:
    found = parts(local)
    assert list(found) == ["postgres", "auth"]
    assert {part["state"] for part in found.values()} == {"running"}
    for part in found.values():
        assert list(part) == ["component", "state", "pid", "address", "since", "log"]
        assert processes.command_line(part["pid"])
        assert part["since"].endswith("Z")
        assert Path(part["log"]).is_file()
    assert found["auth"]["address"] == environment(local)["SUPABASE_URL"] + "/auth/v1"
    assert local("local", "status", "-o", "ids").ok().out == "postgres\nauth\n"


def test_logs(local: Bazar) -> None:
    postgres = local("local", "logs", "postgres").ok().out
    assert "database system is ready to accept connections" in postgres
    auth = local("local", "logs", "auth", "--lines", "1").ok().out
    assert auth.count("\n") == 1
    both = local("local", "logs", "--lines", "2").ok().out.splitlines()
    assert {line.partition(": ")[0] for line in both} == {"postgres", "auth"}
    values = environment(local)
    whole = local("local", "logs", "--lines", "1000").ok().out
    assert values["SUPABASE_KEY"] not in whole
    assert values["SUPERUSER_PASSWORD"] not in whole
    unknown = local("local", "logs", "gotrue", "-o", "json")
    assert (unknown.code, unknown.out, unknown.error["code"]) == (2, "", "local.unknown_component")
    assert "postgres, auth" in unknown.error["hint"]


def test_logs_go_on_until_interrupted(local: Bazar) -> None:
    log = Path(parts(local)["auth"]["log"])
    with local.start("local", "logs", "auth", "--lines", "1", "--follow") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # The last line so far says that the end of the log was found.
        assert process.stdout.readline()
        with log.open("a") as stream:
            stream.write("a line of later\n")
        assert process.stdout.readline() == b"a line of later\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
        assert process.stderr.read() == b""


def test_mail_is_kept(local: Bazar) -> None:
    address = "reader@example.com"
    local("users", "create", address, "--generate-password").ok()
    values = environment(local)
    asked = httpx.post(
        f"{values['SUPABASE_URL']}/auth/v1/recover",
        json={"email": address},
        headers={"apikey": values["SUPABASE_ANON_KEY"]},
        trust_env=False,
    )
    assert asked.status_code == httpx.codes.OK, asked.text
    mails = local("local", "mail", "-o", "json").ok().json["items"]
    (mail,) = [mail for mail in mails if mail["recipient"] == address]
    assert list(mail) == ["sent_at", "recipient", "kind", "code", "link"]
    assert (mail["kind"], len(mail["code"])) == ("recovery", 6)
    followed = httpx.get(mail["link"], follow_redirects=False, trust_env=False)
    assert followed.is_redirect
    assert "access_token=" in followed.headers["location"]


@pytest.fixture
def stopped(local: Bazar) -> Generator[Bazar]:
    """The shared stack stopped for one test, with one user more in it."""
    local("users", "create", "kept@example.com", "--if-not-exists").ok()
    try:
        ended = local("local", "stop", "-o", "json").ok().json
        assert ended == {"postgres": True, "auth": True, "data_deleted": False}
        yield local
    finally:
        local("local", "start").ok()


def test_stop_and_start_keeps_everything(stopped: Bazar) -> None:
    assert {part["state"] for part in parts(stopped).values()} == {"stopped"}
    read = stopped("users", "list", "-o", "json")
    assert (read.code, read.out, read.error["code"]) == (7, "", "postgres.unavailable")
    assert "bazar local start" in read.error["hint"]
    write = stopped("users", "create", "late@example.com")
    assert write.code == 7
    assert "bazar local start" in write.err
    for words in (("env",), ("mail",)):
        done = stopped("local", *words, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (7, "", "local.not_running")
        assert "bazar local start" in done.error["hint"]
    again = stopped("local", "stop", "-o", "json").ok().json
    assert (again["postgres"], again["auth"]) == (False, False)
    url = stopped("config", "profiles", "list", "-o", "json").ok().json["items"][0]["supabase_url"]
    started = stopped(*START).ok()
    assert (started.json["already_running"], started.json["migrated"]) == (False, 0)
    assert started.json["supabase_url"] == url
    stopped("users", "get", "kept@example.com").ok()
