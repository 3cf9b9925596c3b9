"""docker/: the compose file, its variables, its gateway, and the resources of docs/docker.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import compose_spec
import httpx
import jwt
import pytest
import yaml

from bazar_cli.adapters.config.settings import TargetVariables, variables_of_text
from bazar_cli.api.serving.process import GRACEFUL_SECONDS
from bazar_cli.devstack.auth.keys import AuthKeys
from tests.support import gateway
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.checkout import ROOT
from tests.support.compose import PATH, compose, make_env, values
from tests.support.raw_server import RawServer, raw_server
from tests.support.tree import ALL, command
from tests.support.waiting import poll

_OPTIONAL = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
"""A variable with a default."""
NGINX = pytest.mark.skipif(gateway.PROGRAM is None, reason=gateway.MISSING)
_EXAMPLE = (ROOT / "docker/server/.env.example").read_text()
_PAGE = (ROOT / "docs/docker.md").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like docker/server, with the files of make_env.py."""
    folder = tmp_path_factory.mktemp("server")
    assert make_env(folder, "ada@example.com").ok().out == ""
    return folder


def test_compose_file_follows_the_specification() -> None:
    text = _OPTIONAL.sub(r"\2", PATH.read_text())
    assert "$" not in text
    found = compose_spec.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text)))
    found.validate()
    assert set(found.service_names()) == {"db", "auth", "gateway", "migrate", "bazar", "api", "front"}


def test_specification_refuses_an_unknown_field() -> None:
    with pytest.raises(ValueError, match="red_only"):
        compose_spec.PyCompose.from_yaml("services: {db: {image: postgres, red_only: true}}")


