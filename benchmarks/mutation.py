"""A mutation run: change functions, one change at a time, and see whether a test that reaches the change fails.

    python -m benchmarks.mutation [--sample N] [--again FILE] [--jobs N] [--map FILE] SOURCES... -- TESTS...

A first run of the tests notes which test runs which line, here and in the commands that the fork server of the tests
runs. Then a fork makes each change in memory, and runs the tests of the changed line, the quickest first, until one
fails. The values of modules and classes and the words of messages are not changed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import gc
import importlib.machinery
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeVar

N = TypeVar("N", bound=ast.AST)
T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[1]
_CHANGE = "BAZAR_MUTATION_CHANGE"
"""Tells the fork server which change to make: file and number."""
_TRACE = "BAZAR_MUTATION_TRACE"
"""Tells the fork server to note lines: a folder with the name of the test, the files, and the notes."""
_START = """\
import sys
sys.path.insert(0, {root!r})
from benchmarks.mutation import {name}
{name}()
"""
_SEED = 20261130
_PATIENCE = 30.0
"""Seconds beyond five times the usual time of the tests, before a change counts as one that hangs."""
_WORD = re.compile(r"[\w.:/=*-]+")
_OPERATORS: Mapping[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


# -- changes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A change of a node inside a function."""

    number: int
    lines: tuple[int, int]
    """The first and last line of the statement, without the statements inside it."""
    before: ast.AST
    after: ast.AST

    def __str__(self) -> str:
        return f"- {_shown(self.before)}\n  + {_shown(self.after)}"


def changes(tree: ast.Module) -> Iterator[Change]:
    """Make one change of a module after another in its tree, and take each back before the next."""
    number = 0
    for parent, name, index, node, lines in _nodes(tree, None, in_text=False):
        for other in _others(node):
            ast.copy_location(other, node)
            ast.fix_missing_locations(other)
            _put(parent, name, index, other)
            yield Change(number, lines, node, other)
            _put(parent, name, index, node)
            number += 1


def _shown(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:300]


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


_Node = tuple[ast.AST, str, "int | None", ast.AST, tuple[int, int]]
"""A node behind its parent, the field and the index there, before the lines of its statement."""
_LEFT_OUT = {"annotation", "returns", "decorator_list", "args", "format_spec"}
"""The fields of nodes that are not changed; `args` only of functions."""


def _nodes(parent: ast.AST, lines: tuple[int, int] | None, *, in_text: bool) -> Iterator[_Node]:
    """Yield every node inside a function but annotations, docstrings, types in quotes, and the words of messages."""
    is_function = isinstance(parent, (ast.FunctionDef, ast.Lambda))
    for name, value in ast.iter_fields(parent):
        if name in _LEFT_OUT and (name != "args" or is_function):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            if not isinstance(node, ast.AST) or (in_text and isinstance(node, (ast.Constant, ast.Slice))):
                continue
            if isinstance(parent, ast.Call) and ast.unparse(parent.func) == "cast" and index == 0:
                continue  # a type in quotes
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            here = lines
            if isinstance(node, (ast.stmt, ast.ExceptHandler)) and (lines is not None or is_function):
                body = getattr(node, "body", None)
                last = body[0].lineno - (0 if isinstance(node, ast.ExceptHandler) else 1) if body else node.end_lineno
                here = (node.lineno, max(node.lineno, last or 0))
            elif isinstance(parent, ast.Lambda) and lines is None:
                here = (parent.lineno, parent.end_lineno or parent.lineno)
            if here is not None:
                yield parent, name, index, node, here
            yield from _nodes(node, here, in_text=in_text or isinstance(node, ast.JoinedStr))


def _with(node: N, **fields: Any) -> N:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _without(items: Sequence[T]) -> Iterator[list[T]]:
    for index in range(len(items)):
        yield [*items[:index], *items[index + 1 :]]


def _others(node: ast.AST) -> Iterator[ast.AST]:
    """What a node is changed to, one after another."""
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            yield _with(node, ops=[*node.ops[:index], _OPERATORS[type(op)](), *node.ops[index + 1 :]])
    elif isinstance(node, ast.BoolOp):
        for rest in _without(node.values):
            yield _with(node, values=rest) if len(rest) > 1 else rest[0]
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _OPERATORS:
        yield _with(node, op=_OPERATORS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.comprehension):
        yield from (_with(node, ifs=rest) for rest in _without(node.ifs))
    elif isinstance(node, ast.Call):
        # The hint of an error is words, too.
        yield from (
            _with(node, keywords=[w for w in node.keywords if w is not word])
            for word in node.keywords
            if word.arg not in {None, "hint"}
        )
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node.value)
    else:
        yield from _other_statements(node)


