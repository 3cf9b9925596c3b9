"""Views: what each of them shows is kept, and fields of a dataclass are encoded by their types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from uuid import UUID

import pytest

from bazar_cli.domain.entities import Role
from bazar_cli.domain.secrets import Secret
from bazar_cli.terminal.views.base import View
from tests.support.view_examples import EXAMPLES, all_views, kept, shown


def test_every_view_has_examples_and_kept_output() -> None:
    lacking = set(all_views()) ^ set(EXAMPLES)
    assert lacking == set(), "add an example to EXAMPLES in tests/support/view_examples.py, or remove one"
    assert set(all_views()) == set(kept()), "run `make generate`"


@pytest.mark.parametrize("name", sorted(all_views()))
def test_view_shows_its_results_as_kept(name: str) -> None:
    assert shown(name).split("\n") == kept().get(name, "").split("\n"), "see the changes of `make generate`"


@dataclass(frozen=True)
class Part:
    """A part of a result."""

    id: UUID
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """A result with a value of every kind that is encoded by its type."""

    id: UUID
    role: Role
    at: datetime
    path: Path
    parts: tuple[Part, ...]
    counts: Mapping[Role, int]
    nothing: None = None


ID = UUID("0193b3c4-0000-7000-8000-00000000000a")
RESULT = Result(
    ID, Role.OWNER, datetime(2026, 1, 31, tzinfo=timezone.utc), Path("a/b"), (Part(ID, (1.5,)),), {Role.OWNER: 2}
)


def test_fields_of_a_dataclass_become_json_by_their_types() -> None:
    view = View(Result)
    assert view.record.encoder(view.fields)(RESULT) == {
        "id": str(ID),
        "role": "owner",
        "at": "2026-01-31T00:00:00Z",
        "path": "a/b",
        "parts": [{"id": str(ID), "seconds": [1.5]}],
        "counts": {"owner": 2},
        "nothing": None,
    }


def test_secret_is_not_encoded_unless_a_view_reveals_it() -> None:
    with pytest.raises(TypeError, match="Secret"):
        View(Result).record.encoder(("role",))(replace(RESULT, role=Secret("hidden")))  # pyright: ignore[reportArgumentType]


def test_declared_fields_are_renamed_computed_and_put_in_order() -> None:
    view = View(
        Result,
        paths=("role", "id", "double"),
        renamed={"id": "result_id"},
        computed={"double": lambda r: 2 * len(r.parts), "last": lambda r: r.nothing},
    )
    assert view.fields == ("role", "result_id", "double", "last")
    assert view.record.encoder(view.fields)(RESULT) == {
        "role": "owner",
        "result_id": str(ID),
        "double": 2,
        "last": None,
    }
