"""A real PgBouncer before the server of the run, where the Debian package is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bazar_cli.devstack.binaries import prepare
from tests.support.waiting import poll

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "PgBouncer is not installed (Debian: apt-get install pgbouncer)"
_PORT = 6432
_SETTINGS = """
[databases]
* = host={host} port={port} user={user}

[pgbouncer]
listen_addr =
listen_port = {listen}
unix_socket_dir = {folder}
unix_socket_mode = 0700
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_round_robin = {round_robin}
logfile = {folder}/log
"""


@contextmanager
def pooled(url: str, mode: str, *, size: int = 4, round_robin: bool = False) -> Generator[str]:
    """Yield the URL of the same database through a pooler with this `mode` (session, transaction or statement)."""
    assert PROGRAM is not None, MISSING
    server = conninfo_to_dict(url)
    user = prepare().run_as
    # A Unix socket's name must be short, so its folder is not pytest's own.
    with tempfile.TemporaryDirectory(prefix="pgb-") as folder:
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(
            _SETTINGS.format(
                host=server["host"],
                port=server.get("port") or 5432,
                user=server["user"],
                listen=_PORT,
                folder=folder,
                mode=mode,
                size=size,
                round_robin=int(round_robin),
            )
        )
        as_user: dict[str, Any] = {}
        if user is not None:
            # Its server lets only its own user in, and PgBouncer, like Postgres, never runs as root.
            for path in (Path(folder), settings):
                os.chown(path, user.uid, user.gid)
            as_user = {"user": user.uid, "group": user.gid, "extra_groups": []}
        process = subprocess.Popen[bytes]([PROGRAM, "-q", settings], stderr=subprocess.DEVNULL, **as_user)
        try:
            by_pooler = f"{url.partition('?')[0]}?host={folder}&port={_PORT}"
            _until_it_answers(by_pooler, process)
            yield by_pooler
        finally:
            process.kill()
            process.wait()


def _until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert process.poll() is None, "PgBouncer did not start"
        try:
            psycopg.connect(url, autocommit=True).close()
        except psycopg.OperationalError:
            return False
        return True

    poll(answers)
