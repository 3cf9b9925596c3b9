"""nginx with the configuration of docker/, in front of an Auth service of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.checkout import ROOT
from tests.support.waiting import poll

PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "nginx is not installed (Debian: apt-get install nginx-light)"


@dataclass(frozen=True)
class Shipped:
    """A configuration of nginx in docker/."""

    path: Path
    upstream: str
    """The address of its service in compose's network."""
    probe: str
    """A path that answers when the service does."""


AUTH = Shipped(ROOT / "docker/gateway/nginx.conf", "server auth:9999;", "/auth/v1/health")
API = Shipped(ROOT / "docker/front/nginx.conf", "server api:8000;", "/openapi.json")
_AS_SHIPPED: Mapping[str, str] = {}
UNLIMITED = {"rate=30r/m;": "rate=1000r/s;"}
"""A change for suites, which sign in hundreds of times from one address."""


@contextmanager
def gateway(
    service_url: str, log: Path | None = None, changes: Mapping[str, str] = _AS_SHIPPED, shipped: Shipped = AUTH
) -> Generator[str]:
    """Yield the URL of nginx in front of a service: by default Auth, which is below /auth/v1.

    Args:
        service_url: the address of the service, which has no prefix.
        log: gets what nginx writes to standard output.
        changes: other texts for some of the configuration.
        shipped: the configuration.
    """
    assert PROGRAM is not None, MISSING
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = shipped.path.read_text()
    addresses = {
        "listen 8080;": f"listen 127.0.0.1:{port};",
        shipped.upstream: f"server {urlsplit(service_url).netloc};",
    }
    for there, here in {**addresses, **changes}.items():
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    with tempfile.TemporaryDirectory(prefix="bazar-gateway-") as folder, (log or Path(os.devnull)).open("w") as out:
        # Its workers are another user if it is root, and keep large bodies there.
        Path(folder).chmod(0o755)
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(text)
        words = [PROGRAM, "-e", "stderr", "-p", f"{folder}/", "-c", str(configuration)]
        with subprocess.Popen(words, stdout=out) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                poll(lambda: _answers(f"{url}{shipped.probe}", process))
                yield url
            finally:
                process.terminate()
                process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "nginx did not start"
    try:
        return httpx.get(url).is_success
    except httpx.ConnectError:
        return False
