"""The answers and rows recorded from a real Supabase Auth server, and how they are compared with ours.

In a record, `<time>`, `<uuid>` and their like stand for what changes from run to run (tests/data/gotrue); all else
must be equal, in value and in type.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, cast

DATA = Path(__file__).parents[1] / "data" / "gotrue"
SHAPES = ("legacy", "2024-01-01")
_A_DAY = 24 * 3600
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TEXTS = {
    "<uuid>": _UUID,
    "<time>": f"{_TIME}Z",
    "<time> (no zone)": _TIME,
    "<token>": r"[\w-]+",
    "<hash>": r"[\w-]{43}",
    "$2a$10$...": r"\$2a\$10\$[./A-Za-z0-9]{53}",
}
_PLACEHOLDER = re.compile("|".join(re.escape(p) for p in sorted(_TEXTS, key=len, reverse=True)))
UUID = re.compile(_UUID)


def scenarios() -> list[str]:
    """Return the name of every recorded scenario."""
    return sorted(p.stem for p in DATA.glob("[0-9]*.jsonl"))


def exchanges(name: str, shape: str) -> list[dict[str, Any]]:
    """Return the exchanges of a scenario in one error shape, in order."""
    return [e for e in _lines(name) if e["shape"] == shape]


def rows() -> list[dict[str, Any]]:
    """Return the rows that actions left: `case`, `table`, `row`."""
    return _lines("rows")


def schema() -> dict[str, Any]:
    """Return the recorded schema `auth`: `columns`, `indexes`, `constraints`, `migrations`."""
    return json.loads((DATA / "schema.json").read_text(encoding="utf-8"))


def differences(where: str, given: Any, wanted: Any) -> list[str]:
    """Return how `given` differs from the recorded value `wanted`, one sentence each, naming the place."""
    if isinstance(wanted, dict):
        return _object_differences(where, given, cast("dict[str, Any]", wanted))
    if isinstance(wanted, list):
        items = cast("list[Any]", wanted)
        if not isinstance(given, list) or len(cast("list[Any]", given)) != len(items):
            return [f"{where}: {given!r} is not a list of {len(items)}"]
        return [d for i, w in enumerate(items) for d in differences(f"{where}[{i}]", given[i], w)]
    return [] if _equal(given, wanted) else [f"{where}: {given!r} is not {wanted!r}"]


def _object_differences(where: str, given: Any, wanted: dict[str, Any]) -> list[str]:
    if not isinstance(given, dict):
        return [f"{where}: {given!r} is no object"]
    there = cast("dict[str, Any]", given)
    odd = sorted(set(wanted) ^ set(there))
    found = [f"{where}: keys {odd} differ"] if odd else []
    return found + [
        d
        for name in sorted(set(wanted) & set(there))
        for d in differences(f"{where}.{name}", there[name], wanted[name])
    ]


def _equal(given: Any, wanted: Any) -> bool:
    if wanted == "<epoch>":
        return type(given) is int and abs(given - time.time()) < _A_DAY
    if wanted == "<bigint>":
        return type(given) is int
    if not isinstance(wanted, str):
        # `True == 1` and `1 == 1.0` are no equals on the wire.
        return type(given) is type(wanted) and given == wanted
    return isinstance(given, str) and re.fullmatch(_pattern(wanted), given, re.ASCII) is not None


def _pattern(wanted: str) -> str:
    pattern, end = "", 0
    for found in _PLACEHOLDER.finditer(wanted):
        pattern += re.escape(wanted[end : found.start()]) + _TEXTS[found[0]]
        end = found.end()
    return pattern + re.escape(wanted[end:])


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
