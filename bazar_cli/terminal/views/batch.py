"""How the results of a batch are shown."""

from __future__ import annotations

import json
from typing import Any

from bazar_cli.domain.batch import LineResult
from bazar_cli.terminal.views.base import View


def _as_json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


LINE = View(LineResult, cells={"output": _as_json, "error": _as_json})
