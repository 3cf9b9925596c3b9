"""What a finding of the doctor calls the rows that it is about."""

from __future__ import annotations

import uuid

import pytest

from bazar_cli.domain.doctor import Affected

AN_ID = uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("row", "label"),
    [
        (Affected(AN_ID, "a@b", name="acme"), "a@b"),
        (Affected(AN_ID, name="acme"), "acme"),
        (Affected(AN_ID), str(AN_ID)),
    ],
)
def test_a_row_is_called_by_its_address_its_name_or_its_id(row: Affected, label: str) -> None:
    assert row.label == label
