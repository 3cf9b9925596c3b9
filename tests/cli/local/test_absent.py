"""The `local` commands where no stack was ever started."""

from __future__ import annotations

from tests.cli.local.conftest import GROUP
from tests.support.cli import Bazar

pytestmark = GROUP


def test_status_says_stopped(nobody: Bazar) -> None:
    items = nobody("local", "status", "-o", "json").ok().json["items"]
    assert [(item["component"], item["state"], item["pid"]) for item in items] == [
        ("postgres", "stopped", None),
        ("auth", "stopped", None),
    ]
    assert not (nobody.home / "data").exists()


def test_command_without_a_stack_names_the_start_command(nobody: Bazar) -> None:
    for verb in ("env", "mail"):
        done = nobody("local", verb, "-o", "json")
        assert (done.code, done.out, done.error["code"]) == (7, "", "local.not_running")
        assert "bazar local start" in done.error["hint"]


def test_stop_has_nothing_to_stop(nobody: Bazar) -> None:
    assert nobody("local", "stop", "-o", "json").ok().json == {"postgres": False, "auth": False, "data_deleted": False}
    logs = nobody("local", "logs").ok()
    assert (logs.out, logs.err) == ("", "no results\n")
    assert not (nobody.home / "data").exists()


def test_reset_has_nothing_to_delete(nobody: Bazar) -> None:
    assert nobody("local", "reset").code == 10
    done = nobody("local", "reset", "--confirm", "local", "-o", "json").ok()
    assert done.json == {"postgres": False, "auth": False, "data_deleted": False}


def test_folder_that_is_a_file(nobody: Bazar) -> None:
    nobody.folder("work")
    (nobody.home / "data").write_text("no folder")
    done = nobody("local", "start", "-o", "json")
    assert (done.code, done.out) == (2, "")
    assert str(nobody.home / "data") in done.error["message"]
    assert "BAZAR_DATA_DIR" in done.error["hint"]
