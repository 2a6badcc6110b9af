"""What README and docs say is true: commands run as printed, links lead somewhere, settings exist, languages agree.

How documents say what to run, and what for: tests/support/documents.py.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from k8s_mcp.settings import PREFIX, Settings
from tests.support.documents import ROOT, Block, carry_out, commands, fences, prose
from tests.support.service import Service

_DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_TRANSLATIONS = [ROOT / "README.zh-CN.md"]
_OTHERS = [ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY", "SUPPORT")]
_EVERYTHING = [*_DOCUMENTS, *_TRANSLATIONS, *_OTHERS]

_SERVICE = "http://127.0.0.1:9096"  # where the documents say it is
_LANGUAGES = {"sh", "text", "json", "yaml", "dockerfile", "nginx"}

_OTHER_VARIABLES = {
    "K8S_MCP_URL": "src/k8s_mcp/client/service.py",
    "K8S_MCP_TOKEN": "src/k8s_mcp/client/service.py",
    "K8S_MCP_TOKEN_FILE": "src/k8s_mcp/client/service.py",
    "K8S_MCP_CA_FILE": "src/k8s_mcp/client/service.py",
    "K8S_MCP_INSECURE_HTTP": "src/k8s_mcp/client/service.py",
    "K8S_MCP_CACHE": "tests/testcluster/layout.py",
    "K8S_MCP_API_SERVER_PORTS": "images/builder/cluster.py",
    "K8S_MCP_IMAGE": "compose.yaml",
    "K8S_MCP_PROXY_IMAGE": "compose.yaml",
    "K8S_MCP_PUBLISH": "compose.yaml",
    "K8S_MCP_PUBLISH_TLS": "compose.yaml",
    "K8S_MCP_TEST_CLUSTER": "tests/testcluster/lifecycle.py",
    "K8S_MCP_TEST_KUBECONFIG": "tests/testcluster/state.py",
    "K8S_MCP_TEST_KUBERNETES": "tests/testcluster/binaries.py",
    "K8S_MCP_TEST_PICTURES": "tests/web/page/test_for_everybody.py",
}
"""Variables that are no settings of the service, and what reads them."""


def _names(documents: list[Path]) -> list[str]:
    return [str(document.relative_to(ROOT)) for document in documents]


_WITH_CLUSTER = [
    document for document in _DOCUMENTS if any(block.needs == "a cluster" for block in commands(document))
]


def _try(blocks: list[Block], service: Service, kubeconfig: str, home: Path, tools: Path) -> None:
    (home / ".kube").mkdir()
    (home / ".kube" / "config").write_text(kubeconfig)
    for name in ("images", "tests"):
        (home / name).symlink_to(ROOT / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(tools), os.environ["PATH"]])
    environment = {"HOME": str(home), "PATH": path, "K8S_MCP_URL": service.url, "LANG": "C.UTF-8"}
    carry_out(blocks, home, environment, replaced={_SERVICE: service.url})


@pytest.mark.parametrize("document", _names(_DOCUMENTS))
def test_commands_do_what_is_printed(
    document: str, server: Service, fake_kubeconfig: str, tmp_path: Path, tools: Path
) -> None:
    _try([block for block in commands(ROOT / document) if not block.needs], server, fake_kubeconfig, tmp_path, tools)


@pytest.mark.cluster
@pytest.mark.parametrize("document", _names(_WITH_CLUSTER))
def test_commands_for_a_cluster_do_what_is_printed(
    document: str, server: Service, kubeconfig: str, kubectl: Path, tmp_path: Path
) -> None:
    blocks = [block for block in commands(ROOT / document) if block.needs in {"", "a cluster"}]
    _try(blocks, server, kubeconfig, tmp_path, kubectl.parent)


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_blocks_say_their_language(document: str) -> None:
    text = (ROOT / document).read_text()
    assert {fence["language"] for fence in fences(ROOT / document)} <= _LANGUAGES
    assert text.count("```") == 2 * len(fences(ROOT / document))


@pytest.mark.parametrize("document", [name for name in _names(_EVERYTHING) if name != "docs/architecture.md"])
def test_every_command_is_in_a_block_that_is_run_or_says_why_not(document: str) -> None:
    # Indented code would be neither.
    assert re.findall(r"^\n {4,}\S.*", prose(ROOT / document), re.MULTILINE) == []


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_links_within_the_repository_lead_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(ROOT / document)):
        if re.match("[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_variables_that_are_named_exist(document: str) -> None:
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in set(re.findall(rf"{PREFIX}[A-Z0-9_]+\b", (ROOT / document).read_text())) - settings:
        assert name in _OTHER_VARIABLES, name
        assert name in (ROOT / _OTHER_VARIABLES[name]).read_text()


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_no_place_is_named_that_readers_do_not_have(document: str) -> None:
    assert re.findall(r"/(?:work|root|home/[a-z]+|mnt|opt/venv)/\S*", (ROOT / document).read_text()) == []


@pytest.mark.parametrize("translation", _names(_TRANSLATIONS))
def test_translations_have_the_same_code_and_structure(translation: str) -> None:
    original, translated = ROOT / "README.md", ROOT / translation
    assert [fence.group("language", "text") for fence in fences(translated)] == [
        fence.group("language", "text") for fence in fences(original)
    ]
    assert _structure(translated) == _structure(original)
    assert re.findall(r"`[^`\n]+`", _tables(translated)) == re.findall(r"`[^`\n]+`", _tables(original))
    for one, other in ((original, translated), (translated, original)):
        assert f"({other.name})" in one.read_text().partition("\n## ")[0]


def test_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def test_architecture_has_every_module_and_the_layers_that_are_checked() -> None:
    page = ROOT / "docs" / "architecture.md"
    package = ROOT / "src" / "k8s_mcp"
    modules = {str(file.relative_to(package)) for file in package.rglob("*.py") if file.name != "__init__.py"}
    assert set(re.findall(r"`([\w/]+\.py)`", _tables(page))) == modules
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    [layers] = [fence["text"] for fence in fences(page) if fence["language"] == "text"]
    assert layers.splitlines() == [re.sub(r"[()]", "", layer) for layer in contract["layers"]]


_WITH_PATHS = {".md", ".py", ".yml", ".yaml", ".toml", ".sh", ""}
_PATH = re.compile(
    r"(?<![\w/.-])((?:src|tests|docs|images|charts|bench|compose|requirements|\.ci|\.github)/[\w./-]*\w)"
)
_MODULE = re.compile(r"\bk8s_mcp((?:\.[a-z_0-9]+)+)")
_MADE = {"images/gate/bin", "images/server/wheels", "images/tools/bin"}
"""What a build puts there."""
_NO_MODULES = {"hold", "principal", "refusal", "pth"}
"""Three keys of a request's scope, and a file's ending."""


def _tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).suffix in _WITH_PATHS and "corpus" not in name and name != "CHANGELOG.md":
            yield ROOT / name


def test_every_path_that_is_named_exists() -> None:
    """In documents, chart, images, workflows, tests and code; as a whole, or as the beginning of a pattern."""
    named = {(path, file) for file in _tracked() for path in _PATH.findall(file.read_text())}
    lost = {
        (path, str(file.relative_to(ROOT)))
        for path, file in named
        if path not in _MADE and not (ROOT / path).exists() and not list(ROOT.glob(f"{path}*"))
    }
    assert named
    assert not lost


def test_every_module_that_is_named_exists() -> None:
    """`k8s_mcp.policy.rules.Rule` is one by its first parts: a folder, then perhaps a file, then what is in it."""
    lost: set[tuple[str, str]] = set()
    for file in _tracked():
        for name in _MODULE.findall(file.read_text()):
            first, *rest = name.strip(".").split(".")
            place = ROOT / "src" / "k8s_mcp" / first
            inside = place.is_dir() and (not rest or (place / f"{rest[0]}.py").exists() or (place / rest[0]).is_dir())
            if first not in _NO_MODULES and not inside and not place.with_suffix(".py").exists():
                lost.add((name, str(file.relative_to(ROOT))))
    assert not lost


def _structure(document: Path) -> list[str]:
    """Levels of headings, and how many items, table rows and paragraphs stand between them."""
    kinds = {"#": "heading", "-": "item", "|": "row", "<": "comment"}
    starts = re.findall(r"^(#+ |\d\. |- |\||<!--)", prose(document), re.MULTILINE)
    return [start.strip() if start[0] == "#" else kinds.get(start[0], "number") for start in starts]


def _tables(document: Path) -> str:
    return "\n".join(re.findall(r"^\|.*$", document.read_text(), re.MULTILINE))


def _anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
