"""The description of the package for an index: README.md, with links that lead somewhere outside of the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = re.compile(r"\]\((?![a-z]+:|#|/)")


class DescriptionHook(MetadataHookInterface):
    """Sets `project.readme`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Make relative links absolute, below the repository of `project.urls`."""
        base = metadata["urls"]["Documentation"].rpartition("docs")[0]
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": _RELATIVE.sub(f"]({base}", text)}