def test_compose_client_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("`docker compose` is not installed")
    command = [docker, "compose", "--file", PATH, "--profile", "tools", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_services_listen_on_loopback() -> None:
    services: dict[str, Any] = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:54322:5432", "127.0.0.1:54321:8080", "127.0.0.1:54380:8080"]


def test_secrets_are_files_of_their_services_and_no_variables(made: Path) -> None:
    """`docker inspect` shows variables and commands; it shows the paths of secrets, and not what they hold."""
    content = compose()
    assert {name: found["file"] for name, found in content["secrets"].items()} == {
        path.name: f"server/secrets/{path.name}" for path in sorted((made / "secrets").iterdir())
    }
    secret = re.compile(r"PASS|SECRET|KEY|HEADERS|_DATABASE_URL|DATABASE_URL")
    for name, service in content["services"].items():
        given = {k: v for k, v in service.get("environment", {}).items() if secret.search(k)}
        shown = {"POSTGRES_PASSWORD_FILE": "/run/secrets/postgres_password"} if name == "db" else {}
        assert given == shown, name
    assert {name: found.get("secrets", []) for name, found in content["services"].items()} == {
        "db": ["postgres_password", "auth_database_password", "bazar_database_password"],
        "auth": ["auth.env"],
        "gateway": [],
        "migrate": ["bazar.env"],
        "bazar": ["bazar.env"],
        "api": ["bazar.env"],
        "front": [],
    }


def start(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point of compose.yml on a secret, with a `bazar` that prints its words and its environment."""
    (folder / "bazar.env").write_text(text)
    (folder / "bazar").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nenv\n')
    (folder / "bazar").chmod(0o755)
    _python, *entrypoint = compose()["x-bazar"]["entrypoint"]
    here = [word.replace("/run/secrets", str(folder)) for word in entrypoint]
    environ = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run([sys.executable, *here, *words], env=environ, capture_output=True, text=True, check=False)


def test_entry_point_of_bazar_passes_the_words_and_the_variables_of_its_secret(made: Path, tmp_path: Path) -> None:
    text = (made / "secrets/bazar.env").read_text()
    done = start(tmp_path, text, "users", "get", "a b", "$HOME")
    lines = done.stdout.splitlines()
    assert lines[:4] == ["users", "get", "a b", "$HOME"]
    assert set(text.splitlines()) <= set(lines[4:])


@pytest.mark.parametrize(
    "value",
    [
        "authorization=Basic marked-key",
        "postgresql://bazar:p@db/bazar?sslmode=require&application_name=x",
        "$(touch run)`touch run`; touch run",
        "'quoted' # no comment \\",
    ],
)
def test_entry_point_of_bazar_runs_nothing_of_its_secret(tmp_path: Path, value: str) -> None:
    done = start(tmp_path, f"# a comment\n\nFIRST={value}\nLAST=1\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert {f"FIRST={value}", "LAST=1"} <= set(done.stdout.splitlines())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bazar", "bazar.env"]


def test_characters_of_the_rule_mean_the_same_to_bazar_and_to_the_entry_point(tmp_path: Path) -> None:
    (characters,) = re.findall(r"letters, digits and `([^`]+)`", _PAGE)
    assert f"letters, digits and {characters} " in _EXAMPLE
    value = f"aZ0{characters.replace(' ', '')}aZ0"
    text = f"SUPERUSER_PASSWORD={value}\n"
    assert variables_of_text(text) == {"SUPERUSER_PASSWORD": value}
    assert text.rstrip() in start(tmp_path, text).stdout.splitlines()


@pytest.mark.parametrize("line", ["marked-key", "a marked-key=1", "=marked-key", "export KEY=marked-key"])
def test_entry_point_of_bazar_names_a_line_that_sets_nothing(tmp_path: Path, line: str) -> None:
    done = start(tmp_path, f"FIRST=1\n{line}\n")
    said = f"error: line 2 of {tmp_path}/bazar.env is not NAME=value\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_long_running_services_have_a_health_check_and_migrate_runs_once() -> None:
    services: dict[str, Any] = compose()["services"]
    assert [name for name, service in services.items() if "healthcheck" in service] == [
        *("db", "auth", "gateway", "api", "front")
    ]
    assert services["migrate"]["restart"] == "no"
    assert "profiles" not in services["migrate"]


def test_example_names_every_variable_that_the_code_and_compose_read() -> None:
    files = [path for path in (ROOT / "bazar_cli").rglob("*.py") if "devstack" not in path.parts]
    switches = {name for path in files for name in re.findall(r'"(BAZAR_[A-Z_]+)"', path.read_text())}
    settings = set(TargetVariables.model_fields) | switches
    example = re.findall(r"^(?:# )?([A-Z][A-Z_]+)=$", _EXAMPLE, re.MULTILINE)
    text = PATH.read_text()
    of_compose = {name for name, _ in _OPTIONAL.findall(text)}
    assert sorted(example) == sorted(settings | of_compose)


def test_example_is_an_env_file_without_values() -> None:
    assert variables_of_text(_EXAMPLE) == {}


def test_made_files_are_whole_and_different_each_time(made: Path, tmp_path: Path) -> None:
    expected = set(TargetVariables.model_fields) - {"DATABASE_MIGRATION_URL", "BAZAR_API_URL"}
    assert set(variables_of_text((made / ".env").read_text())) == expected
    assert set(values(made / "secrets/bazar.env")) == expected - {"SUPABASE_URL"}
    make_env(tmp_path, "ada@example.com").ok()
    for name in (".env", "secrets/bazar.env", "secrets/auth.env"):
        same = dict(values(made / name).items() & values(tmp_path / name).items())
        assert set(same) == {"SUPABASE_URL", "SUPERUSER_EMAIL"} & set(same), name
    for path in (made / "secrets").glob("*_password"):
        assert path.read_text() != (tmp_path / "secrets" / path.name).read_text()


def test_made_values_need_no_quotes_in_any_reader(made: Path) -> None:
    """bazar, compose and Auth take quotes away, `docker run`, kubectl and the entry point of compose keep them."""
    for path in (made / ".env", *(made / "secrets").iterdir()):
        text = path.read_text()
        assert re.fullmatch(r"(?:[A-Z_]+=)?[\w.:/@%+-]+\n?|(?:[A-Z_]+=[\w.:/@%+-]+\n)+", text), path.name


def test_made_files_are_closed_to_other_users_of_the_machine(made: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (made / ".env", made / "secrets")}
    assert modes == {".env": 0o600, "secrets": 0o700}
    # Docker mounts each file, and a container's user may have any number.
    assert {path.stat().st_mode & 0o777 for path in (made / "secrets").iterdir()} == {0o644}


def test_made_keys_are_signed_with_the_secret_of_the_auth_service(made: Path) -> None:
    secret = values(made / "secrets/auth.env")["GOTRUE_JWT_SECRET"]
    for name, role in (("SUPABASE_KEY", "service_role"), ("SUPABASE_ANON_KEY", "anon")):
        for file in (".env", "secrets/bazar.env"):
            assert jwt.decode(values(made / file)[name], secret, ["HS256"])["role"] == role


@pytest.mark.parametrize("words", [(), ("ada",), ("$(id)@example.com",), ("a b@example.com",), ("a@b\nX=1",)])
def test_make_env_needs_an_address(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = make_env(tmp_path, *words)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("usage: make_env.py EMAIL-OF-THE-FIRST-SUPERUSER")
    assert [path.name for path in tmp_path.iterdir()] == ["make_env.py"]


def test_make_env_replaces_nothing(made: Path) -> None:
    before = {path: path.read_text() for path in made.rglob("*") if path.is_file()}
    done = make_env(made, "bob@example.com")
    assert (done.code, done.out) == (1, "")
    assert f"{made}/.env exists; nothing was written" in done.err
    assert {path: path.read_text() for path in made.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def front(
    auth_keys: AuthKeys, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[str, Path]]:
    if gateway.PROGRAM is None:
        pytest.skip(gateway.MISSING)
    log = tmp_path_factory.mktemp("gateway") / "log"
    settings = environment_of(auth_keys, database_url)
    with running_auth_service(settings, "--prefix", "") as url, gateway.gateway(url, log) as found:
        yield found, log


def test_gateway_serves_the_paths_of_auth_and_nothing_else(front: tuple[str, Path]) -> None:
    url, _log = front
    assert httpx.get(f"{url}/auth/v1/.well-known/jwks.json").json()["keys"]
    for path in ("/", "/health", "/auth/v1", "/rest/v1/users", "/auth/v1/../../health"):
        assert httpx.get(f"{url}{path}").status_code == 404, path


def test_gateway_refuses_a_body_of_more_than_a_megabyte(front: tuple[str, Path]) -> None:
    url, _log = front
    assert httpx.post(f"{url}/auth/v1/token?grant_type=password", content=b"x" * (2 << 20)).status_code == 413


def test_gateway_logs_no_token_of_a_link(front: tuple[str, Path]) -> None:
    url, log = front
    httpx.get(f"{url}/auth/v1/verify?type=recovery&token=marked-token", headers={"Authorization": "Bearer marked-key"})
    poll(lambda: "/auth/v1/verify" in log.read_text())
    assert "marked" not in log.read_text()


@pytest.fixture
def upstream() -> Generator[RawServer]:
    """A service behind the gateway that keeps the heads of requests."""
    with raw_server() as server:
        server.answer = lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"]
        yield server


def heads(server: RawServer) -> dict[str, str]:
    """The headers of the last request that the service got."""
    lines = server.requests[-1].decode().split("\r\n")[1:]
    return {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}


FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Proto": "https",
    "X-Real-IP": "203.0.113.9",
    "Sb-Forwarded-For": "203.0.113.9",
    "Forwarded": "for=203.0.113.9",
    "Host": "evil.example.com",
}
TRUSTED = {
    "# set_real_ip_from 172.18.0.1;": "set_real_ip_from 127.0.0.1;",
    "# real_ip_header X-Forwarded-For;": "real_ip_header X-Forwarded-For;",
    "# real_ip_recursive on;": "real_ip_recursive on;",
}
"""The lines for a proxy before the gateway, with the address of this machine."""


def from_address(address: str) -> httpx.Client:
    """A client at another address of this machine, which macOS does not have."""
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address))


@NGINX
def test_gateway_says_itself_who_asks(upstream: RawServer) -> None:
    with gateway.gateway(upstream.url) as url:
        httpx.get(f"{url}/auth/v1/user", headers=FORGED)
    given = heads(upstream)
    assert given["x-forwarded-for"] == "127.0.0.1"
    assert given.keys().isdisjoint(name.lower() for name in FORGED if name not in {"X-Forwarded-For", "Host"})
    assert "evil.example.com" not in upstream.requests[-1].decode()


@NGINX
def test_front_says_itself_who_asks_the_api(upstream: RawServer) -> None:
    with gateway.gateway(upstream.url, shipped=gateway.API) as url:
        httpx.get(f"{url}/api/v1/users/me", headers={**FORGED, "traceparent": "00-1-2-01", "X-Request-Id": "12345678"})
        given = heads(upstream)
        assert (given["x-forwarded-for"], given["x-forwarded-proto"]) == ("127.0.0.1", "http")
        assert (given["traceparent"], given["x-request-id"]) == ("00-1-2-01", "12345678")
        assert given.keys().isdisjoint({"x-forwarded-host", "forwarded"})
        asked = len(upstream.requests)
        for path in ("/", "/readyz", "/healthz", "/metrics", "/api"):
            answer = httpx.get(f"{url}{path}")
            assert (answer.status_code, answer.json()["status"]) == (404, 404), path
        assert len(upstream.requests) == asked


def test_api_serves_by_options_that_it_has() -> None:
    """The command of compose.yml, with its variable replaced."""
    service = compose()["services"]["api"]
    verb, *options = (_OPTIONAL.sub(r"\2", word) for word in service["command"])
    known = {option for p in command(*ALL[verb]).params for option in p.opts}
    assert {option.partition("=")[0] for option in options} <= known
    auth = compose()["services"]["auth"]["environment"]
    assert f"--issuer={auth['GOTRUE_JWT_ISSUER']}" in service["command"]
    assert service["tmpfs"] == ["/tmp"]
    assert int(service["stop_grace_period"].removesuffix("s")) > GRACEFUL_SECONDS


@NGINX
def test_gateway_takes_the_address_only_from_a_proxy_that_it_trusts(upstream: RawServer) -> None:
    chain = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
    with gateway.gateway(upstream.url, changes=TRUSTED) as url:
        httpx.get(f"{url}/auth/v1/user", headers=chain)
        # The last one is what the proxy saw; the client wrote the others.
        assert heads(upstream)["x-forwarded-for"] == "203.0.113.9"
        with from_address("127.0.0.2") as stranger:
            stranger.get(f"{url}/auth/v1/user", headers=chain)
        assert heads(upstream)["x-forwarded-for"] == "127.0.0.2"


_LIMITED = (
    ("POST", "token?grant_type=password"),
    ("POST", "/token"),
    ("POST", "signup"),
    ("POST", "otp"),
    ("POST", "magiclink"),
    ("POST", "recover"),
    ("POST", "resend"),
    ("POST", "verify"),
    ("GET", "verify/?token=x"),
    ("GET", "reauthenticate"),
    ("POST", "factors/7a/challenge"),
    ("POST", "factors/7a/verify"),
    ("PUT", "user"),
    ("PUT", "user/"),
)
_UNLIMITED = (
    ("GET", "health"),
    ("GET", "user"),
    ("POST", "logout"),
    ("POST", "invite"),
    ("POST", "factors"),
    ("GET", "admin/users"),
    ("POST", "admin/users"),
    ("PUT", "admin/users/7a"),
    ("POST", "admin/generate_link"),
    ("GET", "admin/users/7a/factors"),
)


@NGINX
def test_gateway_limits_what_tries_or_sends_a_password_or_a_code_by_client(upstream: RawServer) -> None:
    def asked(client: httpx.Client, method: str, path: str) -> httpx.Response:
        return client.request(method, f"{url}/auth/v1/{path}", headers=FORGED)

    def limited(client: httpx.Client, method: str, path: str) -> httpx.Response | None:
        answer = asked(client, method, path)
        return answer if answer.status_code == 429 else None

    with gateway.gateway(upstream.url) as url, httpx.Client() as client, from_address("127.0.0.2") as other:
        assert {asked(client, *_LIMITED[0]).status_code for _ in range(31)} == {200}
        for method, path in _LIMITED:
            # One more request may pass every two seconds.
            answer = poll(lambda method=method, path=path: limited(client, method, path))
            assert answer is not None
            assert (answer.headers["Retry-After"], answer.json()["error_code"]) == ("2", "over_request_rate_limit")
        assert {asked(client, *request).status_code for request in _UNLIMITED for _ in range(4)} == {200}
        assert asked(other, *_LIMITED[0]).status_code == 200


def test_page_names_every_path_that_the_gateway_limits() -> None:
    section = _PAGE[_PAGE.index("## A proxy before the gateway") : _PAGE.index("## Migrate")]
    paths = {path.partition("?")[0].strip("/").replace("7a", "ID") for _, path in _LIMITED}
    assert [path for path in sorted(paths) if f"/{path}`" not in section] == []


def resources() -> list[dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(apiVersion.*?)```", _PAGE, re.DOTALL)
    return [found for block in blocks for found in yaml.safe_load_all(block)]


def test_resources_of_the_page_follow_the_schema_of_kubernetes(tmp_path: Path) -> None:
    found = resources()
    assert [resource["kind"] for resource in found] == ["Job"]
    assert validated(found, tmp_path) == 0
    found[0]["spec"]["template"]["spec"]["containers"][0]["arguments"] = []
    assert validated(found, tmp_path) == 1


def validated(resources: list[dict[str, Any]], folder: Path) -> int:
    path = folder / "resources.yaml"
    path.write_text(yaml.safe_dump_all(resources))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", "1.31", path]
    return subprocess.run(command, capture_output=True).returncode


def test_job_runs_the_command_of_compose_as_the_user_of_the_image() -> None:
    (job,) = resources()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == compose()["services"]["migrate"]["command"]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user[1])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
