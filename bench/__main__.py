"""`python -m bench [PART…]`: measures, prints tables, and says which aims are met."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import authentication, followers, gate, kubernetes, local, mcp, nodes, sustained, warm, warm_load
from bench.figures import Row
from bench.table import as_json, table

_CLUSTER_PARTS = ("gate", "warm", "warm-load", "kubernetes", "sustained", "nodes")
_PARTS = ("local", "followers", "authentication", "mcp", *_CLUSTER_PARTS)


def main() -> int:
    """0 when every aim is met, 1 when one is missed."""
    options = _parser().parse_args()
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "local": lambda directory: local.measure(directory, options.rounds, options.lines),
        "followers": followers.measure,
        "authentication": lambda directory: authentication.measure(directory, options.rounds),
        "mcp": lambda directory: mcp.measure(directory, options.rounds),
        "gate": lambda directory: gate.measure(directory, options.rounds),
        "warm": lambda directory: warm.measure(directory, options.rounds),
        "warm-load": lambda directory: warm_load.measure(directory, options.rounds),
        "kubernetes": lambda directory: kubernetes.measure(directory, options.rounds, options.log_lines),
        "sustained": lambda directory: sustained.measure(directory, options.minutes),
        "nodes": lambda directory: nodes.measure(directory, options.minutes),
    }
    report: dict[str, Any] = {"machine": _machine()}
    missed = 0
    for part in options.parts or _PARTS:
        print(f"\n{part}: {_load()}", flush=True)
        with tempfile.TemporaryDirectory(prefix="k8s-mcp-bench-", dir=_memory()) as directory:
            rows = [_progress(row) for row in parts[part](Path(directory))]
        print(f"\n{table(rows)}\n{_load()}", flush=True)
        report[part] = [as_json(row) for row in rows]
        missed += sum(row.met is False for row in rows)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the service beside its floors.")
    parser.add_argument("parts", nargs="*", choices=(*_PARTS, []), metavar="PART", help=f"{', '.join(_PARTS)} [all]")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement [5]")
    parser.add_argument("--lines", type=int, default=1_500_000, help="lines for the local executor [1,500,000]")
    parser.add_argument(
        "--log-lines", type=int, default=4_000_000, help="lines for a pod's log, at least [4,000,000]"
    )
    parser.add_argument("--minutes", type=float, default=10, help="for which short runs come without a pause [10]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    return parser


def _progress(row: Row) -> Row:
    print(".", end="", flush=True)
    return row


def _load() -> str:
    return f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} processors"


def _machine() -> dict[str, object]:
    return {"processors": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def _memory() -> str | None:
    """Where a disk does not slow anybody down."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())
