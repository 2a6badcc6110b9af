"""Pictures are what their script draws, in light and dark, and documents show the one that fits the reader's page."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from docs.pictures import draw
from docs.pictures.terminal import lines
from tests.support.documents import ROOT

_DOCUMENTS = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
_PICTURE = re.compile(r"<picture>\s*<source media=\"\(prefers-color-scheme: dark\)\" srcset=\"(\S+)-dark\.svg\">\s*"
                      r"<img src=\"(\S+)-light\.svg\" width=\"\d+\" alt=\"[^\"]{40,}\">\s*</picture>")  # fmt: skip


def test_pictures_are_as_their_script_draws_them() -> None:
    kept = {file.name: file.read_text() for file in draw.HERE.glob("*.svg") if not file.name.startswith("page")}
    assert kept == draw.pictures(), "write them: .venv/bin/python -m docs.pictures.draw"


@pytest.mark.parametrize("name", draw.pictures())
def test_a_picture_says_what_it_shows_and_loads_nothing(name: str) -> None:
    picture = ET.fromstring(draw.pictures()[name])  # noqa: S314 # our own
    assert len(picture.findtext("{http://www.w3.org/2000/svg}title", "")) > 40
    assert re.findall(r"(?:href|src)=|url\((?!#)|<script", draw.pictures()[name]) == []


@pytest.mark.parametrize("document", _DOCUMENTS, ids=lambda file: file.name)
def test_documents_show_both_and_say_what_they_show(document: Path) -> None:
    text = document.read_text()
    shown = _PICTURE.findall(text)
    assert len(shown) == text.count("<img ") == text.count("<picture>")
    for dark, light in shown:
        assert dark == light
        assert (document.parent / f"{dark}-dark.svg").exists()
        assert (document.parent / f"{light}-light.svg").exists()


def test_recording_shows_what_it_is_for() -> None:
    said = "\n".join(line.words for line in lines(draw.HERE / "terminal.cast"))
    assert '"user":{}' in said
    assert "only reading is allowed" in said
    assert "a dry run" in said
    assert "a pod is being started" not in said
