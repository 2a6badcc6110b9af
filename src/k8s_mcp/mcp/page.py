"""Lines of a run's output for one answer: from where, which of them, and as many as there is room for. No I/O."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from k8s_mcp.models import Event, Output, StreamName


@dataclass(frozen=True)
class Wanted:
    """Which lines. `grep` is text that they hold, with `context` lines around each; `tail` are the last so many.

    `column` is the first character of line `start_line`, from 1.
    """

    start_line: int = 1
    column: int = 1
    max_lines: int = 200
    stream: StreamName | None = None
    grep: str | None = None
    context: int = 0
    tail: int | None = None

    @property
    def first_needed(self) -> int:
        """The first line to look at: what is around a match may begin before, and end behind it."""
        return 1 if self.grep and self.context else self.start_line


@dataclass(frozen=True)
class _Line:
    """`mark` stands behind its number where lines are numbered: a colon for a match, as grep has it.

    A note is about lines that are not there. One that stands `apart` has lines before it that are left out.
    """

    number: int
    text: str
    mark: str = ""
    is_note: bool = False
    apart: bool = False

    def shown(self) -> str:
        return f"{self.number}{self.mark}{self.text}" if self.mark else self.text


class Page:
    """At most `max_lines` lines, of about `limit` characters in all.

    `next_line` is the number of the first that there was no room for; if a part of it was taken, `next_column` is
    where the rest begins. `count` is the number of lines.
    """

    def __init__(self, wanted: Wanted, limit: int) -> None:
        self.shown: list[str] = []
        self.count = 0
        self.next_line: int | None = None
        self.next_column: int | None = None
        self._wanted = wanted
        self._room = limit

    @property
    def text(self) -> str:
        return "\n".join(self.shown)

    def fill(self, events: Iterable[Event]) -> None:
        """Take lines from what a run has said, from `wanted.first_needed` on, for as long as there is room."""
        if self._wanted.tail is not None:
            self._fill_with_the_last(_lines_of(events, self._wanted), self._wanted.tail)
            return
        for line in _lines_of(events, self._wanted):
            if line.number >= self._wanted.start_line and not self._take(line):
                return

    def _fill_with_the_last(self, lines: Iterator[_Line], most: int) -> None:
        wanted = (line for line in lines if line.number >= self._wanted.start_line)
        last = deque(wanted, min(most, self._wanted.max_lines))
        kept: deque[_Line] = deque()
        room = self._room
        while last and (not kept or len(last[-1].shown()) < room):
            room -= len(last[-1].shown()) + 1
            kept.appendleft(last.pop())
        if last:
            self.shown.append(f"[more before line {kept[0].number}]")
        for line in kept:
            self._take(line)

    def _take(self, line: _Line) -> bool:
        """Whether there was room for it. The first is taken in any case, cut."""
        if line.is_note:
            self.shown.append(line.text)
            return True
        column = self._wanted.column if line.number == self._wanted.start_line else 1
        shown = replace(line, text=line.text[column - 1 :]).shown()
        if self.count == self._wanted.max_lines or (self.count and len(shown) > self._room):
            self.next_line = line.number
            return False
        if line.apart and self.count:
            self.shown.append("--")
        self.count += 1
        if len(shown) <= self._room:
            self.shown.append(shown)
            self._room -= len(shown) + 1
            return True
        rest = len(shown) - self._room
        after = column + len(line.text[column - 1 :]) - rest
        self.shown.append(
            f"{shown[: self._room]}[… characters left out: {rest}; "
            f"start_line={line.number}, column={after} reads them]"
        )
        self._room = 0
        if line.mark:
            return True  # what else matches comes first
        self.next_line, self.next_column = line.number, after
        return False


def _lines_of(events: Iterable[Event], wanted: Wanted) -> Iterator[_Line]:
    grep = wanted.grep
    if grep and wanted.context:
        yield from _around(_each(events, wanted, None), grep, wanted.context)
    elif grep is None or "\n" not in grep:
        yield from _each(events, wanted, grep)


def _each(events: Iterable[Event], wanted: Wanted, grep: str | None) -> Iterator[_Line]:
    """All lines, or those that match."""
    for event in events:
        if isinstance(event, Output):
            if wanted.stream in (None, event.stream):
                yield from _lines_in(event, grep)
        elif event.id and event.data["status"] == "gap":
            missing = event.data["missing"]
            yield _Line(event.id, f"[lines lost before line {event.id + 1}: {missing}]", is_note=True)


def _lines_in(output: Output, grep: str | None) -> Iterator[_Line]:
    """By searching for bytes: most lines of a long output never become text."""
    data, number, start = output.data, output.first_id, 0
    searched, mark = (grep or "").encode(), ":" if grep else ""
    while (found := data.find(searched, start)) >= 0:
        # Found from the start of one line on, in this line or a later one.
        line_start = data.rfind(b"\n", start, found) + 1 or start
        number += data.count(b"\n", start, line_start)
        end = data.find(b"\n", found)
        yield _Line(number, data[line_start : None if end < 0 else end].decode(), mark)
        if end < 0:
            return
        start, number = end + 1, number + 1


def _around(lines: Iterator[_Line], grep: str, context: int) -> Iterator[_Line]:
    """The lines with that text, and `context` lines before and after each."""
    before: deque[_Line] = deque(maxlen=context)
    after, left_out = 0, False
    for line in lines:
        if line.is_note:
            yield line
        elif grep in line.text:
            for number, near in enumerate((*before, replace(line, mark=":"))):
                yield replace(near, apart=left_out and number == 0)
            before.clear()
            after, left_out = context, False
        elif after:
            yield replace(line, mark="-")
            after -= 1
        else:
            left_out = left_out or len(before) == context
            before.append(replace(line, mark="-"))
