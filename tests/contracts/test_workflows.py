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


_NOBODY = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")
"""Settings of git that do not depend on the machine."""


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
        ("release.yml", "publish"): {"id-token": "write", "attestations": "write"},
        ("release.yml", "release"): {"contents": "write"},
    }


def jobs_with_rights(name: str) -> list[tuple[str, Any]]:
    return [(job, found["permissions"]) for job, found in content(name)["jobs"].items()]


def test_a_release_is_tested_built_once_and_approved() -> None:
    text, jobs = WORKFLOWS["release.yml"].read_text(), content("release.yml")["jobs"]
    assert "secrets." not in text, "the index trusts the workflow; a token could be stolen"
    order = {job: found.get("needs") for job, found in jobs.items()}
    assert order == {"tag": None, "test": "tag", "build": "test", "publish": "build", "release": "publish"}
    assert jobs["test"]["uses"] == "$/.github/workflows/ci.yml"
    assert jobs["publish"]["environment"]["name"] == "pypi"
    built = [step["run"] for step in jobs["build"]["steps"] if "run" in step]
    assert built == ["make dist", 'test -f "dist/bazar_cli-${TAG#v}-py3-none-any.whl"']
    # What is attested, published and released is what was built, and no job with more rights runs code of the checkout.
    later = [step.get("uses", "").partition("@")[0] for job in ("publish", "release") for step in jobs[job]["steps"]]
    download = "actions/download-artifact"
    assert later == [
        *(download, "actions/attest-build-provenance", "pypa/gh-action-pypi-publish"),
        *(download, ""),
    ]


def test_a_tag_that_is_not_on_main_ends_the_release_before_the_tests(tmp_path: Path) -> None:
    def git(*words: str, cwd: Path) -> int:
        return subprocess.run(["git", *_NOBODY, *words], cwd=cwd, capture_output=True, check=False).returncode

    checkout, check = content("release.yml")["jobs"]["tag"]["steps"]
    assert checkout["with"]["fetch-depth"] == 0, "without the history no commit has ancestors"
    upstream, clone = tmp_path / "upstream", tmp_path / "clone"
    upstream.mkdir()
    for words in (
        ("init", "--initial-branch", "main"),
        ("commit", "--allow-empty", "-m", "first"),
        ("tag", "-a", "v1", "-m", "on main"),
        ("commit", "--allow-empty", "-m", "second"),
        ("switch", "-c", "elsewhere"),
        ("commit", "--allow-empty", "-m", "third"),
        ("tag", "-a", "v2", "-m", "not on main"),
    ):
        assert git(*words, cwd=upstream) == 0, words
    assert git("clone", str(upstream), str(clone), cwd=tmp_path) == 0
    ends: dict[str, int] = {}
    for tag in ("v1", "v2"):
        assert git("checkout", tag, cwd=clone) == 0
        ends[tag] = subprocess.run(["bash", "-e", "-c", check["run"]], cwd=clone, check=False).returncode
    assert ends == {"v1": 0, "v2": 1}


def test_ci_runs_the_judge_and_the_tests_on_every_supported_python() -> None:
    jobs = content("ci.yml")["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert {step["run"] for step in steps if "run" in step} == {".ci/run", "make test"}
    (one,) = [s["with"]["python-version"] for s in jobs["all"]["steps"] if "python-version" in s.get("with", {})]
    pythons = {one, *jobs["pythons"]["strategy"]["matrix"]["python"]}
    assert pythons == {f"3.{minor}" for minor in range(10, 15)}
    assert {f"{major}.{minor}" for major, minor in PYTHONS} <= pythons
