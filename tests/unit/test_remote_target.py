"""A remote target comes whole from one source, and never with values of a direct one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.target import TargetChoice, resolve_target
from bazar_cli.adapters.remote.proxies import Proxy, proxy_for
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.target import RemoteTarget, Target

URL = "https://bazar.example.com"
DIRECT = {
    "SUPABASE_URL": "https://project.supabase.co",
    "SUPABASE_KEY": "sb_secret_word",
    "DATABASE_URL": "postgresql://bazar:word@db.example.com/bazar?sslmode=require",
}


class Machine:
    """A folder, a configuration, and the variables of a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {"BAZAR_CONFIG_DIR": str(folder / "config")}

    def file(self, name: str, **values: str) -> None:
        path = self.folder / name
        path.write_text("".join(f"{key}='{value}'\n" for key, value in values.items()))
        path.chmod(0o600)

    def profile(self, name: str, values: Mapping[str, str], *, activate: bool = False) -> None:
        Profiles(self.environ).save(name, values, activate=activate)

    def target(self, choice: TargetChoice | None = None, **environ: str) -> Target | RemoteTarget:
        return resolve_target(choice or TargetChoice(), {**self.environ, **environ}, self.folder)

    def url(self, choice: TargetChoice | None = None, **environ: str) -> str:
        found = self.target(choice, **environ)
        assert isinstance(found, RemoteTarget)
        return found.api_url

    def refusal(self, choice: TargetChoice | None = None, **environ: str) -> UsageError:
        with pytest.raises(UsageError) as refused:
            self.target(choice, **environ)
        return refused.value


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "work").mkdir(mode=0o700)
    return Machine(tmp_path / "work")


def test_sources_have_the_order_of_direct_targets(machine: Machine) -> None:
    machine.profile("active", {"BAZAR_API_URL": f"{URL}/active"}, activate=True)
    assert machine.url() == f"{URL}/active"
    machine.file(".env", BAZAR_API_URL=f"{URL}/found")
    assert machine.url() == f"{URL}/found"
    assert machine.url(BAZAR_API_URL=f"{URL}/environment") == f"{URL}/environment"
    machine.profile("named", {"BAZAR_API_URL": f"{URL}/named"})
    assert machine.url(BAZAR_API_URL=URL, BAZAR_PROFILE="named") == f"{URL}/named"
    machine.profile("flag", {"BAZAR_API_URL": f"{URL}/flag"})
    assert machine.url(TargetChoice("flag"), BAZAR_API_URL=URL, BAZAR_PROFILE="named") == f"{URL}/flag"
    machine.file("other.env", BAZAR_API_URL=f"{URL}/file")
    assert machine.url(TargetChoice(None, Path("other.env")), BAZAR_API_URL=URL) == f"{URL}/file"


def test_direct_source_before_a_remote_one_stays_direct(machine: Machine) -> None:
    machine.profile("direct", DIRECT)
    assert isinstance(machine.target(TargetChoice("direct"), BAZAR_API_URL=URL), Target)
    machine.file(".env", **DIRECT)
    assert machine.url(BAZAR_API_URL=URL) == URL


@pytest.mark.parametrize("name", [*DIRECT, "SUPABASE_ANON_KEY", "DATABASE_MIGRATION_URL"])
def test_source_with_both_kinds_is_refused(machine: Machine, name: str) -> None:
    value = DIRECT.get(name, "postgresql://bazar:word@db.example.com/bazar")
    mixed = {"BAZAR_API_URL": URL, name: value}
    machine.profile("mixed", mixed)
    machine.file("mixed.env", **mixed)
    for refusal, source in (
        (machine.refusal(None, **mixed), "the environment"),
        (machine.refusal(TargetChoice("mixed")), "profile mixed"),
        (machine.refusal(TargetChoice(None, Path("mixed.env"))), "env-file mixed.env"),
    ):
        assert refusal.code == "target.mixed"
        assert refusal.message == f"the target of {source} is remote by BAZAR_API_URL and direct by {name}"
        assert refusal.details["direct"] == [name]
        assert value not in f"{refusal.message}{refusal.hint}{refusal.details}"


def test_superuser_of_the_environment_does_not_count(machine: Machine) -> None:
    assert machine.url(BAZAR_API_URL=URL, SUPERUSER_EMAIL="a@b.c", SUPERUSER_PASSWORD="word") == URL


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (f"{URL}/", URL),
        (f"{URL}/api/v1", URL),
        (f"{URL}/api/v1/", URL),
        (f"{URL}:8443/tools/bazar/", f"{URL}:8443/tools/bazar"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_url_is_that_of_the_server(machine: Machine, given: str, wanted: str) -> None:
    assert machine.url(BAZAR_API_URL=given) == wanted


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("bazar.example.com", "target.url_invalid"),
        ("ftp://bazar.example.com", "target.url_invalid"),
        ("https://user:hidden@bazar.example.com", "target.url_invalid"),
        ("https://bazar.example.com?key=hidden", "target.url_invalid"),
        ("https://bazar.example.com:99999", "target.url_invalid"),
        ('"https://bazar.example.com"', "target.url_invalid"),
        ("https://bazar.example.com\n", "target.url_invalid"),
        ("http://bazar.example.com", "target.plaintext_refused"),
    ],
)
def test_other_url_is_refused_and_not_quoted(machine: Machine, given: str, code: str) -> None:
    refusal = machine.refusal(BAZAR_API_URL=given)
    assert refusal.code == code
    assert refusal.message.startswith("BAZAR_API_URL ")
    assert "hidden" not in refusal.message + refusal.hint


def test_plain_text_is_for_hosts_that_are_named(machine: Machine) -> None:
    url = "http://gateway:8000"
    assert machine.url(BAZAR_API_URL=url, BAZAR_ALLOW_PLAINTEXT="other, gateway") == url


# -- proxies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, Proxy("proxy", 3128, {})),
        ({"https_proxy": "proxy"}, Proxy("proxy", 80, {})),
        ({"ALL_PROXY": "http://proxy:8080"}, Proxy("proxy", 8080, {})),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "example.org, .example.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "no_proxy": "*"}, None),
        ({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "azar.example.com"}, Proxy("proxy", 1, {})),
        (
            {"HTTPS_PROXY": "http://ada:p%40ss@proxy:1"},
            Proxy("proxy", 1, {"Proxy-Authorization": "Basic YWRhOnBAc3M="}),
        ),
    ],
)
def test_proxy_of_an_https_url(environ: dict[str, str], wanted: Proxy | None) -> None:
    assert proxy_for(URL, environ) == wanted


@pytest.mark.parametrize("value", ["socks5://proxy:1080", "https://proxy", "http://ada:hidden@proxy:port", "http://"])
def test_other_proxy_is_refused_and_not_quoted(value: str) -> None:
    with pytest.raises(UsageError) as refused:
        proxy_for(URL, {"HTTPS_PROXY": value})
    assert refused.value.code == "target.proxy_invalid"
    assert "hidden" not in refused.value.message + refused.value.hint
