"""`python -m tests.soak --minutes 60 --replicas 3`: prints what it finds; 1 when anything is wrong."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests import testcluster
from tests.soak.plan import FAULTS, OF_THE_CLUSTER, Options
from tests.soak.soak import NotPossible, prepared, soak


def main() -> int:
    """0 when all held, 1 when something did not, 3 when this machine cannot do it."""
    options = _options()
    print(f"seed {options.seed}: {options.seconds / 60:g} minutes, {options.replicas} replicas", flush=True)
    home = Path(tempfile.mkdtemp(prefix="k8s-mcp-soak-"))
    try:
        with prepared(testcluster.ensure(), home) as place:
            report = asyncio.run(soak(options, place, home))
    except (testcluster.NotPossibleError, NotPossible) as error:
        print(f"not possible here: {error}", file=sys.stderr)
        return 3
    print(f"\n{report.text()}\n\nThe replicas' logs are in {home}", flush=True)
    if options.json:
        report.write(options.json)
    return 0 if report.is_good else 1


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=10, help="for which runs are begun [10]")
    add("--replicas", type=int, default=3, help="[3]")
    add("--seed", type=int, default=int(time.time()), help="repeats a sequence of runs and faults")
    add("--at-a-time", type=int, default=16, help="most runs at the same time [16]")
    add("--faults-per-minute", type=float, default=8, help="[8]")
    add("--faults", help=f"only these, or with a minus all but these, separated by commas: {', '.join(FAULTS)}")
    add("--whole-cluster", action="store_true", help="restart the kubelet and cordon the node, too")
    add("--longest-outage", type=float, default=90, help="seconds, of the API server [90]")
    add("--resume-window", type=float, default=20, help="seconds, of the service [20]")
    add("--json", type=Path, metavar="FILE", help="write everything there, too")
    given = parser.parse_args()
    try:
        faults = _faults(given.faults, whole_cluster=given.whole_cluster)
    except ValueError as error:
        parser.error(str(error))
    return Options(
        seconds=given.minutes * 60,
        seed=given.seed,
        replicas=given.replicas,
        at_a_time=given.at_a_time,
        faults_per_minute=given.faults_per_minute,
        faults=faults,
        longest_outage=given.longest_outage,
        resume_window=given.resume_window,
        json=given.json,
    )


def _faults(text: str | None, *, whole_cluster: bool) -> tuple[str, ...]:
    there = [kind for kind in FAULTS if whole_cluster or kind not in OF_THE_CLUSTER]
    named = (text or "").lstrip("-").split(",") if text else []
    if unknown := set(named) - set(FAULTS):
        raise ValueError(f"no such faults: {', '.join(sorted(unknown))}")
    if text is None:
        return tuple(there)
    return tuple(kind for kind in there if kind not in named) if text.startswith("-") else tuple(named)


if __name__ == "__main__":
    sys.exit(main())
