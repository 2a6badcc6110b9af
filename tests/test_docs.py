"""What README and docs say is true: commands run as printed, links lead somewhere, settings exist, languages agree.

Conventions of the documents: an `sh` block is run, all of one document in one shell and in order. The `text` block
behind it is what it prints, where `…` stands for anything within a line, and a line `…` for any lines. Right above an
`sh` block, `<!-- needs a cluster -->` has it run with a real one, `<!-- not executed: reason -->` not at all.
"""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from k8s_mcp.settings import PREFIX, Settings
from tests.support.service import Service

_ROOT = Path(__file__).parents[1]
_DOCUMENTS = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_TRANSLATIONS = [_ROOT / "README.zh-CN.md"]
_EVERYTHING = [*_DOCUMENTS, *_TRANSLATIONS, _ROOT / "CHANGELOG.md", _ROOT / "CONTRIBUTING.md"]

_SERVICE = "http://127.0.0.1:9096"  # where the documents say it is
_LANGUAGES = {"sh", "text", "json", "yaml", "dockerfile"}
_NEEDS_CLUSTER = re.compile(r"<!-- needs a cluster -->")
_NOT_EXECUTED = re.compile(r"<!-- not executed: \S.* -->")
_FENCE = re.compile(r"(?P<above>[^\n]*)\n```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

_OTHER_VARIABLES = {
    "K8S_MCP_URL": "src/k8s_mcp/cli.py",
    "K8S_MCP_CACHE": "tests/testcluster/layout.py",
    "K8S_MCP_API_SERVER_PORTS": "images/builder/cluster.py",
    "K8S_MCP_TEST_CLUSTER": "tests/testcluster/lifecycle.py",
    "K8S_MCP_TEST_KUBECONFIG": "tests/testcluster/state.py",
}
"""Variables that are no settings of the service, and what reads them."""


@dataclass
class Block:
    """A command block, and what it should print."""

    line: int
    text: str
    needs_cluster: bool
    prints: list[str] = field(default_factory=list[str])


def _fences(document: Path) -> list[re.Match[str]]:
    return list(_FENCE.finditer(document.read_text()))


def _commands(document: Path) -> list[Block]:
    """The blocks to run, in order."""
    blocks: list[Block] = []
    runs = False
    for fence in _fences(document):
        if fence["language"] == "sh":
            runs = not _NOT_EXECUTED.fullmatch(fence["above"])
            line = document.read_text().count("\n", 0, fence.start("text")) + 1
            if runs:
                blocks.append(Block(line, fence["text"], bool(_NEEDS_CLUSTER.fullmatch(fence["above"]))))
        elif fence["language"] == "text" and runs:
            blocks[-1].prints.append(fence["text"])
            runs = False
    return blocks


def _printed(expected: str) -> re.Pattern[str]:
    """Output as the documents show it, as a pattern."""
    lines = expected.rstrip("\n").split("\n")
    patterns = [r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines]
    return re.compile("".join(patterns))


def _names(documents: list[Path]) -> list[str]:
    return [str(document.relative_to(_ROOT)) for document in documents]


_WITH_CLUSTER = [document for document in _DOCUMENTS if any(block.needs_cluster for block in _commands(document))]


def _try(document: str, blocks: list[Block], service: Service, kubeconfig: str, home: Path, tools: Path) -> None:
    """Run the blocks as a reader would, and compare what they print."""
    (home / ".kube").mkdir()
    (home / ".kube" / "config").write_text(kubeconfig)
    for name in ("images", "tests"):
        (home / name).symlink_to(_ROOT / name)
    script = ["set -e"]
    for number, block in enumerate(blocks):
        text = block.text.replace(_SERVICE, service.url)
        script += [f"{{\n{text}}} > {home}/{number}.out 2> {home}/{number}.err", f"touch {home}/{number}.done"]
    path = os.pathsep.join([str(Path(sys.executable).parent), str(tools), os.environ["PATH"]])
    environment = {"HOME": str(home), "PATH": path, "K8S_MCP_URL": service.url, "LANG": "C.UTF-8"}
    subprocess.run(["bash", "-c", "\n".join(script)], cwd=home, env=environment, check=False, timeout=100)
    for number, block in enumerate(blocks):
        where = f"{document}:{block.line}"
        output = (home / f"{number}.out").read_text()
        assert (home / f"{number}.done").exists(), f"{where} failed: {output}{(home / f'{number}.err').read_text()}"
        for expected in block.prints:
            shown = expected.replace(_SERVICE, service.url)
            assert _printed(shown).fullmatch(output.rstrip("\n") + "\n"), f"{where} printed:\n{output}"


@pytest.mark.parametrize("document", _names(_DOCUMENTS))
def test_commands_do_what_is_printed(
    document: str, server: Service, fake_kubeconfig: str, tmp_path: Path, tools: Path
) -> None:
    blocks = [block for block in _commands(_ROOT / document) if not block.needs_cluster]
    _try(document, blocks, server, fake_kubeconfig, tmp_path, tools)


@pytest.mark.cluster
@pytest.mark.parametrize("document", _names(_WITH_CLUSTER))
def test_commands_for_a_cluster_do_what_is_printed(
    document: str, server: Service, kubeconfig: str, kubectl: Path, tmp_path: Path
) -> None:
    _try(document, _commands(_ROOT / document), server, kubeconfig, tmp_path, kubectl.parent)


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_blocks_say_their_language(document: str) -> None:
    text = (_ROOT / document).read_text()
    assert {fence["language"] for fence in _fences(_ROOT / document)} <= _LANGUAGES
    assert text.count("```") == 2 * len(_fences(_ROOT / document))


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_links_within_the_repository_lead_somewhere(document: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(_ROOT / document)):
        if re.match("[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = ((_ROOT / document).parent / path).resolve() if path else _ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_variables_that_are_named_exist(document: str) -> None:
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in set(re.findall(rf"{PREFIX}[A-Z0-9_]+\b", (_ROOT / document).read_text())) - settings:
        assert name in _OTHER_VARIABLES, name
        assert name in (_ROOT / _OTHER_VARIABLES[name]).read_text()


@pytest.mark.parametrize("document", _names(_EVERYTHING))
def test_no_place_is_named_that_readers_do_not_have(document: str) -> None:
    assert re.findall(r"/(?:work|root|home/[a-z]+|mnt|opt/venv)/\S*", (_ROOT / document).read_text()) == []


@pytest.mark.parametrize("translation", _names(_TRANSLATIONS))
def test_translations_have_the_same_code_and_structure(translation: str) -> None:
    original, translated = _ROOT / "README.md", _ROOT / translation
    assert [fence.group("language", "text") for fence in _fences(translated)] == [
        fence.group("language", "text") for fence in _fences(original)
    ]
    assert _structure(translated) == _structure(original)
    assert re.findall(r"`[^`\n]+`", _tables(translated)) == re.findall(r"`[^`\n]+`", _tables(original))
    for one, other in ((original, translated), (translated, original)):
        assert f"({other.name})" in one.read_text().partition("\n## ")[0]


def test_architecture_has_every_module_and_the_layers_that_are_checked() -> None:
    page = _ROOT / "docs" / "architecture.md"
    package = _ROOT / "src" / "k8s_mcp"
    modules = {str(file.relative_to(package)) for file in package.rglob("*.py") if file.name != "__init__.py"}
    assert set(re.findall(r"`([\w/]+\.py)`", _tables(page))) == modules
    contract = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    [layers] = [fence["text"] for fence in _fences(page) if fence["language"] == "text"]
    assert layers.splitlines() == [re.sub(r"[()]", "", layer) for layer in contract["layers"]]


def _prose(document: Path) -> str:
    return _FENCE.sub(r"\g<above>", document.read_text())


def _structure(document: Path) -> list[str]:
    """Levels of headings, and how many items, table rows and paragraphs stand between them."""
    kinds = {"#": "heading", "-": "item", "|": "row", "<": "comment"}
    starts = re.findall(r"^(#+ |\d\. |- |\||<!--)", _prose(document), re.MULTILINE)
    return [start.strip() if start[0] == "#" else kinds.get(start[0], "number") for start in starts]


def _tables(document: Path) -> str:
    return "\n".join(re.findall(r"^\|.*$", document.read_text(), re.MULTILINE))


def _anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", _prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
