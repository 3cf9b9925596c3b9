"""`bazar batch`: each line runs and is checked as a command, and has one result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.target import Target
from tests.support.auth_proxy import held_wire
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone
from tests.support.processes import children, runs
from tests.support.waiting import poll

Email = Callable[[str], str]


def results(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()]


def codes(done: Done) -> list[tuple[int, int]]:
    return [(result["line"], result["exit_code"]) for result in results(done)]


def test_each_line_has_its_result(admin: Bazar, people: People, unique_email: Email) -> None:
    email, someone = unique_email("ada"), people.user()
    (admin.folder("work") / "commands.txt").write_text(
        f"# two users\nbazar users create {email} --name 'Ada L'  # new\nusers get {someone.id} -o ids\n"
        f"users get {someone.email} --fields plan --profile nowhere\n"
    )
    done = admin("batch", "commands.txt")
    created, found, failed = results(done)
    assert (done.code, codes(done)) == (8, [(2, 0), (3, 0), (4, 2)])
    assert list(created) == ["line", "command", "exit_code", "output", "error", "messages"]
    assert (created["output"]["email"], created["output"]["name"], created["error"]) == (email, "Ada L", None)
    assert found["output"] == f"{someone.id}\n"
    assert (failed["output"], failed["error"]["code"]) == (None, "target.unknown_profile")
    assert "1 of 3 lines failed" in done.err
    assert admin("users", "get", email, "-o", "json").ok().json["id"] == created["output"]["id"]


def test_the_first_failure_stops_unless_told_otherwise(admin: Bazar) -> None:
    lines = "users me\nusers get nobody@nowhere.test\nusers me\n"
    stopped = admin("batch", "-", stdin=lines)
    assert (stopped.code, codes(stopped)) == (8, [(1, 0), (2, 3)])
    assert "no other line was begun" in stopped.err
    assert results(stopped)[1]["error"]["code"] == "users.not_found"
    whole = admin("batch", "-", "--keep-going", "--jobs", "2", stdin=lines)
    assert (whole.code, sorted(codes(whole))) == (8, [(1, 0), (2, 3), (3, 0)])


def test_a_file_with_a_line_that_is_no_command_runs_nothing(admin: Bazar, unique_email: Email) -> None:
    email = unique_email("early")
    (admin.folder("work") / "commands.txt").write_text(f"users create {email}\nusers frob\nauth logout\n")
    done = admin.having(BAZAR_OUTPUT="json")("batch", "commands.txt")
    assert (done.code, done.out, done.error["code"]) == (2, "", "batch.line_invalid")
    assert [found["line"] for found in done.error["details"]["lines"]] == [2, 3]
    assert admin("users", "get", email).code == 3


def test_a_file_with_arguments_that_a_command_does_not_take_runs_nothing(nobody: Bazar) -> None:
    lines = {
        "users create a@example.com --plan gold": "--plan cannot be 'gold': choose one of: free, plus, premium",
        "users get": "`bazar users get` needs USER",
        "users list --limit ten": "--limit cannot be 'ten': it is not a whole number",
        "users create b@example.com --password hunter2hunter2": "`bazar users create` has no option --password",
        "users get a@example.com --password-stdin hunter2hunter2": "`bazar users get` has no option --password-stdin",
        "users create b@example.com --password-stdin hunter2hunter2": "`bazar users create` takes no more arguments"
        " (***)",
        "users create --help": None,
        "users me": None,
    }
    (nobody.folder("work") / "commands.txt").write_text("\n".join(lines))
    done = nobody("batch", "commands.txt")
    assert (done.code, done.out) == (2, "")
    found = [f"  line {number}: {text}" for number, text in enumerate(lines.values(), start=1) if text]
    assert done.err.splitlines()[:-1] == ["error: 6 lines cannot be run, so no line was run", *found]


def test_a_mistyped_password_is_in_no_result(nobody: Bazar) -> None:
    lines = "users create a@example.com --password hunter2hunter2\nusers get x --password-stdin hunter2hunter2\n"
    with nobody.start("batch", "-", "--keep-going", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(lines.encode())
    done = Done(process.returncode, out.decode(), err.decode())
    assert [result["command"] for result in results(done)] == [
        "users create a@example.com --password ***",
        "users get x --password-stdin ***",
    ]
    assert "hunter2" not in done.out + done.err


def test_a_line_of_a_pipe_that_is_no_command_fails_alone(admin: Bazar) -> None:
    with admin.start("batch", "-", "--keep-going", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(b"auth logout\nusers me\n")
    done = Done(process.returncode, out.decode(), err.decode())
    assert (done.code, codes(done)) == (8, [(1, 2), (2, 0)])
    error = results(done)[0]["error"]
    assert (error["code"], error["exit_code"]) == ("batch.line_invalid", 2)
    assert len(error["request_id"]) == 32


def test_a_result_is_written_before_the_next_line_comes(admin: Bazar) -> None:
    with admin.start("batch", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in (1, 2):
            process.stdin.write(b"users me\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["line"] == number
        process.stdin.close()
    assert process.returncode == 0


def test_the_operator_is_checked_for_every_line(
    admin: Bazar, as_user: Callable[[Someone], Bazar], people: People
) -> None:
    ruler = people.superuser()
    done = as_user(ruler)(
        "batch",
        "-",
        "--keep-going",
        stdin=f"plans assign {ruler.id} free --yes\nplans usage\nplans matrix\naudit list\n",
    )
    other = people.user(plan=Plan.PREMIUM)
    assert [code for _, code in codes(done)] == [0, 0, 0, 5], done.out
    assert results(done)[3]["error"]["code"] == "access.plan"
    org = people.org()
    member = people.user({org: Role.ADMIN}, plan=Plan.PREMIUM)
    lines = f"users get {other.id}\nusers update {other.id} --name X\norgs get {org.slug}\n"
    limited = as_user(member)("batch", "-", "--keep-going", stdin=lines)
    assert codes(limited) == [(1, 3), (2, 3), (3, 0)]


def test_no_line_reads_standard_input_or_asks(admin: Bazar, unique_email: Email, people: People) -> None:
    someone = people.user()
    lines = f"users create {unique_email('x')} --password-stdin\nusers suspend {someone.id} --reason x\nusers me\n"
    done = admin("batch", "-", "--keep-going", stdin=lines)
    assert codes(done) == [(1, 2), (2, 10), (3, 0)]


def test_options_of_the_batch_are_those_of_its_lines(admin: Bazar, people: People) -> None:
    someone = people.user()
    done = admin(
        "batch",
        "-",
        "--yes",
        "--log-file",
        "log",
        "--log-format",
        "json",
        stdin=f"plans assign {someone.id} plus\nplans assign {someone.id} free\n",
    )
    assert (done.code, codes(done)) == (0, [(1, 0), (2, 0)])
    logged = [json.loads(line) for line in (admin.folder("work") / "log").read_text().splitlines()]
    assert [r["message"] for r in logged if "begins" in r["message"]] == [
        "batch begins",
        "plans.assign begins",
        "plans.assign begins",
    ]


def test_every_line_ends_with_a_record_in_the_log(admin: Bazar) -> None:
    with admin.start(
        *("batch", "-", "--keep-going", "--log-file", "log", "--log-format", "json"), stdin=subprocess.PIPE
    ) as process:
        process.communicate(b"users me\nusers frob ada@example.com\n'\n")
    logged = [json.loads(line) for line in (admin.folder("work") / "log").read_text().splitlines()]
    records = [(r["command"], r["exit_code"], r["error_code"]) for r in logged if r.get("event") == "command"]
    assert records == [
        ("bazar users me", 0, None),
        ("bazar users", 2, "batch.line_invalid"),
        ("bazar", 2, "batch.line_invalid"),
        ("bazar batch", 8, None),
    ]


@pytest.mark.parametrize("jobs", ["0", "33", "-1"])
def test_jobs_have_a_range(admin: Bazar, jobs: str) -> None:
    done = admin("batch", "-", "--jobs", jobs, "-o", "json")
    assert (done.code, done.error["code"]) == (2, "batch.jobs_invalid")


def test_an_interrupt_finishes_the_step_in_hand_and_begins_no_other(
    admin: Bazar, target: Target, people: People, unique_email: Email
) -> None:
    someone, second = people.known_user(), unique_email("second")
    with (
        held_wire(target, "PUT", f"/admin/users/{someone.id}", arrives=True) as wire,
        admin.on(wire.target).start("batch", "-", stdin=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"users suspend {someone.id} --reason x --yes\n".encode())
        process.stdin.flush()
        assert wire.held.wait(60)
        process.send_signal(signal.SIGINT)
        wire.release.set()
        # The thread that writes this result also takes the signal, which came before.
        result = json.loads(process.stdout.readline())
        rest, err = process.communicate(f"users create {second}\n".encode())
    assert (process.returncode, rest) == (-signal.SIGINT, b"")
    assert result["line"] == 1
    row = people.row(someone) or {}
    assert (row["state"], row["pending"], row["lease_owner"]) == ("suspended", None, None)
    assert people.identities(second) == []
    assert "1 line ended, and no other was begun" in err.decode()


def test_a_reader_that_has_gone_stops_the_batch(admin: Bazar, people: People, unique_email: Email) -> None:
    emails = [unique_email(f"unread{number}") for number in range(30)]
    with admin.start("batch", "-", "--jobs", "2", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write("".join(f"users create {email}\n" for email in emails).encode())
        process.stdin.close()
        message = process.stderr.read().decode()
    assert process.returncode == 8
    assert "results could not be written" in message
    assert 1 <= len([email for email in emails if people.identities(email)]) < 10


def test_lines_wait_for_the_reader(admin: Bazar) -> None:
    with admin.start("batch", "-", "--keep-going", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"users me\n" * 400)
        process.stdin.close()
        assert [json.loads(line)["line"] for line in process.stdout] == list(range(1, 401))
    assert process.returncode == 0


def test_a_folder_is_no_file_of_commands(admin: Bazar) -> None:
    done = admin("batch", ".", "--log-format", "json", "--log-file", "log")
    assert done.code == 2, done.err


def test_a_second_interrupt_ends_the_line_at_once(admin: Bazar, target: Target, unique_email: Email) -> None:
    (admin.folder("work") / "commands.txt").write_text(f"users create {unique_email('twice')}\n")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        admin.on(wire.target).start("batch", "commands.txt") as process,
    ):
        assert wire.held.wait(60)
        poll(lambda: process.poll() is not None or process.send_signal(signal.SIGINT))
        assert not wire.release.is_set()
    assert process.returncode == -signal.SIGINT


def test_a_killed_worker_is_a_result_and_the_other_lines_run(
    admin: Bazar, target: Target, people: People, unique_email: Email
) -> None:
    email = unique_email("killed")
    (admin.folder("work") / "commands.txt").write_text(f"users create {email}\nusers me\n")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        admin.on(wire.target).start("batch", "commands.txt", "--keep-going") as process,
    ):
        assert wire.held.wait(60)
        os.kill(worker_of(process.pid), signal.SIGKILL)
        wire.release.set()
        out, err = process.communicate()
    killed, other = [json.loads(line) for line in out.splitlines()]
    assert (process.returncode, killed["exit_code"], killed["error"]["code"]) == (8, 7, "batch.worker_ended")
    assert "its process was ended by signal 9" in killed["error"]["message"]
    assert "docs" in killed["error"]
    assert (other["line"], other["exit_code"]) == (2, 0)
    assert "1 of 2 lines failed" in err.decode()
    people.leases_run_out()
    again = admin("batch", "commands.txt")
    assert (again.code, codes(again)) == (0, [(1, 0), (2, 0)])
    assert len(people.identities(email)) == 1


def test_a_worker_that_cannot_be_replaced_ends_the_batch(
    admin: Bazar, target: Target, people: People, unique_email: Email
) -> None:
    (admin.folder("work") / "commands.txt").write_text(f"users create {unique_email('last')}\nusers me\n")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        admin.on(wire.target).start("batch", "commands.txt", "--keep-going", "-o", "jsonl") as process,
    ):
        assert wire.held.wait(60)
        worker = worker_of(process.pid)
        os.kill(child_of(process.pid), signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        wire.release.set()
        out, err = process.communicate()
    done = Done(process.returncode, out.decode(), err.decode())
    assert (done.code, done.out, done.error["code"]) == (7, "", "batch.worker_ended")
    assert "run the lines without a result again" in done.error["hint"]
    people.leases_run_out()


def test_workers_end_when_the_batch_is_killed(admin: Bazar, target: Target, unique_email: Email) -> None:
    (admin.folder("work") / "commands.txt").write_text(f"users create {unique_email('orphan')}\nusers me\n")
    with (
        held_wire(target, "POST", "/admin/users", arrives=True) as wire,
        admin.on(wire.target).start("batch", "commands.txt") as process,
    ):
        assert wire.held.wait(60)
        nursery, worker = child_of(process.pid), worker_of(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        wire.release.set()
        process.communicate()
    poll(lambda: not runs(worker) and not runs(nursery))


def worker_of(pid: int) -> int:
    """The only worker of a batch."""
    return child_of(child_of(pid))


def child_of(pid: int) -> int:
    """The only child of a process."""
    (child,) = children(pid)
    return child
