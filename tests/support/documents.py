"""README and guides as tests read them: the commands in them, and what those print.

An `sh` block is run, all of one document in one shell and in order. The `text` block behind it is what it prints,
where `…` stands for anything within a line, and a line `…` for any lines. A comment right above an `sh` block says
what it takes: `<!-- needs a cluster -->` a real one, `<!-- needs Docker -->` an engine with Compose (tests/deploy
runs those), `<!-- needs the chart -->` a cluster with helm and both images (tests/e2e/chart runs those),
`<!-- not executed: reason -->` that it is not run at all.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

NEEDS = {"a cluster", "Docker", "the chart"}
_NEEDS = re.compile(r"<!-- needs (.+) -->")
_NOT_EXECUTED = re.compile(r"<!-- not executed: \S.* -->")
_FENCE = re.compile(r"(?P<above>[^\n]*)\n```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """A command block, and what it should print. `needs` is one of NEEDS, or nothing."""

    document: str
    line: int
    text: str
    needs: str
    prints: list[str] = field(default_factory=list[str])

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


def fences(document: Path) -> list[re.Match[str]]:
    """Every fenced block: `language`, `text`, and the line `above`."""
    return list(_FENCE.finditer(document.read_text()))


def prose(document: Path) -> str:
    """What is between the fenced blocks."""
    return _FENCE.sub(r"\g<above>", document.read_text())


def commands(document: Path) -> list[Block]:
    """The blocks to run, in order."""
    blocks: list[Block] = []
    runs = False
    for fence in fences(document):
        if fence["language"] == "sh":
            runs = not _NOT_EXECUTED.fullmatch(fence["above"])
            line = document.read_text().count("\n", 0, fence.start("text")) + 1
            if runs:
                needs = _NEEDS.fullmatch(fence["above"])
                blocks.append(Block(document.name, line, fence["text"], needs[1] if needs else ""))
                assert not needs or needs[1] in NEEDS, f"{blocks[-1].place}: {fence['above']}"
        elif fence["language"] == "text" and runs:
            blocks[-1].prints.append(fence["text"])
            runs = False
    return blocks


def carry_out(
    blocks: Sequence[Block],
    directory: Path,
    environment: Mapping[str, str],
    *,
    replaced: Mapping[str, str] | None = None,
    enter: Sequence[str] = (),
    seconds: float = 100,
) -> None:
    """Run the blocks as a reader would, in one shell in `directory`, and compare what they print.

    `replaced` says what stands in for texts of the document, in commands and in what they print; `enter` is put in
    front of the shell.
    """

    def here(text: str) -> str:
        for found, wanted in (replaced or {}).items():
            text = text.replace(found, wanted)
        return text

    said = directory / ".printed"
    said.mkdir()
    script = ["set -e"]
    for number, block in enumerate(blocks):
        script += [
            f"{{\n{here(block.text)}}} > {said}/{number}.out 2> {said}/{number}.err",
            f"touch {said}/{number}.done",
        ]
    subprocess.run(
        [*enter, "bash", "-c", "\n".join(script)], cwd=directory, env=environment, check=False, timeout=seconds
    )
    for number, block in enumerate(blocks):
        output = (said / f"{number}.out").read_text()
        done = (said / f"{number}.done").exists()
        assert done, f"{block.place} failed: {output}{(said / f'{number}.err').read_text()}"
        for expected in block.prints:
            matches = printed(here(expected)).fullmatch(output.rstrip("\n") + "\n")
            assert matches, f"{block.place} printed:\n{output}"


def printed(expected: str) -> re.Pattern[str]:
    """Output as the documents show it, as a pattern."""
    lines = expected.rstrip("\n").split("\n")
    patterns = [r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in lines]
    return re.compile("".join(patterns))
