"""Migration files: reading them, writing the next one, joining heads, and what is made of the models."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

import bazar_cli
from bazar_cli.adapters.files import locked_folder
from bazar_cli.adapters.migrations import revision_writer
from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.revision_files import heads, revision_files, revisions, script_location
from bazar_cli.adapters.migrations.revision_writer import RevisionWriter
from bazar_cli.adapters.postgres.tables import metadata
from bazar_cli.domain.db.migrations import Migrate
from bazar_cli.domain.db.revisions import MakeRevision, MergeHeads, checked_message
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Refused, UsageError
from bazar_cli.services.db import revisions as migration_files
from tests.support.checkout import Checkout, make_checkout, make_installed
from tests.support.cli import Done
from tests.support.postgres import target_of

HEAD = revisions(script_location())[-1].id
NEXT, AFTER = f"{int(HEAD) + 1:04d}", f"{int(HEAD) + 2:04d}"
Databases = Callable[..., str]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout, in which the code of this process takes itself to be."""
    monkeypatch.setattr(bazar_cli, "__file__", str(tmp_path / "bazar_cli" / "__init__.py"))
    return make_checkout(tmp_path)


def failed(error: type[BazarError], act: Callable[[], object]) -> BazarError:
    with pytest.raises(error) as found:
        act()
    return found.value


def migrate(url: str, revision: str | None = None) -> None:
    request = Migrate(revision, environment="test", protected=False)
    Migrator(target_of(url)).migrate(request, lambda _text: None)


# -- the next file ------------------------------------------------------------------------------------------


def test_revision_writes_the_next_number_in_the_style_of_the_others(checkout: Checkout) -> None:
    before = checkout.names
    message = 'Say "C:\\new" — naïvely.'

    made = migration_files.revision(MakeRevision(message))

    assert made.path is not None
    path = Path(made.path)
    assert (made.revision, made.down) == (NEXT, (HEAD,))
    assert checkout.names == [*before, path.name]
    assert path.name == f"{NEXT}_say_c_new_naïvely.py"
    *_, last = revision_files(checkout.location)
    assert (last.revision.id, last.revision.message, last.down) == (NEXT, message.rstrip("."), (HEAD,))
    text = path.read_text()
    assert f'\nrevision: str = "{NEXT}"\ndown_revision: str | tuple[str, ...] | None = "{HEAD}"\n' in text
    assert 'op.execute("SELECT 1")' in text
    for check in (["check"], ["format", "--check"]):
        ruff = Path(sys.executable).with_name("ruff")
        root = Path(__file__).parents[2]
        options = ["--no-cache", "--config", str(root / "pyproject.toml"), str(path)]
        done = subprocess.run([ruff, *check, *options], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_a_revision_with_a_very_long_number_has_no_next_one(checkout: Checkout) -> None:
    path = checkout.write("long", HEAD)
    path.write_text(path.read_text().replace("'long'", repr("9" * 5000)))

    made = migration_files.revision(MakeRevision("next", dry_run=True))

    assert made.revision == NEXT


def test_dry_run_says_the_same_and_writes_nothing(checkout: Checkout) -> None:
    before = checkout.names

    told = migration_files.revision(MakeRevision("add invoices", dry_run=True))

    assert checkout.names == before
    assert migration_files.revision(MakeRevision("add invoices")) == told


def test_no_file_is_overwritten(checkout: Checkout) -> None:
    path = checkout.write("hand", HEAD).rename(checkout.location / "versions" / f"{NEXT}_add.py")
    before = path.read_text()

    error = failed(Conflict, lambda: migration_files.revision(MakeRevision("add")))

    assert (error.code, error.details["path"]) == ("db.file_exists", str(path))
    assert path.read_text() == before


def test_revisions_at_once_follow_each_other(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path)

    def make(name: str) -> Done:
        return checkout.run("bazar_cli", "db", "revision", "-m", name, "-o", "json", environ={})

    with ThreadPoolExecutor(3) as pool:
        made = [done.ok().json for done in pool.map(make, ("one", "two", "three"))]

    numbers = [HEAD, *(f"{int(HEAD) + n:04d}" for n in (1, 2, 3))]
    assert sorted((m["revision"], *m["revises"]) for m in made) == list(zip(numbers[1:], numbers, strict=False))
    assert [f.revision.id for f in heads(checkout.location)] == numbers[-1:]


def test_who_writes_waits_for_who_does(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision_writer, "_LOCK_SECONDS", 0.1)
    before = checkout.names

    with locked_folder(checkout.location / "versions", seconds=0, hint=""):
        for act in (
            lambda: migration_files.revision(MakeRevision("x")),
            lambda: migration_files.merge(MergeHeads()),
        ):
            assert failed(BackendUnavailable, act).code == "files.locked"

    assert checkout.names == before
    assert migration_files.merge(MergeHeads()).path is None


@pytest.mark.parametrize("message", ["", "  ", "?!", "two\nlines", "x" * 201, "bell\a"])
def test_message_must_be_a_line_with_a_word(checkout: Checkout, message: str) -> None:
    for act in (
        lambda: migration_files.revision(MakeRevision(message)),
        lambda: migration_files.merge(MergeHeads(message)),
    ):
        assert failed(UsageError, act).code == "db.message_invalid"


def test_an_installed_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bazar_cli, "__file__", str(tmp_path / "bazar_cli" / "__init__.py"))
    installed = make_installed(tmp_path)
    before = installed.names

    for act in (lambda: migration_files.revision(MakeRevision("x")), lambda: migration_files.merge(MergeHeads())):
        error = failed(Refused, act)
        assert error.code == "db.installed_package"
        assert str(installed.location) in error.message

    assert installed.names == before
    assert [h.revision.id for h in migration_files.heads()] == [HEAD]


