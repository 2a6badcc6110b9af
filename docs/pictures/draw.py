"""Draws the pictures of README and docs, light and dark: `python -m docs.pictures.draw` writes them anew."""

from collections.abc import Iterator
from pathlib import Path

from docs.pictures.figures import drawn as of_figures
from docs.pictures.sequences import drawn as of_sequences
from docs.pictures.svg import arrow, both, box, number, text
from docs.pictures.terminal import elements as of_terminal

HERE = Path(__file__).parent


def pictures() -> dict[str, str]:
    """Every picture by the name of its file."""
    width, height, recorded = of_terminal(HERE / "terminal.cast", _COLUMNS)
    drawn = {
        **of_figures(),
        **of_sequences(),
        "gate": both(width=1000, height=300, title=_GATE, elements=_gate()),
        "terminal": both(width=width, height=height, title=_TERMINAL, elements=recorded),
        "overview": both(width=1000, height=330, title=_OVERVIEW, elements=_overview()),
        "boundaries": both(width=1000, height=430, title=_BOUNDARIES, elements=_boundaries()),
    }
    return {f"{name}-{theme}.svg": picture for name, themes in drawn.items() for theme, picture in themes.items()}


_COLUMNS = 104
_TERMINAL = (
    "A terminal: kubectl lists deployments; the command's kubeconfig has no credential; a read-only run refuses to "
    "scale; a dry run deletes a deployment, and nothing is changed."
)
_OVERVIEW = (
    "People, scripts and agents send a command to the service. It says who calls and what may be done, starts a pod "
    "for the command, and streams its output. In the pod the command has no credential: the gate beside it holds it, "
    "and decides on each request to the cluster."
)


def _overview() -> Iterator[str]:
    for row, (who, how) in enumerate(
        (
            ("People", "k8s-mcp exec, curl"),
            ("Scripts, pipelines", "HTTP, live events"),
            ("AI agents", "MCP: Claude, Cursor, …"),
        )
    ):
        top = 42 + 88 * row
        yield box(10, top, 170, 66)
        yield text(95, top + 29, who, size=15, weight=600, anchor="middle")
        yield text(95, top + 49, how, size=12.5, colour="soft", anchor="middle")
        yield arrow([(182, top + 33), (238, 163 + 14 * (row - 1))])
    yield box(242, 72, 190, 182, fill="accent_fill", stroke="accent")
    yield text(337, 104, "k8s-mcp-server", size=16, weight=700, anchor="middle", colour="accent")
    for row, line in enumerate(("who calls", "what may be done", "live output, in order", "audit, metrics, traces")):
        yield text(337, 138 + 27 * row, line, size=13.5, anchor="middle")
    yield arrow([(434, 163), (506, 163)], colour="accent")
    yield text(470, 152, "Job", size=12.5, colour="soft", anchor="middle")
    yield box(478 + 32, 30, 296, 264, fill="page", dashed=True)
    yield text(526, 54, "one pod for each command, then gone", size=12.5, colour="soft")
    yield box(526, 70, 264, 92)
    yield text(658, 100, "command", size=15, weight=600, anchor="middle")
    yield text(658, 122, "bash, kubectl, helm, jq, …", size=12.5, colour="soft", anchor="middle")
    yield text(658, 142, "no credential here", size=12.5, colour="soft", anchor="middle")
    yield arrow([(658, 164), (658, 188)])
    yield box(526, 192, 264, 86, fill="secret_fill", stroke="secret")
    yield text(658, 220, "gate", size=15, weight=700, colour="secret", anchor="middle")
    yield text(658, 242, "holds the credential, decides on each", size=12.5, anchor="middle")
    yield text(658, 260, "request, masks Secrets, keeps a record", size=12.5, anchor="middle")
    yield text(846, 84, "your clusters", size=12.5, colour="soft", anchor="start")
    for row, cluster in enumerate(("prod", "staging", "dev")):
        top = 98 + 62 * row
        yield box(846, top, 144, 48)
        yield text(918, top + 30, cluster, size=14, anchor="middle")
        yield arrow([(792, 235), (842, top + 24)], colour="secret" if row == 0 else "line")


_BOUNDARIES = (
    "Four zones: callers, the service, the pod of a run with the command and the gate apart, and the cluster that "
    "the caller names. Numbered arrows cross from one to the next; the table below says what guards each."
)


