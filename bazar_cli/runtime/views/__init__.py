"""Views: how each kind of result is shown, one module per noun."""

from bazar_cli.runtime.views.base import View, rfc3339

__all__ = ["View", "rfc3339"]
