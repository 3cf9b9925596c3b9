"""The certificates that the tests trust, read once."""

from __future__ import annotations

import ssl
from functools import lru_cache

import httpx


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Return what `httpx` would make anew for each request: reading the CA bundle takes longer than most of them."""
    return httpx.create_ssl_context(trust_env=False)
