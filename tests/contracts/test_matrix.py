"""The matrix of `tests/data/matrix.md`: complete, correct in every cell, and consistent with `plans check`."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

import pytest

from bazar_cli.devstack.auth.keys import generate_keys
from bazar_cli.domain.authz.spec import Access, Scope
from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Done
from tests.support.expected_changes import EXPECTED_CHANGES, NOTHING, Run, unexpected, unlike
from tests.support.matrix import OPERATORS, ORGS, USERS, Row, matrix, outcome_runs
from tests.support.matrix_runner import MatrixRunner
from tests.support.people import People
from tests.support.postgres import TEMPLATE, scratch_database
from tests.support.tree import ALL, command, verb

# The targets that a parameter of this name may have, in every command.
_KINDS = {"user": USERS, "owner": USERS, "org": ORGS}
_NARROW = {USERS: ("member", "foreign"), ORGS: ("acme", "beta")}
"""The targets of a command without a row rule: one that the operator can see and one that they cannot."""
_LIKE = dict.fromkeys(
    (
        "users reset-password",
        "users restore",
        "users sessions list",
        "users sessions revoke",
        "users suspend",
        "users update",
    ),
    "users delete",
)
"""Commands with the row rule of another one, which has every target; these have those that show the same rule."""
_TELLING = ("member", "shared", "superuser", "foreign")
_MEMBERS = tuple(name for name in USERS if name != "alone")
_ENOUGH = {
    **dict.fromkeys(_LIKE, ("oneself", *_TELLING)),
    # An invisible user may have an organization or none; only for `add` it makes a difference.
    **dict.fromkeys(("orgs members remove", "orgs members update"), _MEMBERS),
    # The decision depends on the role that is given, and on whether the user is visible.
    "orgs members add": ("oneself", "member", "admin", "superuser", "foreign", "alone", "nobody"),
}
"""The users of commands for which more users would test nothing new."""


@pytest.fixture(scope="module")
def runner(postgres_url: str, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Generator[MatrixRunner]:
    """Both systems for this matrix alone, so that all their rows can be compared after every cell."""
    keys = generate_keys()
    with (
        scratch_database(postgres_url, TEMPLATE) as database,
        running_auth_service(environment_of(keys, database)) as auth,
        People(
            replace(target, supabase_url=auth, supabase_key=Secret(keys.secret_key), database_url=Secret(database))
        ) as people,
    ):
        yield MatrixRunner(people, tmp_path_factory.mktemp("homes"))


# -- every cell is correct -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", matrix().rows)
def test_deciding_cells_of_row(runner: MatrixRunner, line: str) -> None:
    row = matrix().rows[line]
    _run(runner, row, matrix().operators(row))


@pytest.mark.long
@pytest.mark.parametrize("line", matrix().rows)
def test_all_cells_of_row(runner: MatrixRunner, line: str) -> None:
    _run(runner, matrix().rows[line], OPERATORS)


def _run(runner: MatrixRunner, row: Row, operators: Sequence[str]) -> None:
    """Run cells of a row, and undo what they changed."""
    wrong = [fault for operator in operators for fault in _faults(runner, row, operator)]
    runner.tidy()
    if row.command.startswith("auth ") or row.line.startswith("users sessions revoke {oneself}"):
        runner.sign_in()
    assert not wrong, "\n".join([f"bazar {row.line}", *wrong])


def _faults(runner: MatrixRunner, row: Row, operator: str) -> list[str]:
    """The differences between a cell and the command, one per line."""
    result = runner.run_row(row, operator)
    expected, done = row.cells[operator], result.done
    found = _found(done)
    faults: list[str] = []
    if found != (expected.exit_code, expected.error_code):
        names = {(o.exit_code, o.error_code): o.word for o in matrix().outcomes.values()}
        shown = " ".join(map(str, found))
        faults.append(f"  {operator}: expected {expected.word}, got {names.get(found, 'another')} ({shown}) {done.err}")
    if _did(row, done):
        operator_id = str(runner.operators[operator].id)
        run = Run(row.line, done.json if done.out else {}, operator_id, result.before)
        trace = NOTHING if run.has("--dry-run") else EXPECTED_CHANGES[row.command](run)
        faults += [f"  {operator}: {fault}" for fault in unlike(result.before, result.after, trace, operator_id)]
        if " would " in done.err and not run.has("--dry-run"):
            faults.append(f"  {operator}: a real run says what it would do: {done.err}")
    else:
        denials = int(done.code == ExitCode.DENIED and "--dry-run" not in row.line)
        faults += [
            f"  {operator}: {expected.word}, and {change}"
            for change in unexpected(result.before, result.after, denials)
        ]
    return faults


def _found(done: Done) -> tuple[int, str]:
    said_in_code = done.code in {ExitCode.DONE, ExitCode.PARTIAL, ExitCode.FINDING}
    return done.code, "" if said_in_code else str(done.error["code"])


def _did(row: Row, done: Done) -> bool:
    """Whether a command with expected changes ended with success."""
    return row.command in EXPECTED_CHANGES and done.code in {ExitCode.DONE, ExitCode.PARTIAL, ExitCode.FINDING}


def test_outcomes_of_a_plan_change_from_role_to_role_once() -> None:
    """The cells that no run tries have the outcome of a neighbour that one does."""
    for row in matrix().rows.values():
        for group in row.groups:
            words = [run[0][1].word for run in outcome_runs(group)]
            assert len(words) == len(set(words)), f"{row.line}: an outcome returns: {words}"
            assert words == ["plan"] or "plan" not in words, f"{row.line}: a plan allows some roles only: {words}"


# -- every cell exists ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_command_has_rows_for_its_options_and_targets(name: str) -> None:
    rows = [row for row in matrix().rows.values() if row.command == name]
    assert rows, f"bazar {name} has no row in tests/data/matrix.md"
    missing = list(_missing(name, rows))
    assert not missing, f"bazar {name} has no row for {', '.join(missing)}"


@pytest.mark.parametrize(("name", "other"), _LIKE.items())
def test_command_with_the_rule_of_another_ends_like_it(name: str, other: str) -> None:
    rows = matrix().rows.values()
    for target in _TELLING:
        (expected,) = [r.cells for r in rows if r.line == f"{other} {{{target}}} --confirm {{{target}}}"]
        assert expected in [r.cells for r in rows if r.command == name and target in r.placeholders], target


def test_every_command_that_writes_has_a_trace() -> None:
    """A public one without expected changes must leave both systems unchanged."""
    writes = {
        name
        for name, (_, leaf) in ALL.items()
        if verb(leaf).spec.writes and verb(leaf).spec.access is not Access.PUBLIC
    }
    assert writes - EXPECTED_CHANGES.keys() == set()
    assert EXPECTED_CHANGES.keys() - ALL.keys() == set()


def test_every_outcome_of_the_legend_is_used() -> None:
    used = {outcome for row in matrix().rows.values() for outcome in row.cells.values()}
    assert set(matrix().outcomes.values()) == used


def _missing(name: str, rows: list[Row]) -> Iterator[str]:
    """Name each option and target of a command that no row has."""
    words, leaf = ALL[name]
    spec = verb(leaf).spec
    parameters = {str(parameter.name): parameter for parameter in command(words, leaf).params}
    for field, rule in spec.fields.items():
        (option,) = parameters[field].opts
        given = [value for row in rows for value in re.findall(rf" {option} (\S+)", row.line)]
        if not set(given) - set(map(str, rule.free)):
            yield f"{option} with a value that asks for more"
    stated = {placeholder for row in rows for placeholder in row.placeholders}
    for kind in _KINDS.keys() & parameters.keys():
        rule = spec.fields.get(kind)
        platform = spec.scope is Scope.PLATFORM or (rule is not None and rule.platform)
        targets = _KINDS[kind]
        if platform or spec.scope is not Scope.ROW:
            targets = _NARROW[targets][: 1 if platform else 2]  # a superuser sees every user
        elif targets is USERS:
            targets = _ENOUGH.get(name, USERS)
        yield from (f"{{{target}}}" for target in targets if target not in stated)


# -- consistent with `plans check` ---------------------------------------------------------------------------


def test_plans_check_agrees_with_the_commands() -> None:
    rows = matrix().rows
    differing = [
        f"{operator}: {check} is {rows[check].cells[operator].word}, {line} is {rows[line].cells[operator].word}"
        for check, line in matrix().agreements
        for operator in OPERATORS
        if (rows[check].cells[operator].word == "ok") != (rows[line].cells[operator].word == "ok")
    ]
    assert differing == []


def test_plans_check_is_compared_for_every_permission_that_a_command_needs() -> None:
    compared = {check.split()[2] for check, _ in matrix().agreements}
    needed = {p.value for _, leaf in ALL.values() for p in verb(leaf).spec.permissions}
    assert needed <= compared
