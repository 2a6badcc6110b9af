"""`python -m tests.fuzz TARGET --minutes N`: fuzz a target, keep what it found, and write down how much was tried.

With atheris (`make fuzz` installs it) coverage guides it; without, inputs are mutations of the stored ones. What new
code an input reached is merged into tests/fuzz/corpus/; an input that fails is printed and left in a file. `gate`, or
the name of one of its targets, is fuzzed by Go.
"""

import argparse
import importlib.util
import itertools
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from tests.fuzz import corpus, gate, seeds, targets

_COUNTS = Path(__file__).parent / "counts.tsv"
_LONGEST = 4096
_HANGS = 1200
"""Seconds after which an input hangs; `targets.bounded` counts processor time and is stricter."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=[*targets.NAMES, *gate.packages(), "all", "gate"])
    parser.add_argument("--minutes", type=float, default=1, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    chosen = {"all": targets.NAMES, "gate": [*gate.packages()]}.get(given.target, [given.target])
    guided = importlib.util.find_spec("atheris") is not None
    return max(fuzz(target, given.minutes * 60, given.seed, guided=guided) for target in chosen)


def fuzz(target: str, seconds: float, seed: int, *, guided: bool) -> int:
    """Fuzz for so long; 0, or 1 if an input failed."""
    if target in gate.packages():
        return _gate(target, seconds)
    with tempfile.TemporaryDirectory(prefix="k8s-mcp-fuzz-") as work:
        before = _processor_seconds()
        inputs, failed = (_guided if guided else _unguided)(target, seconds, seed, Path(work))
        _count(target, inputs, _processor_seconds() - before, "atheris" if guided else "mutations")
    return int(failed)


def _gate(target: str, seconds: float) -> int:
    gate.compiled(target)
    before = _processor_seconds()
    inputs, failed = gate.fuzz(target, seconds)
    _count(target, inputs, _processor_seconds() - before, "go")
    return int(failed)


def _guided(target: str, seconds: float, seed: int, work: Path) -> tuple[int, bool]:
    found, merged, words = work / "found", work / "merged", work / "words"
    found.mkdir()
    merged.mkdir()
    _write(found, [*corpus.load(target), *seeds.of(target)])
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in seeds.words(target)))
    options = [
        f"-max_total_time={seconds:.0f}",
        "-print_final_stats=1",
        f"-dict={words}",
        f"-seed={seed & 0x7FFFFFFF}",
    ]
    result = _engine(
        target, [*options, f"-artifact_prefix={tempfile.gettempdir()}/k8s-mcp-fuzz-{target}-", str(found)]
    )
    if result.returncode:
        print(result.stdout[-6000:], flush=True)
    _engine(target, ["-merge=1", str(merged), str(found)])
    smallest = [file.read_bytes() for file in merged.iterdir()]
    if smallest:
        corpus.store(target, smallest)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", result.stdout)
    return int(executed[1]) if executed else 0, result.returncode != 0


def _unguided(target: str, seconds: float, seed: int, _: Path) -> tuple[int, bool]:
    known = [*corpus.load(target), *seeds.of(target)]
    run = targets.target(target)
    end = time.monotonic() + seconds
    count = 0
    for data in itertools.chain(known, corpus.mutations(known, seeds.words(target), seed)):
        try:
            targets.bounded(run, data[:_LONGEST])
        except BaseException:
            print(repr(data[:_LONGEST]), flush=True)
            raise
        count += 1
        if time.monotonic() > end:
            break
    return count, False


def _engine(target: str, arguments: Iterable[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.engine", target]
    limits = [f"-max_len={_LONGEST}", f"-timeout={_HANGS}"]
    return subprocess.run(
        [*command, *limits, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _write(directory: Path, inputs: Iterable[bytes]) -> None:
    for number, data in enumerate(inputs):
        (directory / f"{number:06}").write_bytes(data)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _count(target: str, inputs: int, seconds: float, engine: str) -> None:
    revision = _git("rev-parse", "--short=12", "HEAD") + (
        "-changed" if _git("status", "--short", "src", "gate") else ""
    )
    if not _COUNTS.exists():
        _COUNTS.write_text("date\ttarget\trevision\tengine\tinputs\tprocessor_minutes\n")
    fields = (f"{datetime.now(UTC):%Y-%m-%d}", target, revision, engine, inputs, f"{seconds / 60:.1f}")
    with _COUNTS.open("a") as file:
        file.write("\t".join(map(str, fields)) + "\n")
    print(f"{target}: {inputs} inputs in {seconds / 60:.1f} processor minutes", flush=True)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
