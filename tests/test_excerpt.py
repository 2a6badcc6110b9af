"""The head and the tail of a stream, within a bound."""

from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp.mcp.excerpt import Excerpt
from k8s_mcp.models import Output

NOTE = "<{count} left out, from line {line}>"

LINES = st.lists(st.text("aé€😀 ", max_size=30), min_size=1, max_size=40)


def excerpt(limit: int, lines: list[str], sizes: list[int] | None = None, first: int = 1) -> Excerpt:
    """Of `lines`, numbered from `first`, given in pieces of so many lines."""
    found = Excerpt(limit)
    sizes = list(sizes or [])
    while lines:
        size = sizes.pop(0) if sizes else len(lines)
        piece, lines = lines[:size], lines[size:]
        found.add(Output("stdout", first, len(piece), "\n".join(piece).encode()))
        first += len(piece)
    return found


def test_short_output_is_whole() -> None:
    found = excerpt(100, ["one", "", "three"])
    assert found.text(NOTE) == "one\n\nthree\n"
    assert found.left_out == 0
    assert found.lines == 3


def test_long_output_is_its_head_and_its_tail() -> None:
    found = excerpt(20, [f"l{number}" for number in range(1, 10)])
    assert found.text(NOTE) == "l1\nl2\nl3\n<3 left out, from line 4>\nl7\nl8\nl9\n"
    assert found.left_out == 3


def test_lines_are_named_by_their_numbers_in_the_run() -> None:
    """Lines of the other stream are numbered with them."""
    assert "from line 103>" in excerpt(10, ["a"] * 50, first=101).text(NOTE)


def test_one_long_line_shows_both_its_ends() -> None:
    """Such as JSON on one line, of which nothing would be left otherwise."""
    found = excerpt(20, ["0123456789" * 10])
    assert found.text(NOTE) == "0123456789\n<1 left out, from line 1>\n123456789\n"
    assert found.left_out == 1


def test_long_line_in_the_middle_is_left_out() -> None:
    found = excerpt(20, ["first", "x" * 1000, "last"])
    assert found.text(NOTE) == "first\n<1 left out, from line 2>\nlast\n"


def test_long_last_line_shows_its_end() -> None:
    found = excerpt(20, ["first", "x" * 1000 + "end"])
    assert found.text(NOTE) == "first\n<1 left out, from line 2>\nxxxxxxend\n"


@given(LINES, st.integers(2, 200), st.lists(st.integers(1, 5)))
def test_any_output_is_whole_or_says_what_is_left_out(lines: list[str], limit: int, sizes: list[int]) -> None:
    found = excerpt(limit, lines, sizes)
    text = "".join(f"{line}\n" for line in lines)
    assert found.lines == len(lines)
    if not found.left_out:
        assert found.text(NOTE) == text
        return
    note = f"<{found.left_out} left out, from line "
    head, _, rest = found.text(NOTE).partition(note)
    number, _, tail = rest.partition(">\n")
    assert len(head) + len(tail) <= limit + 1  # 1: the line end between a cut line and the note
    assert text.startswith(head.removesuffix("\n"))
    assert text.endswith(tail)
    assert lines[: int(number) - 1] == head.split("\n")[: int(number) - 1]
    whole_in_tail = 0 if int(number) + found.left_out > len(lines) else tail.count("\n")
    assert int(number) - 1 + found.left_out + whole_in_tail == len(lines)


@given(LINES, st.integers(2, 200), st.lists(st.integers(1, 5)))
def test_it_does_not_matter_how_lines_come(lines: list[str], limit: int, sizes: list[int]) -> None:
    assert excerpt(limit, lines, sizes).text(NOTE) == excerpt(limit, lines).text(NOTE)
