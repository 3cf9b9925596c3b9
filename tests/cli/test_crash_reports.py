"""A bug of bazar: a private report that names versions and the place, and nothing that is secret or personal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bazar_cli import __version__
from bazar_cli.terminal.crash_reports import KEPT
from tests.support.cli import Bazar, Done
from tests.support.collector import running_collector

_BROKEN = """\
import os, sys
from bazar_cli.services import config

def broken(*_given):
    local = "value" + "-of-a-local-variable"
    {fault}
    raise ZeroDivisionError("key " + os.environ["SUPABASE_KEY"])

config.target_of = broken
sys.argv = ["bazar", *sys.argv[1:]]
from bazar_cli.main import main
sys.exit(main())
"""
WORDS = ("users", "get", "ada@example.com")
KEY = "service-key-0123456789"


@pytest.fixture
def bazar(tmp_path: Path) -> Bazar:
    """`bazar` with a target that is never reached."""
    target = {"SUPABASE_URL": "http://127.0.0.1:1", "DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    return Bazar(tmp_path).having(SUPABASE_KEY=KEY, **target)


def crash(bazar: Bazar, *words: str, fault: str = "pass") -> Done:
    """Run a command that has a bug."""
    command = [sys.executable, "-c", _BROKEN.format(fault=fault), *words]
    done = subprocess.run(command, env=bazar.environment(), capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def reports(bazar: Bazar) -> list[Path]:
    return sorted((bazar.home / "data" / "crashes").iterdir())


def test_report_is_private_and_named(bazar: Bazar) -> None:
    done = crash(bazar, *WORDS)
    [report] = reports(bazar)
    assert (report.stat().st_mode & 0o777, report.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    [request_id] = re.findall(r"^request id: (\w+)$", done.err, re.M)
    assert done.code == 1
    assert done.err.splitlines() == [
        "error: unexpected ZeroDivisionError: key ***",
        f"hint: this is a bug in bazar: report it with the request id and the file {report}",
        f"request id: {request_id}",
    ]
    text = report.read_text()
    known = (
        f"request id: {request_id}",
        "command: bazar users get",
        f"bazar: {__version__}",
        "Python: 3.",
        "psycopg: 3.",
    )
    assert [line for line in known if f"\n{line}" not in text] == []
    assert "in broken" in text
    assert text.endswith("ZeroDivisionError: key ***\n")
    assert [secret for secret in (KEY, "value-of-a-local-variable", "ada@example.com") if secret in text] == []


def test_machines_find_the_report_in_the_details(bazar: Bazar) -> None:
    done = crash(bazar, *WORDS, "-o", "json")
    assert done.error["details"] == {"crash_report": str(reports(bazar)[0])}


def test_log_and_trace_have_the_crash(bazar: Bazar) -> None:
    with running_collector() as collector:
        done = crash(bazar.having(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url), *WORDS, "--log-format", "text")
        [root] = collector.spans
    assert "users.get ends with exit code 1 (internal.unexpected)" in done.err
    assert (root.attributes["process.exit.code"], root.attributes["error.type"]) == (1, "internal.unexpected")


def test_only_the_newest_reports_are_kept(bazar: Bazar) -> None:
    folder = bazar.folder("data") / "crashes"
    folder.mkdir()
    old = [folder / f"2020010{n % 10}T00000{n // 10}Z-x.txt" for n in range(KEPT + 5)]
    for path in old:
        path.touch()
    crash(bazar, *WORDS)
    kept = reports(bazar)
    assert len(kept) == KEPT
    assert set(kept[:-1]) == set(sorted(old)[6:])


@pytest.mark.parametrize(
    ("variable", "fault", "why"),
    [
        ("/dev/null", "pass", "StoreUnusable: "),
        ("{home}/file/below", "pass", "StoreUnusable: "),
        (None, "import platform; platform.platform = None", "TypeError: "),
        (None, "raise type('ZeroDivisionError', (Exception,), {'__str__': None})", ""),
    ],
)
def test_a_report_that_fails_never_hides_the_bug(bazar: Bazar, variable: str | None, fault: str, why: str) -> None:
    (bazar.home / "file").touch()
    place: dict[str, Any] = {} if variable is None else {"BAZAR_DATA_DIR": variable.format(home=bazar.home)}
    done = crash(bazar.having(**place), *WORDS, fault=fault)
    traceback = [line for line in done.err.splitlines() if line.startswith("| ")]
    first, *rest = done.err.splitlines()[len(traceback) :]
    assert (done.code, first[:35]) == (1, "error: unexpected ZeroDivisionError")
    if not why:
        assert traceback == []
        return
    assert rest[0].startswith(f"  no crash report could be written: {why}")
    assert rest[1].endswith(": report it with the request id and the traceback")
    assert traceback[0] == "| Traceback (most recent call last):"
    assert any("in broken" in line for line in traceback)
    assert traceback[-1] == "| ZeroDivisionError: key ***"


def test_machines_find_the_traceback_in_the_details_where_no_report_can_be_written(bazar: Bazar) -> None:
    done = crash(bazar.having(BAZAR_DATA_DIR="/proc/nope"), *WORDS, "-o", "json")
    [line] = done.err.splitlines()
    assert KEY not in line
    traceback = done.error["details"]["traceback"]
    assert (traceback[0], traceback[-1]) == ("Traceback (most recent call last):", "ZeroDivisionError: key ***")
    assert any("in broken" in line for line in traceback)
