"""Documents say each thing once, at length, and what is read in a hurry in short sentences."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.documents import ROOT, fences, prose

_DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "SUPPORT.md", ROOT / "SECURITY.md"]
_HURRIED = ["README.md", "docs/quickstart.md", "docs/team.md", "docs/faq.md", "docs/versions.md", "SUPPORT.md"]
_MOST_WORDS = 35
_LONG = 160
"""Characters from which on a paragraph, a cell or a block says something at length."""


def _plain(text: str) -> str:
    """Without links, code marks and line ends, so that the same thing in another form is the same."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"[`*_|]", " ", text).split()).lower()


def _paragraphs(document: Path) -> list[str]:
    """Paragraphs, items of lists and rows of tables; not the code."""
    text = re.sub(r"<picture>.*?</picture>|<!--.*?-->", "", prose(document), flags=re.DOTALL)
    text = re.sub(r"^(#+ .*)$", r"\n\1\n", text, flags=re.MULTILINE)
    return [part for part in re.split(r"\n\s*\n|\n(?=[-|]|\d+\. )", text) if part.strip()]


def test_no_two_documents_say_the_same_thing_at_length() -> None:
    said = defaultdict[str, set[str]](set)
    for document in _DOCUMENTS:
        name = str(document.relative_to(ROOT))
        for text in [*_paragraphs(document), *(fence["text"] for fence in fences(document))]:
            if len(_plain(text)) >= _LONG:
                said[_plain(text)].add(name)
    assert {text: places for text, places in said.items() if len(places) > 1} == {}


def _sentences(text: str) -> list[str]:
    plain = re.sub(r"`[^`]*`", "CODE", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text))
    return re.split(r"(?<=[.!?])\s+|\|", " ".join(plain.split()))


def _first_page(document: Path) -> list[str]:
    """What comes before the third heading: of a page that goes into depth, that is what everybody reads."""
    return _paragraphs(document)[: [part.startswith("## ") for part in _paragraphs(document)].index(True) + 1]


@pytest.mark.parametrize("name", [*_HURRIED, "docs/security.md"])
def test_sentences_are_short_where_somebody_reads_in_a_hurry(name: str) -> None:
    document = ROOT / name
    parts = _first_page(document) if name == "docs/security.md" else _paragraphs(document)
    long = [sentence for part in parts for sentence in _sentences(part) if len(sentence.split()) > _MOST_WORDS]
    assert long == []
