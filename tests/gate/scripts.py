"""The commands in reading.sh and changing.sh, by name."""

import re
from pathlib import Path

_HEADING = re.compile(r"^### (.+)\n", re.MULTILINE)


def scripts(file: str) -> dict[str, str]:
    """Each heading of the file, and the script below it."""
    _, *parts = _HEADING.split((Path(__file__).parent / file).read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


READING = scripts("reading.sh")
CHANGING = scripts("changing.sh")
