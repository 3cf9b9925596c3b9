"""The workflows of GitHub Actions, of the project and in its pages: least rights, pinned actions, nothing to inject."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.checkout import ROOT
from tests.support.pythons import PYTHONS

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.name: path for path in sorted(FOLDER.glob("*.yml"))}
_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def zizmor(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("zizmor")
    return subprocess.run([program, "--offline", "--quiet", *words], capture_output=True, text=True, check=False)


def content(name: str) -> Any:
    # YAML 1.1 reads the key `on` as true.
    return yaml.safe_load(WORKFLOWS[name].read_text())


@pytest.fixture
def page_workflow(tmp_path: Path) -> Path:
    """The workflow that docs/ci.md shows."""
    found = re.search(r"(?ms)^```yaml\n(.*?)^```$", (ROOT / "docs" / "ci.md").read_text())
    assert found is not None
    path = tmp_path / ".github" / "workflows" / "page.yml"
    path.parent.mkdir(parents=True)
    path.write_text(found[1])
    return path


def test_zizmor_finds_nothing(page_workflow: Path) -> None:
    done = zizmor("--persona", "pedantic", "--no-ignores", FOLDER)
    assert done.returncode == 0, done.stdout
    done = zizmor("--no-ignores", page_workflow)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_an_action_that_is_not_pinned(page_workflow: Path) -> None:
    page_workflow.write_text(re.sub(r"@[0-9a-f]{40} # ", "@", page_workflow.read_text()))
    done = zizmor("--no-ignores", page_workflow)
    assert done.returncode != 0
    assert "unpinned-uses" in done.stdout


def test_every_action_is_pinned_once_with_its_version(page_workflow: Path) -> None:
    texts = [path.read_text() for path in (*WORKFLOWS.values(), page_workflow)]
    used = [line.split("uses: ")[1] for text in texts for line in text.splitlines() if "uses: " in line]
    actions = {line for line in used if not line.startswith("$/")}
    assert [line for line in actions if not _PINNED.fullmatch(line)] == []
    names = sorted(line.partition("@")[0] for line in actions)
    assert names == sorted(set(names)), "two versions of one action"


def test_workflows_have_no_rights_and_their_jobs_the_least() -> None:
    rights = {(name, job): found for name in WORKFLOWS for job, found in jobs_with_rights(name)}
    assert [name for name in WORKFLOWS if content(name)["permissions"]] == []
    assert all("permissions: {}" in path.read_text() for path in WORKFLOWS.values())
    assert {key: found for key, found in rights.items() if found != {"contents": "read"}} == {
        ("release.yml", "build"): {"contents": "read", "id-token": "write", "attestations": "write"},
        ("release.yml", "publish"): {"id-token": "write"},
        ("release.yml", "release"): {"contents": "write"},
    }


def jobs_with_rights(name: str) -> list[tuple[str, Any]]:
    return [(job, found["permissions"]) for job, found in content(name)["jobs"].items()]


def test_a_release_is_tested_built_once_and_approved() -> None:
    text, jobs = WORKFLOWS["release.yml"].read_text(), content("release.yml")["jobs"]
    assert "secrets." not in text, "the index trusts the workflow; a token could be stolen"
    order = {job: found.get("needs") for job, found in jobs.items()}
    assert order == {"test": None, "build": "test", "publish": "build", "release": "publish"}
    assert jobs["test"]["uses"] == "$/.github/workflows/ci.yml"
    assert jobs["publish"]["environment"]["name"] == "pypi"
    built = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert built == ["make dist", 'test -f "dist/bazar_cli-${TAG#v}-py3-none-any.whl"']
    # What is published and released is what was built and attested, and no later job runs code of the checkout.
    later = [step.get("uses", "") for job in ("publish", "release") for step in jobs[job]["steps"]]
    assert [use.partition("@")[0] for use in later].count("actions/download-artifact") == 2
    assert not any("checkout" in use for use in later)


def test_ci_runs_the_judge_and_the_tests_on_every_supported_python() -> None:
    jobs = content("ci.yml")["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert {step["run"] for step in steps if "run" in step} == {".ci/run", "make test"}
    (one,) = [s["with"]["python-version"] for s in jobs["all"]["steps"] if "python-version" in s.get("with", {})]
    pythons = {one, *jobs["pythons"]["strategy"]["matrix"]["python"]}
    assert pythons == {f"3.{minor}" for minor in range(10, 15)}
    assert {f"{major}.{minor}" for major, minor in PYTHONS} <= pythons
