"""What a soak has found: figures, and each wrong thing with all that is needed to look into it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.checker import Verdict, Wrong
from tests.soak.follower import Note
from tests.soak.growth import Growth
from tests.soak.plan import Options
from tests.soak.workload import Record

_MOST_NOTES = 60
_MOST_LINES = 40
_MOST_SHOWN = 15
_AROUND_SECONDS = 20.0
_FIGURES = {
    "executed twice": "executed twice",
    "lines lost without a gap": "lines lost without a gap",
    "lines repeated": "repeated",
    "wrong endings": "wrong ending",
    "ends lost": "end lost",
    "objects left": "left",
}
"""Figures that are always told, and the kind of wrong that each counts."""


@dataclass(frozen=True)
class Finding:
    """One wrong thing. `at`: seconds since the beginning."""

    what: str
    at: float
    detail: str
    run: str = ""
    run_id: str = ""
    history: list[str] = field(default_factory=list[str])
    logs: list[str] = field(default_factory=list[str])


class Report:
    """Collects; at the end `text` and `write` tell."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.began = time.monotonic()
        self.findings: list[Finding] = []
        self.endings: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.fault_log: Sequence[Note] = ()
        self.growth: list[Growth] = []
        self.gone_after = 0.0
        self.closed_early = 0
        self.replayed = 0

    @property
    def runs(self) -> int:
        return sum(self.kinds.values())

    @property
    def is_good(self) -> bool:
        return not self.findings and all(growth.is_flat for growth in self.growth)

    def add(self, record: Record, verdict: Verdict) -> None:
        """A run that is over."""
        self.kinds[record.planned.kind] += 1
        self.modes[record.planned.mode] += 1
        self.closed_early += sum(follower.closed_early for follower in record.followers)
        self.replayed += record.replayed is not None
        for follower in record.followers:
            self.endings[str(follower.finals[0]["status"]) if follower.finals else "none"] += 1
        if verdict.excused:
            self.excused[verdict.excused] += 1
        for wrong in verdict.wrong:
            self._found(wrong, record)

    def add_logs(self, of: Callable[[str], list[str]]) -> None:
        """`of` gives what the replicas logged about a run."""
        for finding in self.findings:
            if finding.run_id:
                finding.logs.extend(of(finding.run_id)[-_MOST_LINES:])

    def tell(self, what: str, detail: str) -> None:
        """Something wrong that is no run's."""
        self._add(Finding(what, self._seconds(time.monotonic()), detail))
        print(f"{self.findings[-1].at:7.1f} s  WRONG {what}: {detail[:300]}", flush=True)

    def _found(self, wrong: Wrong, record: Record) -> None:
        planned = record.planned
        run = f"run {planned.number} ({planned.kind}, {planned.mode})"
        history = self._history(record)
        finding = Finding(wrong.what, self._seconds(record.ended), wrong.detail, run, record.run_id, history)
        self._add(finding)
        print(f"{finding.at:7.1f} s  WRONG {wrong.what}: {run}: {wrong.detail[:300]}", flush=True)

    def _add(self, finding: Finding) -> None:
        """What is known by now is written at once: a soak that is ended early has not found nothing."""
        self.findings.append(finding)
        if self.options.json:
            self.write(self.options.json)

    def _history(self, record: Record) -> list[str]:
        """What each client noted, and which faults there were, in the order of time."""
        notes = [
            (note.at, f"client {number}: {note.text}")
            for number, follower in enumerate(record.followers)
            for note in follower.notes[:_MOST_NOTES]
        ]
        notes += [(note.at, f"THIS RUN: {note.text}") for note in record.hurt]
        begin, end = record.began - _AROUND_SECONDS, record.ended
        notes += [(note.at, f"fault: {note.text}") for note in self.fault_log if begin <= note.at <= end]
        return [f"{self._seconds(at):7.1f} s  {text}" for at, text in sorted(notes)]

    def figures(self) -> dict[str, Any]:
        wrong = Counter(finding.what for finding in self.findings)
        return {
            "seed": self.options.seed,
            "minutes": round(self._seconds(time.monotonic()) / 60, 1),
            "replicas": self.options.replicas,
            "runs": self.runs,
            "runs by kind": dict(self.kinds),
            "runs by their clients": dict(self.modes),
            "faults": sum(self.faults.values()),
            "faults by kind": dict(self.faults),
            **{name: wrong[kind] for name, kind in _FIGURES.items()},
            "other wrong things": {kind: n for kind, n in wrong.items() if kind not in _FIGURES.values()},
            "endings": dict(self.endings),
            "endings excused": dict(self.excused),
            "streams closed early": self.closed_early,
            "runs read again": self.replayed,
            "seconds until nothing was left": round(self.gone_after, 1),
            "growth": [asdict(growth) for growth in self.growth],
        }

    def write(self, file: Path) -> None:
        """As JSON: the figures, and everything that was found, and every fault."""
        faults = [f"{self._seconds(note.at):7.1f} s  {note.text}" for note in self.fault_log]
        whole = {**self.figures(), "found": [asdict(one) for one in self.findings], "fault log": faults}
        file.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")

    def text(self) -> str:
        lines = [f"{name:32} {_short(value)}" for name, value in self.figures().items() if name != "growth"]
        lines += [_growth(growth) for growth in self.growth]
        for finding in self.findings[:_MOST_SHOWN]:
            lines += [
                "",
                f"{finding.at:.1f} s: {finding.what}: {finding.run} {finding.run_id} {finding.detail}",
                *finding.history,
            ]
            lines += [f"  | {line[:300]}" for line in finding.logs]
        if len(self.findings) > _MOST_SHOWN:
            lines.append(f"\n{len(self.findings) - _MOST_SHOWN} more are in the JSON (--json FILE)")
        return "\n".join(lines)

    def _seconds(self, at: float) -> float:
        return round(at - self.began, 1)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"  # type: ignore[reportUnknownVariableType]
    return str(value)


def _growth(growth: Growth) -> str:
    name = f"replica {growth.replica}, life {growth.life}, {growth.seconds / 60:.0f} min"
    memory = f"memory {growth.memory_mean / 2**20:.0f} MiB {growth.memory:+.1%}"
    return f"{name:32} {memory}, descriptors {growth.descriptors_mean:.0f} {growth.descriptors:+.1%}"
