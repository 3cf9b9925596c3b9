"""Supabase Auth by HTTP: its admin API, sign-in, and the verification of tokens.

Never here: what an answer means for a user's row. The services decide that.
"""

import sys

# httpx imports rich, click and Pygments for its own command line, if they are installed: a quarter of its import time.
# A module that is None here cannot be imported, and httpx handles that.
sys.modules.setdefault("httpx._main", None)  # pyright: ignore[reportArgumentType] - documented under The import system
