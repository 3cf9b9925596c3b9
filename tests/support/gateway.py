"""nginx with the configuration of docker/, in front of an Auth service of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.checkout import ROOT
from tests.support.waiting import poll

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "nginx is not installed (Debian: apt-get install nginx-light)"
_CONFIGURATION = ROOT / "docker/gateway/nginx.conf"
_ADDRESSES = ("listen 8080;", "server auth:9999;")
"""What the configuration has for compose's network, once each."""
_AS_SHIPPED: Mapping[str, str] = {}
UNLIMITED = {"rate=30r/m;": "rate=1000r/s;"}
"""A change for suites, which sign in hundreds of times from one address."""


@contextmanager
def gateway(auth_url: str, log: Path | None = None, changes: Mapping[str, str] = _AS_SHIPPED) -> Generator[str]:
    """Yield the URL of a gateway that serves the Auth service of `auth_url` below /auth/v1.

    Args:
        auth_url: the address of the service, which has no prefix.
        log: gets what nginx writes to standard output.
        changes: other texts for some of the configuration.
    """
    assert PROGRAM is not None, MISSING
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = _CONFIGURATION.read_text()
    addresses = (f"listen 127.0.0.1:{port};", f"server {urlsplit(auth_url).netloc};")
    for shipped, here in {**dict(zip(_ADDRESSES, addresses, strict=True)), **changes}.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    with tempfile.TemporaryDirectory(prefix="bazar-gateway-") as folder, (log or Path(os.devnull)).open("w") as out:
        # Its workers are another user if it is root, and keep large bodies there.
        Path(folder).chmod(0o755)
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(text)
        words = [PROGRAM, "-e", "stderr", "-p", f"{folder}/", "-c", str(configuration)]
        with subprocess.Popen(words, stdout=out) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                poll(lambda: _answers(url, process))
                yield url
            finally:
                process.terminate()
                process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "nginx did not start"
    try:
        return httpx.get(f"{url}/auth/v1/health").is_success
    except httpx.ConnectError:
        return False