# -- two heads ----------------------------------------------------------------------------------------------


def test_two_heads_are_named_until_merge_joins_them(checkout: Checkout, fresh_database: Databases) -> None:
    url, other = fresh_database(), fresh_database()
    checkout.write(NEXT, HEAD, "CREATE TABLE bazar.left_side (id int)")
    migrate(other)
    _forget()
    checkout.write(AFTER, HEAD, "CREATE TABLE bazar.right_side (id int)")

    for act in (
        lambda: migration_files.revision(MakeRevision("x")),
        lambda: Migrator(target_of(url)).status(),
        lambda: migrate(url),
    ):
        error = failed(Conflict, act)
        assert (error.code, error.details["heads"]) == ("db.two_heads", [NEXT, AFTER])
        assert f"{NEXT} (Revision {NEXT}) and {AFTER} (Revision {AFTER})" in error.message
        assert "bazar db merge" in error.hint
    assert [h.revision.id for h in migration_files.heads()] == [NEXT, AFTER]

    made = migration_files.merge(MergeHeads())

    assert (made.down, made.message) == ((NEXT, AFTER), f"Merge {NEXT} and {AFTER}")
    assert made.path is not None
    assert "import op" not in Path(made.path).read_text()
    assert [h.revision.id for h in migration_files.heads()] == [made.revision]
    assert next(f.down for f in migration_files.history()) == (NEXT, AFTER)
    _forget()
    # A database that has one side of it lacks the other side and the merge.
    assert [r.id for r in Migrator(target_of(other)).status().pending] == [AFTER, made.revision]
    for database in (url, other):
        migrate(database)
        status = Migrator(target_of(database)).status()
        assert (status.current, status.pending) == (made.revision, ())
        with psycopg.connect(database) as connection:
            found = connection.execute("SELECT to_regclass('bazar.left_side'), to_regclass('bazar.right_side')")
            assert None not in (found.fetchone() or (None,))


def test_one_head_is_nothing_to_merge(checkout: Checkout) -> None:
    before = checkout.names

    made = migration_files.merge(MergeHeads("join"))

    assert (made.revision, made.path, made.down) == (None, None, (HEAD,))
    assert checkout.names == before