def _other_constants(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and _WORD.fullmatch(value):
        yield ast.Constant(f"{value}X")


def _other_statements(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        # A call that is not made, but keeps the names of the enclosing function that it has.
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        yield _with(node, value=ast.Lambda(nothing, node.value))
    elif isinstance(node, (ast.Raise, ast.AugAssign)) or _keeps_a_value(node):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield _with(node, value=ast.Constant(None))
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.With) and all(item.optional_vars is None for item in node.items):
        yield ast.If(ast.Constant(True), node.body, [])
    elif isinstance(node, ast.ExceptHandler) and not isinstance(node.body[0], ast.Raise):
        yield _with(node, body=[ast.Raise()])


def _keeps_a_value(node: ast.AST) -> bool:
    """Whether it writes an attribute or an item: without another assignment, its names would be missing."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], (ast.Attribute, ast.Subscript))


def _code(path: Path, number: int) -> CodeType:
    """Return the code of a module with a change."""
    tree = ast.parse(path.read_text())
    for one in changes(tree):
        if one.number == number:
            return compile(tree, str(path), "exec", dont_inherit=True)
    raise LookupError(number)


def _make(path: Path, number: int) -> None:
    """Give the functions of a module, which others have imported, their changed code."""
    code: dict[tuple[str, int], CodeType] = {}

    def note(found: CodeType) -> None:
        code[found.co_name, found.co_firstlineno] = found
        for inner in found.co_consts:
            if isinstance(inner, CodeType):
                note(inner)

    note(_code(path, number))
    gc.unfreeze()
    for found in gc.get_objects():
        if type(found) is FunctionType and found.__code__.co_filename == str(path):
            new = code.get((found.__code__.co_name, found.__code__.co_firstlineno))
            if new is not None and len(new.co_freevars) == len(found.__code__.co_freevars):
                found.__code__ = new
        elif isinstance(found, functools._lru_cache_wrapper) and found.__module__.startswith("bazar_cli"):  # pyright: ignore[reportPrivateUsage]
            found.cache_clear()


# -- which test runs which line -----------------------------------------------------------------------------------


class _Tracer:
    """Notes each line of the wanted files once per test."""

    def __init__(self, folder: Path) -> None:
        self.test = (folder / "test").read_text()
        self._files = set((folder / "files").read_text().splitlines())
        self._notes = os.open(folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._write = os.write  # tests replace it
        self._seen: set[tuple[str, str, int]] = set()

    def start(self) -> None:
        """Trace this thread and those that it starts."""
        threading.settrace(self._on_call)
        sys.settrace(self._on_call)

    def _on_call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self._on_line if frame.f_code.co_filename in self._files else None

    def _on_line(self, frame: FrameType, event: str, _argument: object) -> Any:
        key = (self.test, frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and key not in self._seen:
            self._seen.add(key)
            self._write(self._notes, ("\t".join(map(str, key)) + "\n").encode())
        return self._on_line


def in_a_fork_server() -> None:
    """Make the change, or note lines, in a process that the tests start; `sitecustomize` of the run calls it."""
    if _CHANGE in os.environ:
        name, number = os.environ[_CHANGE].rsplit(":", 1)
        get_code = importlib.machinery.SourceFileLoader.get_code

        def changed(self: importlib.machinery.SourceFileLoader, fullname: str) -> CodeType | None:
            if self.path != name:
                return get_code(self, fullname)
            return _code(Path(name), int(number))

        importlib.machinery.SourceFileLoader.get_code = changed
    if _TRACE in os.environ:
        os.register_at_fork(after_in_child=lambda: _Tracer(Path(os.environ[_TRACE])).start())


# -- the run ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reached:
    """The tests of each line, and the seconds of each test."""

    tests: Mapping[tuple[str, int], set[str]]
    seconds: Mapping[str, float]


class Run:
    """Runs instead of the collected tests: once with notes, then once for each change."""

    def __init__(self, files: Sequence[Path], options: argparse.Namespace, folder: Path) -> None:
        self._files, self._options, self._folder = files, options, folder
        self._items: dict[str, Any] = {}
        self._tracer: _Tracer | None = None
        self._ends: tuple[Any, Any] = (None, None)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the tests of every change in forks of this process."""
        self._items = {item.nodeid: item for item in session.items}
        self._ends = (session.items[0], session.items[-1])
        # It makes the database and the Auth service that the forks share.
        self._run([session.items[0].nodeid], stop=True)
        reached = self._reached()
        found = [(path, one) for path in self._files for one in changes(ast.parse(path.read_text()))]
        if self._options.sample and len(found) > self._options.sample:
            found = random.Random(_SEED).sample(found, self._options.sample)  # noqa: S311 - no secret
            found.sort(key=lambda pair: (pair[0], pair[1].number))
        if self._options.again:
            earlier = Path(self._options.again).read_text()
            found = [pair for pair in found if f"{pair[1]}\n" in earlier]
        ends: dict[tuple[Path, int], str] = {}
        running: dict[int, tuple[Path, Change, float]] = {}
        waiting = list(reversed(found))
        while waiting or running:
            while waiting and len(running) < self._options.jobs:
                path, one = waiting.pop()
                tests = self._tests(reached, path, one)
                if not tests:
                    ends[path, one.number] = "not reached"
                    continue
                limit = time.monotonic() + _PATIENCE + 5 * sum(reached.seconds[test] for test in tests)
                running[self._fork(path, one, tests)] = (path, one, limit)
            for pid, (path, one, limit) in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if not ended and time.monotonic() < limit:
                    continue
                del running[pid]
                _kill_group(pid)
                if not ended:
                    os.waitpid(pid, 0)
                end = "hangs" if not ended else "survived" if status == 0 else "killed"
                ends[path, one.number] = end
                if end == "survived":
                    print(f"\n{path.relative_to(_ROOT)}:{one.lines[0]} #{one.number}\n  {one}", flush=True)
            time.sleep(0.02)
        self._report(found, ends)
        # The forks share a database: a test that fails now would have counted as one that found a change.
        self._run(list(self._items), stop=False)
        return True

    def _report(self, found: Sequence[tuple[Path, Change]], ends: Mapping[tuple[Path, int], str]) -> None:
        for path, one in found:
            if ends[path, one.number] == "not reached":
                print(f"not reached: {path.relative_to(_ROOT)}:{one.lines[0]} #{one.number} {one}")
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for path, one in found:
            counted[str(path.relative_to(_ROOT))][ends[path, one.number]] += 1
        total = Counter(ends[path, one.number] for path, one in found)
        for name, counts in [*sorted(counted.items()), ("all", total)]:
            print(f"{name}: {counts.total()} changes, {dict(counts)}")

    def _tests(self, reached: _Reached, path: Path, one: Change) -> list[str]:
        first, last = one.lines
        names = {name for line in range(first, last + 1) for name in reached.tests.get((str(path), line), ())}
        return sorted(names & self._items.keys() & reached.seconds.keys(), key=reached.seconds.__getitem__)

    def _reached(self) -> _Reached:
        kept = Path(self._options.map) if self._options.map else None
        if kept is None or not kept.exists():
            self._note_lines()
            notes = (self._folder / "notes").read_text().splitlines()
            seconds = json.loads((self._folder / "seconds").read_text())
            if kept is not None:
                kept.write_text(json.dumps({"notes": notes, "seconds": seconds}))
        else:
            data = json.loads(kept.read_text())
            notes, seconds = data["notes"], data["seconds"]
        tests: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        for note in notes:
            name, file, line = note.rsplit("\t", 2)
            tests[file, int(line)].add(name)
        return _Reached(tests, seconds)

    def _note_lines(self) -> None:
        (self._folder / "files").write_text("\n".join(map(str, self._files)))
        (self._folder / "test").write_text("")
        pid = os.fork()
        if pid == 0:
            try:
                os.environ[_TRACE] = str(self._folder)
                self._tracer = _Tracer(self._folder)
                self._tracer.start()
                seconds = self._run(list(self._items), stop=False)
                (self._folder / "seconds").write_text(json.dumps(seconds))
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    def _fork(self, path: Path, one: Change, tests: Sequence[str]) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            os.setsid()
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os.environ[_CHANGE] = f"{path}:{one.number}"
            _make(path, one.number)
            code = 0 if len(self._run(tests, stop=True)) == len(tests) else 1
        finally:
            os._exit(code)

    def _run(self, names: Sequence[str], *, stop: bool) -> dict[str, float]:
        """Run tests; return the seconds of those that passed before the first failure."""
        from _pytest.runner import runtestprotocol

        passed: dict[str, float] = {}
        for place, name in enumerate(names):
            if self._tracer is not None:
                self._tracer.test = name
                (self._folder / "test").write_text(name)
            item, start = self._items[name], time.monotonic()
            # After the last test an item of another module comes: what the session has made is not torn down.
            other = self._ends[item.path == self._ends[0].path]
            after = self._items[names[place + 1]] if place + 1 < len(names) else other
            reports = runtestprotocol(item, log=False, nextitem=after)
            if any(report.failed for report in reports):
                if not stop:
                    print(f"fails without a change: {name}", flush=True)
                    continue
                break
            passed[name] = time.monotonic() - start
        return passed


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _python_files(names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        place = _ROOT / name
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def main() -> int:
    """Read the options and run."""
    import pytest

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="try so many changes, the same ones every time")
    parser.add_argument("--again", help="try only the changes that the output of an earlier run has")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--map", help="a file that keeps which test runs which line for the next run")
    parser.add_argument("files", nargs="+")
    parts = sys.argv.index("--")
    options, tests = parser.parse_args(sys.argv[1:parts]), sys.argv[parts + 1 :]
    with tempfile.TemporaryDirectory(prefix="bazar-mutation-") as name:
        (Path(name) / "sitecustomize.py").write_text(_START.format(root=str(_ROOT), name=in_a_fork_server.__name__))
        os.environ["PYTHONPATH"] = name
        run = Run(list(_python_files(options.files)), options, Path(name))
        return int(pytest.main(["-p", "no:randomly", "-q", "--capture=sys", *tests], plugins=[run]))


if __name__ == "__main__":
    raise SystemExit(main())
