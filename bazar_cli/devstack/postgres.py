"""The embedded Postgres: one server on a private socket, run by the programs of the wheel.

`pg_ctl` and `initdb` get relative paths and run in the folder above the data: `pg_ctl` passes its arguments to a shell
in double quotes, so a path with `$` or a quote must not be among them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from bazar_cli.adapters.files import private_folder, rotate, tail, write_private
from bazar_cli.adapters.polling import poll
from bazar_cli.devstack import processes
from bazar_cli.devstack.binaries import STACK_GROUP, Binaries, prepare, system_folder
from bazar_cli.devstack.paths import SOCKET_NAME, StackPaths
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.secrets import Secret

ROLE = "bazar"
DATABASE = "bazar"
LOG_BYTES = 5 * 1024 * 1024
"""A larger log is renamed at the next start."""

START_SECONDS = 60
_SILENT_SECONDS = 5
_PAUSE_SECONDS = 0.05
_STOP = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
_STOP_NOW = ((signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
_NO_PROCESS = 2**31 - 1
"""A number that no process gets (Linux ends at 2**22, macOS at 99999)."""
_INITDB = (
    f"--username={ROLE}",
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--no-instructions",
)
_CONFIGURATION = "bazar.conf"
_READY, _REJECTING = 0, 1  # exit codes of pg_isready
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    # Statements and rows may hold password hashes and tokens, so the log must not show them. Clients see their errors.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class EmbeddedPostgres:
    """One Postgres server below the folders of `paths`; the caller holds the stack's lock.

    Parameters: `settings` are further Postgres settings, for tests.
    """

    def __init__(self, paths: StackPaths, settings: Mapping[str, str] | None = None) -> None:
        self._paths = paths
        self._settings = dict(settings or {})
        self._binaries: Binaries | None = None
        self._cluster_name = f"cluster_name=bazar-{paths.key}"

    # -- state -------------------------------------------------------------------------------------------

    def url(self, dbname: str = DATABASE) -> str:
        """Return the `postgresql://` URL of a database. It holds no secret: only its user can enter the folder.

        It has the port, because PGPORT in a shell would otherwise change the socket's name.
        """
        folder = quote(str(self._paths.socket_dir), safe="")
        return f"postgresql://{ROLE}@/{quote(dbname, safe='')}?host={folder}&port=5432"

    def is_ready(self) -> bool:
        """Ask `pg_isready` whether the server accepts connections (4-7 ms)."""
        return self._probe() == _READY

    def pid(self) -> int | None:
        """Return the number of the running server process, or None."""
        found = self._recorded_pid()
        if found is not None and self._is_this_server(found):
            return found
        # The record may be lost while the server runs, and a second server would destroy the data.
        return next(iter(processes.find(lambda words: self._cluster_name in words, self._paths.data)), None)

    def since(self) -> datetime | None:
        """Return when the recorded server started (third line of postmaster.pid, seconds since 1970)."""
        try:
            lines = (self._paths.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")
            return datetime.fromtimestamp(int(lines[2]), timezone.utc)
        except (FileNotFoundError, NotADirectoryError, ValueError, IndexError, OverflowError):
            return None

    def has_data(self) -> bool:
        """Say whether there is a complete data folder."""
        return (self._paths.data / "PG_VERSION").is_file()

    # -- start and stop -----------------------------------------------------------------------------------

    def start(self, *, stack_id: str = "") -> bool:
        """Start the server, with new data where it has none; return False if it was running already.

        Parameters: `stack_id` is stored beside new data.
        Raises: BackendUnavailable `local.postgres_failed` with the last log lines; as `prepare` and `private_folder`.
        """
        if self._is_running_after_wait():
            self._create_database()
            return False
        self._make_folders()
        if not self.has_data():
            self._make_data(stack_id)
        self._neutralize_lock_files()
        self._configure()
        rotate(self._paths.postgres_log, LOG_BYTES)
        self._launch()
        self._create_database()
        return True

    def stop(self, *, immediately: bool = False) -> bool:
        """Stop the server, also with clients connected; return whether it was running.

        Parameters: `immediately` skips the checkpoint, for data that will be deleted.
        Raises: BackendUnavailable `local.postgres_failed` when it survives SIGKILL.
        """
        pid = self.pid()
        steps = _STOP_NOW if immediately else _STOP
        if pid is not None and not processes.end(pid, lambda: self._is_this_server(pid), steps):
            raise BackendUnavailable(
                "local.postgres_failed",
                f"Postgres (process {pid}) did not stop",
                hint="try again in a moment",
            )
        self._end_orphans()
        return pid is not None

    def drop(self) -> bool:
        """Delete data, log and socket; return whether there were data. Stop the server first."""
        had_data = self.has_data()
        home = self._paths.postgres
        deleted = home.with_name(home.name + ".deleted")
        shutil.rmtree(deleted, ignore_errors=True)
        if home.exists():
            # Renamed first, so that a half-deleted folder is never used.
            home.replace(deleted)
            shutil.rmtree(deleted)
        shutil.rmtree(self._paths.socket_dir, ignore_errors=True)
        if self._paths.system_root is not None and home.parent.is_dir():
            home.parent.rmdir()
        return had_data

    def stack_id(self) -> str | None:
        """Return the id that `start` stored beside the data; None without one."""
        try:
            return (self._paths.data / "bazar.stack").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    # -- processes ----------------------------------------------------------------------------------------

    def _tools(self) -> Binaries:
        if self._binaries is None:
            owner = self._paths.data.stat().st_uid if self._paths.data.exists() else None
            self._binaries = prepare(self._paths.system_root, owner=owner)
        return self._binaries

    def _run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        tools = self._tools()
        user = tools.run_as
        return subprocess.run(
            [tools.program(name), *arguments],
            cwd=self._paths.postgres,
            # Without PGPORT, PGDATA and the like; a wrong LANG would stop initdb.
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            umask=0o077,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
            check=False,
        )

    def _probe(self) -> int | None:
        """Return the exit code of pg_isready; None when there is no socket."""
        if not (self._paths.socket_dir / SOCKET_NAME).exists() or not self._paths.postgres.is_dir():
            return None
        asked = self._run("pg_isready", "-q", "-h", str(self._paths.socket_dir), "-p", "5432", "-t", "3")
        return asked.returncode

    def _recorded_pid(self) -> int | None:
        try:
            return int((self._paths.data / "postmaster.pid").read_bytes().split(b"\n", 1)[0])
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def _is_this_server(self, pid: int) -> bool:
        # Only this server has the name among its arguments: no backend, and no program that got its number.
        return self._cluster_name in processes.command_line(pid)

    def _start_is_running(self) -> bool:
        """Say whether the `pg_ctl`, or its shell, of a killed start still runs."""
        return (
            processes.find(lambda words: any(self._cluster_name in word for word in words), self._paths.postgres) != []
        )

    def _end_orphans(self) -> None:
        """End backends whose server was killed: a busy one does not notice, and keeps the data in use."""
        title = f"postgres: {self._cluster_name.partition('=')[2]}: "

        def is_backend(words: list[str]) -> bool:
            return " ".join(words).startswith(title)

        for pid in processes.find(is_backend, self._paths.data):
            processes.end(pid, lambda pid=pid: is_backend(processes.command_line(pid)), _STOP_NOW)

    def _is_running_after_wait(self) -> bool:
        """Wait for a server that is starting and return whether it runs; stop one that is stopping or silent."""
        poll(self._has_started_or_failed, seconds=START_SECONDS, pause=_PAUSE_SECONDS)
        if poll(self._outcome_of_start, seconds=_SILENT_SECONDS, pause=_PAUSE_SECONDS) == "up":
            return True
        self.stop()
        return False

    def _has_started_or_failed(self) -> bool:
        """Say whether the server accepts connections, or is not starting."""
        answer = self._probe()
        starting = answer == _REJECTING and self._recorded_status() != "stopping"
        return answer == _READY or not (starting or self._start_is_running())

    def _outcome_of_start(self) -> str | None:
        """Return "up" for a server that accepts connections, "lost" for one that never will, None while unknown."""
        status, answer, lives = self._recorded_status(), self._probe(), self.pid() is not None
        if answer == _READY and lives:
            return "up"
        # A server makes its socket before it reports that it is ready.
        lost = status == "stopping" or (status == "ready" and answer is None)
        return "lost" if lost or not lives else None

    def _recorded_status(self) -> str:
        """Return the state that the server reports: starting, ready or stopping (last line of postmaster.pid)."""
        try:
            return (self._paths.data / "postmaster.pid").read_bytes().splitlines()[-1].decode().strip()
        except (FileNotFoundError, NotADirectoryError, ValueError, IndexError):
            return ""

    # -- making and configuring ---------------------------------------------------------------------------

    def _owner(self) -> tuple[int, int] | None:
        user = self._tools().run_as
        return None if user is None else (user.uid, user.gid)

    def _make_folders(self) -> None:
        paths = self._paths
        owner = self._owner()
        uid, gid = owner or (os.geteuid(), -1)
        if paths.system_root is not None:
            system_folder(paths.system_root)
            private_folder(paths.postgres.parent, gid=STACK_GROUP, mode=0o710)
        private_folder(paths.postgres, uid=uid, gid=gid)
        private_folder(paths.socket_dir, uid=uid, gid=gid)

    def _make_data(self, stack_id: str) -> None:
        """Run initdb in a folder beside the data, then rename it, so that a half-made folder is never used.

        The initdb of a start that was killed may still run, so each gets its own folder. A folder that cannot be
        removed yet is removed next time.
        """
        for old in self._paths.postgres.glob("data.new*"):
            shutil.rmtree(old, ignore_errors=True)
        unfinished = self._paths.postgres / f"data.new-{secrets.token_hex(4)}"
        made = self._run("initdb", "-D", unfinished.name, *_INITDB)
        if made.returncode != 0:
            lines = (made.stderr or made.stdout).splitlines()
            raise self._failed("initdb could not create the data folder", lines)
        main = unfinished / "postgresql.conf"
        text = main.read_text(encoding="utf-8") + f"\ninclude_if_exists = '{_CONFIGURATION}'\n"
        write_private(main, text, owner=self._owner())
        write_private(unfinished / "bazar.stack", stack_id, owner=self._owner())
        unfinished.replace(self._paths.data)

    def _configure(self) -> None:
        settings = {**_SETTINGS, **self._settings, "unix_socket_directories": f'"{self._paths.socket_dir}"'}
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        text = "# Written by bazar at every start; change postgresql.conf instead.\n" + "".join(lines)
        write_private(self._paths.data / _CONFIGURATION, text, owner=self._owner())

    def _neutralize_lock_files(self) -> None:
        """Change the lock files of a killed server, so that they do not stop the next one.

        Postgres honours a lock file as long as any process has its number, so the number is replaced. The file is kept,
        because its shared memory key protects the data from backends that still run.
        """
        record = self._paths.data / "postmaster.pid"
        if record.exists():
            lines = record.read_text(encoding="utf-8", errors="replace").split("\n")
            lines[0] = str(_NO_PROCESS)
            write_private(record, "\n".join(lines), owner=self._owner())
        for name in (SOCKET_NAME, SOCKET_NAME + ".lock"):
            (self._paths.socket_dir / name).unlink(missing_ok=True)

    def _launch(self) -> None:
        started = poll(self._launched, seconds=START_SECONDS, pause=0.2)
        if started is None or started.returncode != 0:
            lines = tail(self._paths.postgres_log, 5) or ([] if started is None else started.stderr.splitlines())
            raise self._failed("Postgres did not start", lines)

    def _launched(self) -> subprocess.CompletedProcess[str] | None:
        """Run `pg_ctl` and return its result; None where backends of a killed server still use its shared memory.

        They end a moment after their server.
        """
        before = self._log_size()
        options = ["-w", "-t", str(START_SECONDS), "-s", "-l", self._paths.postgres_log.name]
        started = self._run("pg_ctl", "start", "-D", "data", *options, "-o", f"-c {self._cluster_name}")
        busy = started.returncode != 0 and "pre-existing shared memory block" in self._log_since(before)
        return None if busy else started

    def _log_size(self) -> int:
        try:
            return self._paths.postgres_log.stat().st_size
        except FileNotFoundError:
            return 0

    def _log_since(self, offset: int) -> str:
        try:
            with self._paths.postgres_log.open("rb") as stream:
                stream.seek(offset)
                return stream.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _failed(self, what: str, lines: list[str]) -> BackendUnavailable:
        log: Path = self._paths.postgres_log
        last = [line.strip() for line in lines if line.strip()][-5:]
        return BackendUnavailable(
            "local.postgres_failed",
            what,
            below=last,
            hint=f"the log is {log}",
            details={"log": str(log), "last_lines": last},
        )

    def _create_database(self) -> None:
        # psycopg takes 200 ms to import, and `local status` does not need it.
        import psycopg
        from psycopg import sql

        from bazar_cli.adapters.postgres.connections import connect

        try:
            with connect(Secret(self.url("postgres")), autocommit=True, connect_timeout=10) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if known is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.Error as error:
            raise self._failed(
                "Postgres runs, but its database could not be created", str(error).splitlines()
            ) from error
