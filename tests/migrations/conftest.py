"""What the tests of migrations share."""

from __future__ import annotations

from pathlib import Path

import pytest

from bazar_cli.adapters.migrations import migrator
from tests.support.release import Release


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release whose revisions this process uses, for the test to add to and to edit."""
    checkout = Release(tmp_path / "release")
    monkeypatch.setattr(migrator, "script_location", lambda: checkout.migrations)
    return checkout
