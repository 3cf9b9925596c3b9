"""Writing revision files: Alembic makes each in a temporary folder, from where it is copied to the others.

So a dry run leaves nothing, and no file is ever overwritten.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.files import file_errors, is_there, locked_folder
from bazar_cli.adapters.migrations.autogenerate_filter import VERSION_TABLE, only_our_names, only_our_objects
from bazar_cli.adapters.migrations.revision_files import heads, is_installed, revision_files, script_location
from bazar_cli.adapters.postgres.connections import begin, connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.db.revisions import NewRevision, RevisionFile, installed_package, two_heads
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.texts import whole_number

if TYPE_CHECKING:
    import psycopg
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection, MetaData

    from bazar_cli.domain.target import Target

_LOCK_SECONDS = 30.0
_FILE_NAMES = "%(rev)s_%(slug)s"
_HINT = "give the folder of the migration files room, and to this user, or use another checkout"


class RevisionWriter:
    """The migration files of a checkout."""

    def __init__(self, location: Path | None = None) -> None:
        self._location = location or script_location()

    def demand_checkout(self) -> None:
        """Raises: Refused `db.installed_package`."""
        if is_installed(self._location):
            raise installed_package(str(self._location))

    def add(self, message: str, *, dry_run: bool) -> NewRevision:
        """Write the file that follows the head.

        Raises: Refused `db.installed_package`; Conflict `db.two_heads`, `db.file_exists`; StoreUnusable `files.*`;
        BackendUnavailable `files.locked`.
        """
        self.demand_checkout()
        with self._locked():
            head = self._head()
            return self._write(message, (head.revision.id,), dry_run=dry_run)

    def merge(self, message: str | None, *, dry_run: bool) -> NewRevision:
        """Write the file that follows all heads; none if there is one head only. Raises: as `add`."""
        self.demand_checkout()
        with self._locked():
            ids = tuple(head.revision.id for head in heads(self._location))
            if len(ids) == 1:
                return NewRevision(None, ids, message or "", None)
            return self._write(message or f"Merge {' and '.join(ids)}", ids, dry_run=dry_run)

    def add_difference(
        self, target: Target, message: str, *, dry_run: bool, models: MetaData | None = None
    ) -> NewRevision | None:
        """Write the file that brings a target at the head to the models; None where nothing differs.

        Only the schema `bazar` is compared, in a transaction that reads. Raises: as `add` and `translate`.
        """
        from alembic.autogenerate import RevisionContext
        from alembic.migration import MigrationContext
        from alembic.util import immutabledict

        from bazar_cli.adapters.postgres.tables import SCHEMA, metadata

        self.demand_checkout()
        options: dict[str, Any] = {
            "target_metadata": models if models is not None else metadata,
            "version_table": VERSION_TABLE,
            "version_table_schema": SCHEMA,
            "include_schemas": True,
            "include_name": only_our_names,
            "include_object": only_our_objects,
            "compare_type": True,
            "compare_server_default": False,
            "sqlalchemy_module_prefix": "sa.",
            "alembic_module_prefix": "op.",
            "user_module_prefix": None,
            "render_item": None,
            "render_as_batch": False,
            "upgrade_token": "upgrades",
            "downgrade_token": "downgrades",
            "process_revision_directives": None,
        }
        # The lock comes first: the temporary folder is made from the revisions at that moment.
        with self._locked(), self._temporary() as (config, directory, folder), _reading(target) as connection:
            head = self._head()
            context = MigrationContext.configure(connection, opts=immutabledict(options))
            asked: dict[str, Any] = {
                "message": message,
                "rev_id": self._next_id(),
                "head": head.revision.id,
                "version_path": folder,
                "sql": False,
                "splice": False,
                "branch_label": None,
                "depends_on": None,
            }
            revision = RevisionContext(config, directory, asked)
            revision.run_autogenerate((head.revision.id,), context)
            upgrades = revision.generated_revisions[-1].upgrade_ops
            if upgrades is None or upgrades.is_empty():
                return None
            (script,) = revision.generate_scripts()
            assert script is not None, "a file in a version location is a revision"
            return self._put(Path(script.path), (head.revision.id,), message, dry_run=dry_run)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Let no other command write revisions during the block: each takes the number after the newest.

        Raises: BackendUnavailable `files.locked`.
        """
        with locked_folder(self._location / "versions", seconds=_LOCK_SECONDS, hint=_HINT):
            yield

    def _head(self) -> RevisionFile:
        last = heads(self._location)
        if len(last) != 1:
            raise two_heads(last)
        return last[0]

    def _next_id(self) -> str:
        numbers = [whole_number(f.revision.id) or 0 for f in revision_files(self._location)]
        return f"{max(numbers, default=0) + 1:04d}"

    def _write(self, message: str, downs: tuple[str, ...], *, dry_run: bool) -> NewRevision:
        with self._temporary() as (_, directory, folder):
            script = directory.generate_revision(self._next_id(), message, head=downs, version_path=folder)
            assert script is not None, "a file in a version location is a revision"
            return self._put(Path(script.path), downs, message, dry_run=dry_run)

    @contextmanager
    def _temporary(self) -> Generator[tuple[Config, ScriptDirectory, str]]:
        """Alembic with the revisions that exist, and an empty folder for a new one."""
        from argparse import Namespace

        from alembic.config import Config

        from bazar_cli.adapters.migrations.alembic_directory import script_directory

        with _temporary_folder() as folder:
            config = Config(cmd_opts=Namespace(quiet=True))  # else it writes to standard output
            places = os.pathsep.join([str(self._location / "versions"), folder])
            for name, value in {
                "script_location": str(self._location),
                "version_locations": places,
                "path_separator": "os",
                "file_template": _FILE_NAMES,
            }.items():
                config.set_main_option(name, value.replace("%", "%%"))
            yield config, script_directory(config, self._location / "versions", Path(folder)), folder

    def _put(self, made: Path, downs: tuple[str, ...], message: str, *, dry_run: bool) -> NewRevision:
        path = self._location / "versions" / made.name
        number = made.name.partition("_")[0]
        if is_there(path):
            raise _exists(path)
        if not dry_run:
            with file_errors(path, _HINT):
                try:
                    with path.open("x", encoding="utf-8") as stream:
                        stream.write(made.read_text(encoding="utf-8"))
                except FileExistsError:
                    raise _exists(path) from None
                except OSError:
                    path.unlink(missing_ok=True)
                    raise
        return NewRevision(number, downs, message, str(path))


@contextmanager
def _temporary_folder() -> Generator[str]:
    with file_errors(Path("a temporary folder"), "set TMPDIR to a folder that this user can write to"):
        made = tempfile.TemporaryDirectory(prefix="bazar-")
    with made as folder:
        yield folder


def _exists(path: Path) -> Conflict:
    return Conflict(
        "db.file_exists",
        f"{path} already exists, and is not overwritten",
        hint="another run may have made it; see `bazar db heads`",
        details={"path": str(path)},
    )


@contextmanager
def _reading(target: Target) -> Generator[Connection]:
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import DBAPIError

    from bazar_cli.adapters.migrations.connection import driver_error

    def opener() -> psycopg.Connection:
        url = target.to_migrate.database_url
        return connect(
            url, autocommit=True, connect_timeout=10, prepare_threshold=None, application_name="bazar db revision"
        )

    engine = create_engine("postgresql+psycopg://", creator=opener, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(begin(read_only=True))
            # As in `environment`: a role named like the schema would make Alembic compare without its name.
            connection.execute(text("SET LOCAL search_path TO public"))
            connection.dialect.default_schema_name = "public"
            yield connection
    except DBAPIError as error:
        raise translate(driver_error(error), target.to_migrate) from error
