"""A run's output for somebody who cannot read all of it: the head and the tail of each stream, within a bound."""

from k8s_mcp.models import Output


class Excerpt:
    """Keeps the beginning and the end of one stream, at most `limit` characters in all.

    It keeps whole lines, and a part of a line only where that line alone is longer than half of the limit.
    """

    def __init__(self, limit: int) -> None:
        self.lines = 0
        self._half = limit // 2
        self._head = ""
        self._head_lines = 0
        self._next_line = 0  # number of the first line that the head does not hold whole
        self._tail = ""
        self._cut = False  # whether the tail has lost its beginning

    def add(self, output: Output) -> None:
        """Take more lines of the stream."""
        self.lines += output.count
        text = output.data.decode() + "\n"
        if not self._next_line:
            room = self._half - len(self._head)
            end = len(text)
            if end > room:
                end = text.rfind("\n", 0, room) + 1 or (0 if self._head else room)
                self._next_line = output.first_id + text.count("\n", 0, end)
            self._head += text[:end]
            self._head_lines += text.count("\n", 0, end)
            text = text[end:]
        tail = self._tail + text
        self._cut = self._cut or len(tail) > self._half
        self._tail = tail[-self._half :]

    @property
    def left_out(self) -> int:
        """Lines that are not here whole."""
        return self.lines - self._head_lines - self._tail_part()[1]

    def text(self, note: str) -> str:
        """The stream's text, with `note` in the place of what is left out.

        In the note, `{count}` stands for the number of lines left out, and `{line}` for that of the first of them.
        """
        tail, _ = self._tail_part()
        if not self.left_out:
            return self._head + tail
        head = self._head if self._head.endswith("\n") or not self._head else f"{self._head}\n"
        return head + note.format(count=self.left_out, line=self._next_line) + "\n" + tail

    def _tail_part(self) -> tuple[str, int]:
        """The tail from its first whole line on, or the end of one line; and the number of its whole lines."""
        if not self._cut:
            return self._tail, self._tail.count("\n")
        start = self._tail.find("\n") + 1
        if start == len(self._tail):
            return self._tail, 0
        return self._tail[start:], self._tail.count("\n", start)
