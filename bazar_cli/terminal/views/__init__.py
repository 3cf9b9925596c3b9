"""Views: the fields of each kind of result and how they look, one module for each noun.

Never here: a call to a service, or a format of output.
"""

from bazar_cli.terminal.views.base import View, rfc3339

__all__ = ["View", "rfc3339"]
