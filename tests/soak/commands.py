"""The commands of the workload: what each does, and what its client must see of it."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Ending = dict[str, object]

CANCELLED: Ending = {"status": "cancelled", "exit_code": None}
_LONG = 240
"""Seconds that a command lasts which is to be cancelled."""

_BULK = [str(i + 1) for i in range(200_000)]


@dataclass(frozen=True)
class Command:
    """`stdout` and `stderr` are its lines when it runs to its `ending`. `cancel_after`: seconds after the start until
    somebody cancels it.
    """

    script: str
    stdout: Sequence[str]
    stderr: Sequence[str] = ()
    ending: Ending = field(default_factory=lambda: done(0))
    timeout: int = 300
    stdin: str | None = None
    cancel_after: float | None = None


def done(exit_code: int) -> Ending:
    return {"status": "done", "exit_code": exit_code}


def timed_out(timeout: int) -> Ending:
    return {"status": "timeout", "exit_code": 124, "timeout": timeout}


def _instant(rng: random.Random) -> Command:
    word = f"{rng.getrandbits(64):x}"
    return Command(f"echo {word}", [word])


def _unterminated(rng: random.Random) -> Command:
    word = f"{rng.getrandbits(64):x}"
    return Command(f"printf 'one\\n{word}'", ["one", word])


def _silent(rng: random.Random) -> Command:
    return Command(f"sleep {rng.uniform(5, 30):.1f}; echo over", ["over"])


def _talking(rng: random.Random) -> Command:
    lines = rng.randint(20, 100)
    return Command(
        f"for i in $(seq {lines}); do echo line $i; sleep 0.25; done", [f"line {i + 1}" for i in range(lines)]
    )


def _bulk(_: random.Random) -> Command:
    return Command("seq 200000", _BULK)


def _both_streams(rng: random.Random) -> Command:
    lines = rng.randint(50, 500)
    script = f"for i in $(seq {lines}); do echo out $i; echo err $i >&2; done"
    return Command(script, [f"out {i + 1}" for i in range(lines)], [f"err {i + 1}" for i in range(lines)])


def _failing(rng: random.Random) -> Command:
    code = rng.randint(1, 255)
    return Command(f"echo failing >&2; exit {code}", [], ["failing"], done(code))


def _input(rng: random.Random) -> Command:
    text = rng.randbytes(rng.randint(100_000, 250_000)).hex()
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Command("sha256sum", [f"{digest}  -"], stdin=text)


def _timeout(rng: random.Random) -> Command:
    timeout = rng.randint(2, 6)
    return Command(f"echo up; sleep {_LONG}", ["up"], ending=timed_out(timeout), timeout=timeout)


def _stubborn_timeout(rng: random.Random) -> Command:
    timeout = rng.randint(2, 6)
    script = "trap '' TERM; echo up; while :; do sleep 1; done"
    return Command(script, ["up"], ending=timed_out(timeout), timeout=timeout)


def _cancelled(rng: random.Random) -> Command:
    return Command(f"echo up; sleep {_LONG}", ["up"], ending=CANCELLED, cancel_after=rng.uniform(0, 8))


def _stubborn(rng: random.Random) -> Command:
    """It ignores SIGTERM."""
    script = f"trap '' TERM; echo up; for i in $(seq {_LONG}); do sleep 1; done"
    return Command(script, ["up"], ending=CANCELLED, cancel_after=rng.uniform(2, 8))


KINDS: dict[str, tuple[Callable[[random.Random], Command], int]] = {
    "instant": (_instant, 6),
    "unterminated": (_unterminated, 1),
    "silent": (_silent, 3),
    "talking": (_talking, 5),
    "bulk": (_bulk, 2),
    "both streams": (_both_streams, 2),
    "failing": (_failing, 2),
    "input": (_input, 2),
    "timeout": (_timeout, 1),
    "stubborn timeout": (_stubborn_timeout, 1),
    "cancelled": (_cancelled, 2),
    "stubborn": (_stubborn, 1),
}
"""How a command of each kind is made, and how many of a hundred, or so, are of it."""
