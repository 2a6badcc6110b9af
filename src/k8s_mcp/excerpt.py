"""A run's output for somebody who cannot read all of it: the head and the tail of each stream, within a bound."""

from k8s_mcp.models import Output


class Excerpt:
    """Keeps the first and the last lines of one stream, at most `limit` characters in all."""

    def __init__(self, limit: int) -> None:
        self.lines = 0
        self._half = limit // 2
        self._head = ""
        self._head_lines = 0
        self._full = False
        self._tail = ""

    def add(self, output: Output) -> None:
        """Take more lines of the stream."""
        self.lines += output.count
        text = output.data.decode() + "\n"
        if not self._full:
            room = self._half - len(self._head)
            cut = len(text) if len(text) <= room else text.rfind("\n", 0, max(room, 0)) + 1
            self._head += text[:cut]
            self._head_lines += text.count("\n", 0, cut)
            text = text[cut:]
            self._full = bool(text)
        self._tail = (self._tail + text)[-self._half :]

    @property
    def left_out(self) -> int:
        """Lines that neither head nor tail holds whole."""
        return self.lines - self._head_lines - self._whole_tail().count("\n")

    def text(self, note: str) -> str:
        """The stream's text, with `note` in the place of what is left out. It may hold `{count}`."""
        if not self.left_out:
            return self._head + self._whole_tail()
        return self._head + note.format(count=self.left_out) + "\n" + self._whole_tail()

    def _whole_tail(self) -> str:
        """The tail from its first whole line on; of one line longer than the tail, its end."""
        if len(self._tail) < self._half:
            return self._tail
        start = self._tail.find("\n") + 1
        return self._tail[start:] if start < len(self._tail) else ""
