"""docker/: the compose file, its variables, its gateway, and the resources of docs/docker.md."""

from __future__ import annotations

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
from bazar_cli.devstack.auth.keys import AuthKeys
from tests.support import gateway
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.checkout import ROOT
from tests.support.cli import Done
from tests.support.compose import PATH, REQUIRED, compose, interpolated
from tests.support.waiting import poll

_OPTIONAL = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
"""A variable with a default."""
_EXAMPLE = (ROOT / "docker/server/.env.example").read_text()
_PAGE = (ROOT / "docs/docker.md").read_text()


def make_env(*words: str) -> Done:
    command = [sys.executable, "-I", str(ROOT / "docker/server/make_env.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def made() -> str:
    return make_env("ada@example.com").ok().out


def values(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_compose_file_follows_the_specification(made: str) -> None:
    text = REQUIRED.sub(lambda found: values(made)[found[1]], _OPTIONAL.sub(r"\2", PATH.read_text()))
    assert "$" not in text
    found = compose_spec.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text)))
    found.validate()
    assert set(found.service_names()) == {"db", "auth", "gateway", "migrate", "bazar"}


def test_specification_refuses_an_unknown_field() -> None:
    with pytest.raises(ValueError, match="red_only"):
        compose_spec.PyCompose.from_yaml("services: {db: {image: postgres, red_only: true}}")


def test_compose_client_accepts_the_file(made: str, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("`docker compose` is not installed")
    env_file = tmp_path / ".env"
    env_file.write_text(made)
    command = [docker, "compose", "--env-file", env_file, "--file", PATH, "--profile", "tools", "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_services_listen_on_loopback_and_have_no_default_secret(made: str) -> None:
    services: dict[str, Any] = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:54322:5432", "127.0.0.1:54321:8080"]
    secret = re.compile(r"PASSWORD|SECRET|KEY|_URL$")
    for name, service in services.items():
        for variable, text in service["environment"].items() if "environment" in service else ():
            if secret.search(variable) and "://127.0.0.1" not in text and "://gateway" not in text:
                assert REQUIRED.search(text), f"{name}: {variable}"
    assert set(REQUIRED.findall(PATH.read_text())) <= set(values(made))


def test_long_running_services_have_a_health_check_and_migrate_runs_once() -> None:
    services: dict[str, Any] = compose()["services"]
    assert [name for name, service in services.items() if "healthcheck" in service] == ["db", "auth", "gateway"]
    assert services["migrate"]["restart"] == "no"
    assert "profiles" not in services["migrate"]


def test_example_names_every_variable_that_the_code_and_compose_read() -> None:
    files = [path for path in (ROOT / "bazar_cli").rglob("*.py") if "devstack" not in path.parts]
    switches = {name for path in files for name in re.findall(r'"(BAZAR_[A-Z_]+)"', path.read_text())}
    settings = set(TargetVariables.model_fields) | switches
    example = re.findall(r"^(?:# )?([A-Z][A-Z_]+)=$", _EXAMPLE, re.MULTILINE)
    text = PATH.read_text()
    of_compose = set(REQUIRED.findall(text)) | {name for name, _ in _OPTIONAL.findall(text)}
    assert sorted(example) == sorted(settings | of_compose)


def test_example_is_an_env_file_without_values() -> None:
    assert variables_of_text(_EXAMPLE) == {}


def test_made_file_is_whole_and_different_each_time(made: str) -> None:
    assert set(variables_of_text(made)) == set(TargetVariables.model_fields) - {"DATABASE_MIGRATION_URL"}
    same = dict(values(made).items() & values(make_env("ada@example.com").ok().out).items())
    assert set(same) == {"SUPABASE_URL", "SUPERUSER_EMAIL"}


def test_made_keys_are_signed_with_the_secret_of_the_auth_service(made: str) -> None:
    secret = values(made)["GOTRUE_JWT_SECRET"]
    for name, role in (("SUPABASE_KEY", "service_role"), ("SUPABASE_ANON_KEY", "anon")):
        assert jwt.decode(values(made)[name], secret, ["HS256"])["role"] == role
    environment = interpolated(compose()["services"]["auth"]["environment"], values(made))
    assert environment["GOTRUE_JWT_SECRET"] == secret


def test_make_env_needs_an_address() -> None:
    assert make_env() == Done(1, "", "usage: make_env.py EMAIL-OF-THE-FIRST-SUPERUSER\n")


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