# -- files that are wrong -----------------------------------------------------------------------------------


def test_two_files_of_one_revision_are_named(checkout: Checkout) -> None:
    checkout.write(NEXT, HEAD).rename(checkout.location / "versions" / f"{NEXT}_other.py")
    checkout.write(NEXT, HEAD)

    error = failed(Conflict, migration_files.history)

    assert (error.code, error.details["files"]) == (
        "db.duplicate_revision",
        [f"{NEXT}_by_hand.py", f"{NEXT}_other.py"],
    )


def test_a_missing_revision_and_a_circle_are_named(checkout: Checkout) -> None:
    path = checkout.write(AFTER, NEXT)
    error = failed(Conflict, migration_files.heads)
    assert (error.code, error.details) == ("db.missing_revision", {"file": path.name, "revision": NEXT})

    checkout.write(NEXT, AFTER)
    error = failed(Conflict, migration_files.heads)
    assert (error.code, error.details) == ("db.missing_revision", {"revisions": [NEXT, AFTER]})


@pytest.mark.parametrize(
    "text", ["def (", "x = 1", 'revision = str(5)\ndown_revision = "1"', 'revision = "9"\ndown_revision = 3', "\0"]
)
def test_a_file_that_is_no_revision_is_named(checkout: Checkout, text: str) -> None:
    (checkout.location / "versions" / "broken.py").write_text(text)

    error = failed(Conflict, migration_files.heads)

    assert (error.code, error.details) == ("db.revision_unreadable", {"file": "broken.py"})


# -- from the models ----------------------------------------------------------------------------------------


