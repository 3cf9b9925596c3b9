"""Supabase Auth by HTTP: its admin API, sign-in, and the verification of tokens.

Never here: what an answer means for a user's row; the services decide that.
"""

import sys

# httpx looks for what its own command line needs, and where that is installed imports rich, click and Pygments: a
# quarter of its start, at each command that writes. What is None here cannot be imported, which httpx is ready for.
sys.modules.setdefault("httpx._main", None)  # pyright: ignore[reportArgumentType] - documented under The import system
