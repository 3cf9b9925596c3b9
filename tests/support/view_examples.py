"""Results of every kind, and how each view shows them: what `tests/data/views.txt` holds.

`make generate` writes that file; read its changes, as they are changes of output.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any
from uuid import UUID

from bazar_cli.domain import audit, auth, batch, cli, config, doctor, plans
from bazar_cli.domain.authz.explain import Explanation, Step, Verdict
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.db import create_and_drop, locks, marker, migrations, reset, revisions
from bazar_cli.domain.declared import changes
from bazar_cli.domain.demo import seed
from bazar_cli.domain.entities import Membership, Organization, Pending, Plan, Role, User, UserState
from bazar_cli.domain.imports import imports
from bazar_cli.domain.orgs import members, organizations
from bazar_cli.domain.page import Page
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import IdentitySource, TargetKind, TargetSource
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users import sessions
from bazar_cli.terminal import views
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.views import local
from bazar_cli.terminal.views.base import View

FILE = Path(__file__).parents[1] / "data" / "views.txt"
_ON_A_TERMINAL = {"CLICOLOR_FORCE": "1", "NO_COLOR": "1", "COLUMNS": "300"}

_A, _B, _C = (UUID(f"0193b3c4-0000-7000-8000-00000000000{digit}") for digit in "abc")
_EARLY = datetime(2026, 1, 31, 12, 0, 5, tzinfo=timezone.utc)
_LATE = datetime(2026, 2, 1, 1, 30, 0, 250, tzinfo=timezone(timedelta(hours=1)))
_HASH = "ab" * 32

_MEMBERSHIPS = (Membership(_B, "acme", Role.OWNER), Membership(_C, "beta", Role.MEMBER))
_USER = User(
    _A, "ada@example.com", "Ada", Plan.PLUS, UserState.SUSPENDED, Pending.SUSPEND, True, _MEMBERSHIPS, _EARLY, _LATE
)
_PLAIN_USER = replace(
    _USER, name=None, plan=Plan.FREE, state=UserState.ACTIVE, pending=None, is_superuser=False, organizations=()
)
_ORGANIZATION = Organization(_B, "acme", "Acme", 2, _EARLY, _LATE)
_PLAN = plans.PlanDetails(Plan.PLUS, "Plus", (Permission.USERS_READ, Permission.ORGS_READ))

_FAILED_ROW = imports.RowResult(
    3, "bob@example.com", imports.Status.FAILED, None, "users.email_exists", "bob@example.com exists already"
)
_KEPT_USER = imports.KeptUser(2, "ada@example.com", _A, "imports.user_touched", "ada@example.com has signed in")
_IMPORT = imports.ImportRun(
    _B,
    b"",
    ("email", "plan"),
    imports.Via.API,
    imports.OnConflict.FAIL,
    _A,
    "ada@example.com",
    "0f1e2d3c",
    3,
    _EARLY,
    _LATE,
    None,
    None,
)

_FIRST = migrations.Revision("0001", "Create the tables", _HASH)
_SECOND = migrations.Revision("0002", "Drop names", _HASH, transactional=False, destructive=True)
_THIRD = migrations.Revision("0003", "Change data", _HASH, destructive=False)
_APPLIED = migrations.AppliedRevision(_FIRST, 12, 1)
_PLACE = migrations.Place("db.example.com", "app", migrations.Marker("production", protected=True), "15.4")
_UNMARKED = replace(_PLACE, marker=None)
_TABLES = (migrations.LostTable("users", 3), migrations.LostTable("plans", 1))
_DECLARED = changes.Applied(
    "app",
    "production",
    tuple(
        changes.Result(change)
        for change in (
            changes.Change("orgs.create", "acme", after={"name": "Acme", "owner": "ada@example.com"}),
            changes.Change(
                "orgs.members.update", "acme", "ada@example.com", None, {"role": "owner"}, {"role": "admin"}
            ),
            changes.Change("users.update", None, "bob@example.com", None, {"name": None}, {"name": "Bob"}),
            changes.Change("plans.revoke", plan="plus", before={"permission": "users:read"}),
        )
    ),
    (changes.UndeclaredMember("acme", "eve@example.com", Role.MEMBER),),
    "plan.json",
)
_SEEDED = seed.Seeded(
    "db.example.com",
    "app",
    "local",
    (
        seed.SeededOrganization("acme", "Acme", seed.Outcome.CREATED),
        seed.SeededOrganization("beta", "Beta", seed.Outcome.DIFFERS, "another name"),
    ),
    (
        seed.SeededUser(_A, "ada@example.com", seed.Outcome.TAKEN_BACK),
        seed.SeededUser(None, "bob@example.com", seed.Outcome.FAILED, "no identity"),
        *(seed.SeededUser(_C, f"user{n}@example.com", seed.Outcome.EXISTING) for n in range(20)),
    ),
)

_EVENT = audit.AuditEvent(
    id=_A,
    occurred_at=_LATE,
    operator_id=_B,
    operator_email="ada@example.com",
    action="users.update",
    outcome=audit.Outcome.DONE,
    target_type="user",
    target_id=str(_C),
    organization_id=_B,
    before={"name": None, "plan": "free"},
    after={"name": "Bob Bee", "plan": "plus", "organizations": {"acme": "owner"}, "tags": ["a", 1], "ok": True},
    reason="asked",
    request_id="ab12",
)
_DENIED = replace(
    _EVENT, operator_id=None, outcome=audit.Outcome.DENIED, organization_id=None, before=None, after=None, reason=None
)
_FINDING = audit.Finding(audit.Break.EVENT_CHANGED, "an event was changed", _A, "users.update", 3, _EARLY)
_VERIFICATION = audit.Verification(
    5,
    2,
    1,
    _HASH,
    _LATE,
    (_FINDING, audit.Finding(audit.Break.SEAL_REMOVED, "a seal is gone")),
    (replace(_FINDING, kind=audit.Break.OUT_OF_ORDER),),
    (audit.Unguarded(audit.Gap.RULE, "audit_events", "r", "a rule drops events", "DROP RULE r"),),
)
_WHO = auth.WhoAmI(
    user_id=_A,
    email="ada@example.com",
    plan=Plan.PREMIUM,
    state=UserState.ACTIVE,
    is_superuser=True,
    organizations=_MEMBERSHIPS,
    target=TargetSource(TargetKind.PROFILE, "work"),
    supabase_url="https://auth.example.com",
    source=IdentitySource.SESSION,
    stored_in=Path("/home/ada/secrets.json"),
    expires_at=_LATE,
    claimed=True,
)
_STRANGER = replace(
    _WHO, plan=None, state=None, is_superuser=None, organizations=(), stored_in=None, confirmed=False, note="away"
)
_VERDICT = Verdict(Permission.USERS_READ, _A, "ada@example.com", Plan.PLUS, "acme", allowed=False, reason="suspended")
_STATUS = migrations.MigrationStatus(
    _PLACE,
    "0001",
    "0003",
    (_FIRST,),
    (_SECOND, _THIRD),
    unknown=True,
    changed=(migrations.ChangedRevision(_FIRST, "cd" * 32),),
    read_only=migrations.ReadOnly(place="on the database app", undo="ALTER DATABASE app"),
)
_MIGRATED = migrations.Migrated(_PLACE, "0001", "0003", (_APPLIED,), (_SECOND, _THIRD), 120, "pid 7")
_ROLLED_BACK = migrations.RolledBack(
    _PLACE, "0001", "0003", (_APPLIED,), (_APPLIED,), (_SECOND,), (_THIRD,), (_THIRD,), _TABLES, ("users.name",), 0, "x"
)
_RESET = reset.DatabaseReset(
    place=_PLACE,
    in_place=True,
    previous="0002",
    current="0003",
    head="0003",
    applied=(_APPLIED,),
    pending=(_SECOND,),
    tables=_TABLES,
    strangers=("bazar.notes",),
    foreign_keys=("foreign key files_owner_fkey of public.files",),
    superuser="ada@example.com",
    audit=reset.AuditLog(9, _HASH),
    identities=4,
    waited_ms=3,
    holder="pid 7",
    seeded=_SEEDED,
)

_PYTHON = cli.Interpreter("3.12.1", "CPython", "/usr/bin/python3")


@dataclass(frozen=True)
class _Part:
    """A component of the stack, by the names that the view reads."""

    name: str
    state: str
    pid: int | None = None
    address: str | None = None
    since: datetime | None = None
    log: Path | None = None


@dataclass(frozen=True)
class _Mail:
    """A kept mail."""

    sent_at: datetime = _EARLY
    recipient: str = "ada@example.com"
    kind: str = "invite"
    link: str = "http://127.0.0.1/verify"
    code: str = "123456"


EXAMPLES: dict[str, tuple[Any, ...]] = {
    "audit.EVENT": (
        _EVENT,
        _DENIED,
        replace(_EVENT, before={"email": "bob@example.com"}, after=None),
        replace(_DENIED, target_id=None),
    ),
    "audit.VERIFICATION": (_VERIFICATION, audit.Verification(0, 0, 0, None, None, ())),
    "auth.LOGGED_OUT": (auth.LoggedOut(True, None, everywhere=False), auth.LoggedOut(False, False, everywhere=True)),
    "auth.TOKEN": (auth.AccessToken(Secret("eyJ.a.b"), _EARLY),),
    "auth.WHO": (_WHO, _STRANGER, replace(_WHO, stored_in="keyring", source=IdentitySource.TOKEN)),
    "batch.LINE": (
        batch.LineResult(1, "users me", 0, {"id": str(_A)}, None, ("warning: a warning",)),
        batch.LineResult(2, "users get x", 3, None, {"code": "users.not_found"}, ()),
        batch.LineResult(3, "users list -o ids", 0, f"{_A}\n", None, ()),
    ),
    "declared.APPLIED": (
        _DECLARED,
        replace(
            _DECLARED,
            results=tuple(
                replace(r, outcome=outcome, code=code, message=message)
                for r, (outcome, code, message) in zip(
                    _DECLARED.results,
                    (
                        (changes.Outcome.DONE, None, None),
                        (changes.Outcome.FAILED, "users.last_owner", "ada is the last active owner of acme"),
                        (changes.Outcome.UNCHANGED, None, None),
                        (changes.Outcome.NOT_BEGUN, None, None),
                    ),
                    strict=True,
                )
            ),
            not_in_file=(),
            plan_file=None,
        ),
        replace(_DECLARED, results=(), not_in_file=(), plan_file=None, dry_run=True),
    ),
    "config.CHECK": (
        doctor.Check(
            "users-without-identity",
            doctor.Health.FAILED,
            "2 users",
            "run it again",
            2,
            (doctor.Affected(_A, "ada@example.com", "pending"), doctor.Affected(None, name="acme")),
        ),
        doctor.Check("target", doctor.Health.OK, "found"),
    ),
    "config.PLACE": (config.Place("data", "/home/ada/bazar", exists=True), config.Place("data", None, exists=False)),
    "config.PROFILE": (
        config.Profile("work", True, "https://auth.example.com", "ada@example.com", None, signed_in=True),
        config.Profile("home", False, "", None, "https://bazar.example.com", signed_in=None),
    ),
    "config.SETTING": (config.Setting("SUPABASE_KEY", "***", "environment"), config.Setting("X", None, "not set")),
    "database.CREATED": (
        create_and_drop.CreatedDatabase("db.example.com", "app", created=True),
        create_and_drop.CreatedDatabase("db.example.com", "app", created=True, planned=True),
        create_and_drop.CreatedDatabase("db.example.com", "app", created=False, planned=True),
    ),
    "database.CURRENT_REVISION": (
        migrations.CurrentRevision("0003", is_head=True),
        migrations.CurrentRevision("0001", is_head=False),
        migrations.CurrentRevision(None, is_head=False),
    ),
    "database.DROPPED": (create_and_drop.DroppedDatabase("db.example.com", "app", "local"),),
    "database.MARKER": (marker.DatabaseMarker(_A, "app", "staging", protected=False, created_at=_EARLY),),
    "database.SESSION": (
        locks.LockSession(7, "bazar", "ada", "idle", 4, True, ("users", "plans"), (8, 9), "SELECT ?", _EARLY),
        locks.LockSession(8, None, None, None, None, False, (), (), None, None),
    ),
    "db.MIGRATED": (
        _MIGRATED,
        replace(_MIGRATED, place=_UNMARKED, current=None, would_apply=(_SECOND,), holder=None),
        replace(_MIGRATED, sql="SELECT 1;\nSELECT 2;\n"),
    ),
    "db.ROLLED_BACK": (_ROLLED_BACK, replace(_ROLLED_BACK, lost_tables=(), sql="SELECT 1;\n")),
    "db.STATUS": (
        _STATUS,
        replace(_STATUS, current=None, unknown=False, changed=(), read_only=None),
        replace(_STATUS, read_only=migrations.ReadOnly(standby=True)),
    ),
    "db.WAITED": (migrations.Waited(_PLACE, 15),),
    "imports.IMPORTED": (
        imports.Imported(_B, 3, created=2, failed=1, failures=(_FAILED_ROW,)),
        imports.Imported(None, 1, unchanged=1, dry_run=True),
    ),
    "imports.UNDONE": (
        imports.UndoneImport(_B, 3, deleted=2, gone=0, kept=1, open=0, reasons=(_KEPT_USER,)),
        imports.UndoneImport(_B, 1, deleted=1, gone=0, kept=0, open=0, dry_run=True),
    ),
    "imports.ROW": (imports.RowResult(2, "ada@example.com", imports.Status.CREATED, _A, None, None), _FAILED_ROW),
    "imports.RUN": (
        imports.CountedRun(_IMPORT, {imports.Status.CREATED: 1, imports.Status.OPEN: 2}),
        imports.CountedRun(replace(_IMPORT, finished_at=_LATE), {imports.Status.CREATED: 3}),
    ),
    "installation.INSTALLATION": (
        cli.Installation(
            "0.1.0",
            _PYTHON,
            "Linux-6.1-x86_64-with-glibc2.36",
            cli.Install(cli.InstallKind.GIT, "/home/ada/lib/bazar_cli", "pip", "ab12"),
            {"alembic": "1.20.1", "httpx": "0.28.1"},
        ),
        cli.Installation("0.1.0", _PYTHON, "macOS-15", cli.Install(cli.InstallKind.SOURCE, "/bazar/bazar_cli"), {}),
    ),
    "local.ENVIRONMENT": (
        {"SUPABASE_URL": "http://127.0.0.1:9999", "SUPABASE_KEY": "sb_secret_it's", "DATABASE_URL": "postgresql://x"},
    ),
    "local.LINE": ("a line of a log",),
    "local.MAIL": (_Mail(),),
    "local.STARTED": (
        local.Started(
            "http://127.0.0.1:9999", "postgresql://ada@/app", "ada@example.com", "local", True, 3, "/home/ada/bazar"
        ),
    ),
    "local.STATUS": (
        _Part("auth", "running", 7, "http://127.0.0.1:9999/auth/v1", _EARLY, Path("/home/ada/auth.log")),
        _Part("postgres", "stopped"),
    ),
    "local.STOPPED": (local.Stopped(postgres=True, auth=False), local.Stopped(True, True, data_deleted=True)),
    "members.MEMBER": (
        members.Member(_A, "ada@example.com", "Ada", Role.ADMIN, UserState.ACTIVE, _EARLY),
        members.Member(_A, "ada@example.com", None, Role.ADMIN, UserState.ACTIVE, _LATE),
    ),
    "members.MEMBER_CHANGE": (
        members.MemberChange("acme", _A, "ada@example.com", Role.ADMIN, None),
        members.MemberChange("acme", _A, "ada@example.com", None, None),
    ),
    "migration_files.FILE": (
        revisions.RevisionFile(_THIRD, ("0001", "0002"), "0003_change_data.py", is_head=True),
        revisions.RevisionFile(_FIRST, (), "0001_create.py"),
    ),
    "migration_files.NEW": (
        revisions.NewRevision("0004", ("0003",), "Add notes", "migrations/versions/0004_add_notes.py"),
        revisions.NewRevision(None, (), "Merge", None),
    ),
    "orgs.CREATED": (
        organizations.CreatedOrganization(_ORGANIZATION),
        organizations.CreatedOrganization(_ORGANIZATION, id_is_provisional=True),
    ),
    "orgs.DISSOLUTION": (organizations.Dissolution(_ORGANIZATION, {Role.OWNER: 1, Role.MEMBER: 2}, 1),),
    "orgs.ORGANIZATION": (_ORGANIZATION,),
    "plans.ASSIGNED": (
        plans.AssignedPlan(_USER, Plan.PREMIUM, ("db:read", "db:reset"), ()),
        plans.AssignedPlan(_PLAIN_USER, Plan.FREE, (), ("users:read",)),
    ),
    "plans.EDITED": (plans.EditedPlan(_PLAN, Permission.USERS_READ, True, 4, 1),),
    "plans.EXPLANATION": (
        Explanation(
            _VERDICT,
            (Step("state", "suspended", ok=False, why="is suspended"), Step("role", None, ok=True, why="any role")),
            ("`bazar users restore ada@example.com`", "ask an owner"),
        ),
        Explanation(replace(_VERDICT, allowed=True, organization=None), (), ()),
    ),
    "plans.MATRIX": (plans.MatrixRow(Permission.USERS_READ, False, True, True),),
    "plans.PLAN": (_PLAN, replace(_PLAN, permissions=())),
    "plans.PLAN_SUMMARY": (_PLAN, replace(_PLAN, permissions=())),
    "plans.USAGE": (
        plans.PlanUsage("plus", "Plus", 3, 2, 1, 1 / 3),
        plans.PlanUsage("free", "Free", 0, 0, 0, 0.0),
    ),
    "plans.VERDICT": (_VERDICT, replace(_VERDICT, allowed=True, organization=None)),
    "reset.RESET": (
        _RESET,
        replace(
            _RESET,
            place=_UNMARKED,
            previous=None,
            current=None,
            audit=None,
            identities=None,
            holder=None,
            seeded=None,
        ),
        replace(_RESET, audit=reset.AuditLog(0, None), seeded=replace(_SEEDED, users=(), organizations=())),
    ),
    "seed.SEEDED": (_SEEDED, replace(_SEEDED, users=(), organizations=())),
    "text.TEXT": ("HELP\n\n  of two lines\n",),
    "user_changes.ADOPTED": (
        user_changes.AdoptedUser(_USER, True, True, _LATE),
        user_changes.AdoptedUser(_PLAIN_USER, False, confirmed=False),
    ),
    "user_changes.CREATED": (
        user_changes.CreatedUser(_USER, True, Secret("correct horse")),
        user_changes.CreatedUser(_PLAIN_USER, True, id_is_provisional=True, planned=True),
        user_changes.CreatedUser(_PLAIN_USER, False, invited=True),
    ),
    "user_changes.RESET": (
        user_changes.PasswordReset(_USER, True),
        user_changes.PasswordReset(_USER, False, Secret("https://auth.example.com/verify")),
    ),
    "user_changes.RESTORED": (
        user_changes.RestoredUser(_USER, True),
        user_changes.RestoredUser(_PLAIN_USER, False, has_identity=False),
    ),
    "user_changes.SUSPENDED": (
        user_changes.SuspendedUser(_USER, True, True, 2, True, _LATE),
        user_changes.SuspendedUser(_PLAIN_USER, False),
    ),
    "user_sessions.REVOKED": (
        sessions.RevokedSessions(_A, "ada@example.com", 2, True, _LATE, own=False),
        sessions.RevokedSessions(_A, "ada@example.com", 0, False, None, own=True),
    ),
    "user_sessions.SESSION": (
        sessions.UserSession(_A, _EARLY, _LATE, "curl/8", "192.0.2.1", "aal1", _LATE, current=True),
        sessions.UserSession(_A, None, None, None, None, None, None, current=False),
    ),
    "users.USER": (_USER, _PLAIN_USER),
}
"""Results for each view, by its module and name: one with every value, and where it differs one with few."""


def all_views() -> dict[str, View[Any]]:
    """Return every view of the program, by its module and name."""
    modules = [f"{views.__name__}.{m.name}" for m in iter_modules(views.__path__)]
    return {
        f"{name.rpartition('.')[2]}.{constant}": value
        for name in modules
        for constant, value in vars(import_module(name)).items()
        if isinstance(value, View) and not constant.startswith("_")
    }


def shown(name: str) -> str:
    """Return the names of a view's fields, and its examples: each alone, and all of them as a list."""
    view = all_views()[name]
    if name not in EXAMPLES:
        raise KeyError(f"{name} has no example: add one to EXAMPLES in tests/support/view_examples.py")
    items = EXAMPLES[name]
    forms = [Format.JSONL, Format.CSV, Format.TABLE, *([Format.IDS] if view.identifier else [])]
    parts = [f"fields: {', '.join(view.chosen(None))}"]
    parts += [f"-- {form}\n{_written(view, item, form)}" for item in items for form in forms]
    parts += [f"-- list\n{_written_list(view, items, {})}"]
    if view.drawn or view.bars:
        parts += [f"-- list on a terminal\n{_written_list(view, items, _ON_A_TERMINAL)}"]
    return "\n".join(line.rstrip(" \r") for line in "\n".join(parts).split("\n")).rstrip("\n")


def _written(view: View[Any], item: Any, form: Format) -> str:
    stream = io.StringIO()
    Renderer(form, None, {}, stream).one(view, item)
    return stream.getvalue().rstrip("\n")


def _written_list(view: View[Any], items: tuple[Any, ...], environ: dict[str, str]) -> str:
    stream = io.StringIO()
    Renderer(Format.TABLE, None, environ, stream).pages(view, [Page(items, None)])
    return stream.getvalue().strip("\n")


def kept() -> dict[str, str]:
    """Return what the file holds of each view, by its name."""
    parts = FILE.read_text(encoding="utf-8").split("\n\n== ")[1:]
    return {name: text.rstrip("\n") for name, _, text in (part.partition("\n") for part in parts)}


def content() -> str:
    """Return what the file should hold. Raises: KeyError for a view without an example."""
    texts = [f"== {name}\n{shown(name)}" for name in sorted(all_views())]
    return "\n\n".join([(__doc__ or "").strip(), *texts]) + "\n"