def _grown() -> MetaData:
    """The models with a column, a table and an index more, and a stub of a table of Supabase's."""
    grown = MetaData(schema=metadata.schema, naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        table.to_metadata(grown)
    grown.tables["bazar.users"].append_column(Column("shoe_size", Integer))
    Table("invoices", grown, Column("id", Integer, primary_key=True), Column("what", Text, index=True))
    Table("users", grown, Column("id", Integer, primary_key=True), schema="auth")
    Table("buckets", grown, Column("id", Integer, primary_key=True), schema="storage")
    return grown


_SUPABASE = """
    CREATE SCHEMA IF NOT EXISTS auth; CREATE SCHEMA IF NOT EXISTS storage;
    CREATE TABLE storage.objects (id int PRIMARY KEY, owner uuid);
    CREATE INDEX objects_owner ON storage.objects (owner);
    CREATE TABLE auth.more_users (id uuid PRIMARY KEY);
    CREATE TABLE public.things (id int PRIMARY KEY, owner uuid REFERENCES bazar.users);
"""


def test_nothing_differs_in_a_database_beside_supabase(checkout: Checkout, fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SUPABASE)
    before = checkout.names

    made = RevisionWriter().add_difference(target_of(url), "nothing", dry_run=False)

    assert made is None
    assert checkout.names == before


def test_difference_of_the_models_is_written_and_applies(checkout: Checkout, fresh_database: Databases) -> None:
    url = fresh_database(migrated=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SUPABASE)

    def add(*, dry_run: bool) -> Path:
        made = RevisionWriter().add_difference(target_of(url), "add invoices", dry_run=dry_run, models=_grown())
        assert made is not None
        assert (made.revision, made.down) == (NEXT, (HEAD,))
        return Path(made.path or "")

    assert not add(dry_run=True).exists()
    text = add(dry_run=False).read_text()

    assert "import sqlalchemy as sa\nfrom alembic import op\n" in text
    assert "op.add_column('users', sa.Column('shoe_size', sa.Integer()" in text
    assert "op.create_table('invoices'" in text
    assert not {"storage", "auth", "more_users", "things", "objects"} & set(text.replace("'", " ").split())
    assert "op.drop_table('invoices', schema='bazar')" in text.partition("def downgrade")[2]
    assert "drop" not in text.partition("def downgrade")[0]
    _forget()
    added = revisions(checkout.location)[-1]
    assert (added.destructive, {*added.downgrade_loses}) == (False, {"bazar.invoices", "bazar.users.shoe_size"})
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute("SELECT shoe_size FROM bazar.users")
        connection.execute("SELECT what FROM bazar.invoices")
    _forget()
    assert RevisionWriter().add_difference(target_of(url), "again", dry_run=False, models=_grown()) is None


def _forget() -> None:
    """Read the files again, as the next process does."""
    from bazar_cli.adapters.migrations import revision_files

    revision_files.known_files.cache_clear()


def test_message_loses_the_blanks_around_it() -> None:
    assert checked_message(" add invoices ") == "add invoices"


# -- what else lies beside the files ------------------------------------------------------------------------

BESIDE: dict[str, Callable[[Path], object]] = {
    "a lock of Emacs": lambda folder: (folder / f".#{HEAD}_x.py").symlink_to("ada@host.1234:5"),
    "a lock with a name of Python": lambda folder: (folder / f".#{HEAD}_x.py").symlink_to("nowhere.py"),
    "a fork of macOS": lambda folder: (folder / f"._{HEAD}_x.py").write_bytes(b"\x00\x05\x16\x07\x00Mac OS X"),
    "a hidden pipe": lambda folder: os.mkfifo(folder / f".{HEAD}_x.py"),
    "a hidden folder": lambda folder: (folder / f".{HEAD}_x.py").mkdir(),
    "a swap file": lambda folder: (folder / f".{HEAD}_x.py.swp").write_bytes(b"b0VIM"),
    "a backup": lambda folder: (folder / f"{HEAD}_x.py~").write_text("no Python"),
}
BROKEN: dict[str, Callable[[Path], object]] = {
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "no Python": lambda path: path.write_bytes(b"\x00"),
    "empty": Path.touch,
}


@pytest.mark.parametrize("what", BESIDE)
def test_files_of_editors_are_not_revisions(checkout: Checkout, fresh_database: Databases, what: str) -> None:
    BESIDE[what](checkout.location / "versions")

    assert [file.revision.id for file in heads(checkout.location)] == [HEAD]
    made = migration_files.revision(MakeRevision("next"))
    assert made.revision == NEXT
    url = fresh_database()
    migrate(url)
    assert Migrator(target_of(url)).status().current == NEXT


@pytest.mark.parametrize("what", BROKEN)
def test_file_that_is_not_a_revision_is_named(checkout: Checkout, what: str) -> None:
    name = f"{NEXT}_x.py"
    BROKEN[what](checkout.location / "versions" / name)

    for act in (lambda: heads(checkout.location), lambda: migration_files.revision(MakeRevision("next"))):
        refusal = failed(Conflict, act)
        assert refusal.code == "db.revision_unreadable"
        assert name in refusal.message


@pytest.mark.parametrize("instead", ["nothing", "a file", "a dangling link"])
def test_a_folder_of_files_that_cannot_be_listed_is_named(checkout: Checkout, instead: str) -> None:
    versions = checkout.location / "versions"
    versions.rename(versions.with_name("elsewhere"))
    if instead == "a file":
        versions.touch()
    elif instead == "a dangling link":
        versions.symlink_to("nowhere")

    refusal = failed(Conflict, lambda: heads(checkout.location))
    assert refusal.code == "db.revision_unreadable"
    assert str(versions) in refusal.message
    assert "move it out" not in refusal.hint
    assert failed(BazarError, lambda: migration_files.revision(MakeRevision("x"))).exit_code != 1


def test_no_folder_for_temporary_files_is_named(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(checkout.folder / "nowhere"))

    refusal = failed(UsageError, lambda: migration_files.revision(MakeRevision("next")))

    assert refusal.code == "files.unwritable"
    assert "TMPDIR" in refusal.hint
