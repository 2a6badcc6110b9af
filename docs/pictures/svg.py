"""What the pictures are made of: boxes, lines and words in the colours of a light and of a dark page.

A picture is a list of elements as text, with names of colours in braces (`{ink}`): so one drawing gives both files.
"""

from collections.abc import Iterable
from html import escape

FONT = "ui-sans-serif, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

COLOURS = {
    "light": {
        "ink": "#1f2328",
        "soft": "#59636e",
        "line": "#c3ccd5",
        "fill": "#f6f8fa",
        "page": "#ffffff",
        "accent": "#0860ca",
        "accent_fill": "#e6f1fe",
        "secret": "#b14500",
        "secret_fill": "#fff1e5",
        "good": "#1a7f37",
        "bar": "#8c959f",
    },
    "dark": {
        "ink": "#f0f6fc",
        "soft": "#9ea7b1",
        "line": "#48515b",
        "fill": "#161c24",
        "page": "#0d1117",
        "accent": "#58a6ff",
        "accent_fill": "#10243e",
        "secret": "#f0954d",
        "secret_fill": "#2e1c0e",
        "good": "#56d364",
        "bar": "#6e7781",
    },
}


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 14,
    colour: str = "ink",
    weight: int = 400,
    anchor: str = "start",
    mono: bool = False,
) -> str:
    """One line of words, its baseline at `y`. `anchor` is SVG's: start, middle or end."""
    family = f' font-family="{MONO}"' if mono else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{{{colour}}}"{family} xml:space="preserve">{_data(words)}</text>'
    )


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str = "fill",
    stroke: str = "line",
    dashed: bool = False,
    radius: float = 8,
) -> str:
    """A rectangle with round corners."""
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
        f'fill="{{{fill}}}" stroke="{{{stroke}}}" stroke-width="1.5"{dashes}/>'
    )


def arrow(points: Iterable[tuple[float, float]], *, colour: str = "soft", dashed: bool = False) -> str:
    """A line through `points`, with its head at the last one."""
    path = " L".join(f"{x:g} {y:g}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<path d="M{path}" fill="none" stroke="{{{colour}}}" stroke-width="1.75"{dashes} '
        f'marker-end="url(#head-{colour})"/>'
    )


def number(x: float, y: float, value: int, *, colour: str = "accent") -> str:
    """A number in a disc, that a text below the picture speaks of."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="{{{colour}}}"/>' + text(
        x, y + 4.5, str(value), size=12.5, weight=700, colour="page", anchor="middle"
    )


def both(*, width: float, height: float, title: str, elements: Iterable[str]) -> dict[str, str]:
    """The picture by theme."""
    heads = "".join(
        f'<marker id="head-{colour}" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0.8 L9 5 L0 9.2 z" fill="{{{colour}}}"/></marker>'
        for colour in ("soft", "accent", "secret", "line")
    )
    body = "\n".join(elements)
    return {
        theme: (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" font-family="{FONT}" role="img">\n<title>{escape(title)}</title>\n'
            f"<defs>{_coloured(heads, colours)}</defs>\n{_coloured(body, colours)}\n</svg>\n"
        )
        for theme, colours in COLOURS.items()
    }


def _data(words: str) -> str:
    """Braces in words are no names of colours."""
    return escape(words, quote=False).replace("{", "&#123;").replace("}", "&#125;")


def _coloured(text: str, colours: dict[str, str]) -> str:
    for name, colour in colours.items():
        text = text.replace(f"{{{name}}}", colour)
    return text