def _boundaries() -> Iterator[str]:
    zones = (
        ("callers", 10, 180),
        ("the service's namespace", 240, 220),
        ("the namespace of runs", 510, 270),
        ("a cluster", 830, 160),
    )
    for name, left, width in zones:
        yield box(left, 40, width, 370, fill="page", dashed=True)
        yield text(left + 12, 30, name, size=13, colour="soft")
    yield box(26, 84, 148, 64)
    yield text(100, 121, "person, script", size=14, anchor="middle")
    yield box(26, 190, 148, 64)
    yield text(100, 218, "agent", size=14, anchor="middle")
    yield text(100, 237, "and its model", size=12.5, colour="soft", anchor="middle")
    yield box(26, 320, 148, 64, dashed=True)
    yield text(100, 348, "web page, stranger", size=13.5, anchor="middle")
    yield text(100, 367, "refused", size=12.5, colour="soft", anchor="middle")
    yield box(256, 84, 188, 170, fill="accent_fill", stroke="accent")
    yield text(350, 118, "k8s-mcp-server", size=15, weight=700, colour="accent", anchor="middle")
    for row, line in enumerate(("token, OpenID Connect", "policy, quotas", "masking, audit")):
        yield text(350, 150 + 25 * row, line, size=13, anchor="middle")
    yield box(256, 320, 188, 64)
    yield text(350, 348, "API server of the runs", size=13.5, anchor="middle")
    yield text(350, 367, "Jobs, Secrets, logs", size=12.5, colour="soft", anchor="middle")
    yield box(526, 84, 238, 100)
    yield text(645, 122, "command", size=15, weight=600, anchor="middle")
    yield text(645, 146, "runs whatever it was told", size=12.5, colour="soft", anchor="middle")
    yield box(526, 232, 238, 100, fill="secret_fill", stroke="secret")
    yield text(645, 270, "gate", size=15, weight=700, colour="secret", anchor="middle")
    yield text(645, 294, "the credential is here alone", size=12.5, anchor="middle")
    yield text(645, 376, "no token, no capabilities,", size=12.5, colour="soft", anchor="middle")
    yield text(645, 394, "read-only root, network policy", size=12.5, colour="soft", anchor="middle")
    yield box(846, 232, 128, 100)
    yield text(910, 278, "API server", size=14, weight=600, anchor="middle")
    yield text(910, 300, "its RBAC rules", size=12.5, colour="soft", anchor="middle")
    for value, points, colour, at in (
        (1, [(176, 116), (252, 116)], "accent", (214, 98)),
        (1, [(176, 222), (252, 222)], "accent", (214, 204)),
        (2, [(350, 256), (350, 316)], "accent", (372, 288)),
        (3, [(446, 352), (486, 352), (486, 282), (522, 282)], "secret", (486, 332)),
        (4, [(645, 186), (645, 228)], "soft", (667, 208)),
        (5, [(766, 282), (842, 282)], "secret", (804, 264)),
        (6, [(524, 134), (448, 134)], "soft", (486, 116)),
    ):
        yield arrow(points, colour=colour)
        yield number(*at, value, colour=colour)
    yield arrow([(176, 352), (214, 352)], dashed=True, colour="line")
    yield text(222, 358, "✕", size=16, colour="soft")


_GATE = (
    "A request of a command goes through the gate in six steps: it is read in one way only, decided on, made a try "
    "in a dry run, sent with the credential, its answer masked, and written down. Two of them end it with 400 or 403."
)


def _gate() -> Iterator[str]:
    yield box(10, 90, 120, 90)
    yield text(70, 130, "command", size=14, weight=600, anchor="middle")
    yield text(70, 150, "kubectl, curl, …", size=12, colour="soft", anchor="middle")
    yield box(170, 20, 660, 260, fill="page", stroke="secret", dashed=True)
    yield text(186, 44, "gate", size=14, weight=700, colour="secret")
    steps = (
        ("1  read", "as the API", "server does"),
        ("2  decide", "access, deny,", "allow, Secrets"),
        ("3  dry run", "dryRun=All, in", "query and body"),
        ("4  send", "with the", "credential"),
    )
    for place, (name, first, second) in enumerate(steps):
        left = 186 + 160 * place
        fill, stroke = ("secret_fill", "secret") if "send" in name else ("fill", "line")
        yield box(left, 70, 138, 76, fill=fill, stroke=stroke)
        yield text(left + 69, 95, name, size=13.5, weight=600, anchor="middle")
        yield text(left + 69, 115, first, size=12, colour="soft", anchor="middle")
        yield text(left + 69, 131, second, size=12, colour="soft", anchor="middle")
        if place:
            yield arrow([(left - 20, 108), (left - 2, 108)])
    yield arrow([(132, 108), (182, 108)])
    yield arrow([(806, 108), (858, 108)], colour="secret")
    for left, words in ((186, "400: two ways to read it"), (346, "403: by which rule")):
        yield arrow([(left + 69, 148), (left + 69, 176)], colour="line")
        yield text(left + 69, 192, words, size=12, colour="soft", anchor="middle")
    yield box(666, 196, 138, 64)
    yield text(735, 222, "5  mask", size=13.5, weight=600, anchor="middle")
    yield text(735, 242, "values of Secrets", size=12, colour="soft", anchor="middle")
    yield box(506, 212, 138, 48)
    yield text(575, 241, "6  record a line", size=13.5, weight=600, anchor="middle")
    yield arrow([(926, 150), (926, 228), (808, 228)])
    yield arrow([(664, 236), (648, 236)])
    yield arrow([(504, 236), (70, 236), (70, 184)])
    yield box(862, 66, 128, 82)
    yield text(926, 104, "API server", size=14, weight=600, anchor="middle")
    yield text(926, 124, "its own RBAC", size=12, colour="soft", anchor="middle")


def main() -> None:
    """Write every picture beside this file."""
    for name, picture in pictures().items():
        (HERE / name).write_text(picture)


if __name__ == "__main__":
    main()
