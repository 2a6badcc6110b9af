"""A release is what its tag says: one version in every file, a section in the changelog, images and chart signed."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from images.builder.cli import SERVER_SOURCES
from k8s_mcp import __version__
from tests.support.documents import ROOT
from tests.support.go_tools import go_tools

_NOTES = ROOT / ".ci" / "release-notes"
_FILES = ("src/k8s_mcp/__init__.py", "charts/k8s-mcp-server/Chart.yaml", "compose.yaml", "CHANGELOG.md")
_WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with a section for the current version."""
    for name in _FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    changelog = tmp_path / "CHANGELOG.md"
    old = re.compile(rf"^## \[{re.escape(__version__)}\].*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = old.sub("", changelog.read_text())
    section = f"## [{__version__}] - 2026-11-23\n\n### Added\n\n- Something.\n\n## [0.0.1] - 2026-01-01\n\n- Older.\n"
    changelog.write_text(f"{text}\n{section}")
    return tmp_path


def _notes(tag: str, tree: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([_NOTES, tag, "--tree", tree], capture_output=True, text=True, check=False)


def test_notes_are_the_changelog_s_section(tree: Path) -> None:
    done = _notes(f"v{__version__}", tree)
    assert (done.returncode, done.stdout) == (0, "### Added\n\n- Something.\n"), done.stderr


@pytest.mark.parametrize("tag", ["v9.9.9", "1.0.0", "v1", "release"])
def test_a_tag_of_another_version_is_refused(tag: str, tree: Path) -> None:
    done = _notes(tag, tree)
    assert done.returncode == 1
    assert tag in done.stderr


@pytest.mark.parametrize("name", _FILES[:-1])
def test_files_that_disagree_are_refused_by_name(name: str, tree: Path) -> None:
    file = tree / name
    file.write_text(file.read_text().replace(__version__, "9.9.9", 1))
    done = _notes(f"v{__version__}", tree)
    assert done.returncode == 1
    assert name in done.stderr


def test_a_version_without_a_section_is_refused(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- Something.\n")
    done = _notes(f"v{__version__}", tree)
    assert done.returncode == 1
    assert "CHANGELOG.md has no section" in done.stderr


def test_the_changelog_has_a_section_for_what_is_here() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings
    assert headings[0] in {"Unreleased", __version__}


def _workflow(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text())


@pytest.mark.parametrize("file", _WORKFLOWS, ids=lambda file: file.name)
def test_jobs_have_the_rights_they_need_and_an_end(file: Path) -> None:
    workflow = _workflow(file)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, name


@pytest.mark.parametrize("file", _WORKFLOWS, ids=lambda file: file.name)
def test_no_text_of_strangers_becomes_part_of_a_script(file: Path) -> None:
    for name, job in _workflow(file)["jobs"].items():
        for step in job["steps"]:
            found = re.findall(
                r"\$\{\{\s*(?:github\.event|github\.head_ref|github\.ref_name)[^}]*\}\}", str(step.get("run"))
            )
            assert found == [], name


def test_every_image_is_signed_and_says_what_is_in_it_and_who_built_it() -> None:
    jobs = _workflow(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    for job in (jobs["image"], jobs["chart"]):
        said = "\n".join(str(step.get("run")) for step in job["steps"])
        assert 'cosign sign --yes "' in said
        assert any(step.get("uses", "").startswith("actions/attest-build-provenance@") for step in job["steps"])
    build = "\n".join(str(step.get("run")) for step in jobs["image"]["steps"])
    for option in ("--platform linux/amd64,linux/arm64", "--sbom true", "--provenance mode=max", "--push"):
        assert option in build
    names = [image["name"] for image in jobs["image"]["strategy"]["matrix"]["include"]]
    assert names == ["runner", "server", "server-local"]


@pytest.mark.parametrize("file", _WORKFLOWS, ids=lambda file: file.name)
def test_actionlint_finds_nothing(actionlint: Path, file: Path) -> None:
    done = subprocess.run([actionlint, "-no-color", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def actionlint() -> Path:
    return go_tools(ROOT / "tests" / "tools" / "actionlint") / "actionlint"


def test_the_server_s_image_has_every_file_of_the_package() -> None:
    """Also those that are no Python: a service that lacks the page's files does not start."""
    listed = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    taken = {str(file.relative_to(ROOT)) for pattern in SERVER_SOURCES for file in ROOT.glob(pattern)}
    assert set(listed.split()) <= taken
