"""What is to happen, by the seed: which runs, one after the other, and which faults."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.soak.commands import KINDS, Command

MODES = {"alone": 5, "keyless": 6, "twice": 3, "retried": 3, "returning": 4, "leaving": 1}
"""How a run's clients behave, and how often: one that stays; one that stays, and sent no Idempotency-Key, so that it
can have a warm pod; two on different replicas; one that sends its request to two replicas at once; one that leaves
and comes back elsewhere; one that leaves for ever."""

FAULTS = {
    "kill": 3,
    "sigterm": 3,
    "api-away": 2,
    "api-away-all": 1,
    "api-odd": 3,
    "api-slow": 2,
    "api-freeze": 2,
    "api-cut": 2,
    "pod-delete": 1,
    "job-delete": 1,
    "lease-delete": 1,
    "client-cut": 3,
    "client-freeze": 1,
    "client-garble": 2,
    "kubelet-restart": 1,
    "cordon": 1,
}
"""Every kind of fault, and how often it comes."""

OF_THE_CLUSTER = frozenset(("kubelet-restart", "cordon"))
"""What others who use the cluster at the same time would notice."""


@dataclass(frozen=True)
class Options:
    """Times in seconds. `resume_window` is the service's, `longest_outage` the API server's."""

    seconds: float
    seed: int
    replicas: int = 3
    at_a_time: int = 16
    faults_per_minute: float = 8
    faults: Sequence[str] = tuple(FAULTS)
    longest_outage: float = 90
    resume_window: float = 20
    json: Path | None = None


@dataclass(frozen=True)
class Planned:
    """One run. `stored`: it names a stored cluster, instead of bringing its kubeconfig. `seed` is for its clients."""

    number: int
    kind: str
    command: Command
    mode: str
    stored: bool
    seed: str

    @property
    def label(self) -> str:
        """By which the run's command tells that it was started; also its Idempotency-Key, if it has one."""
        return f"run-{self.seed}"


def runs(seed: int) -> Iterator[Planned]:
    """All runs there could ever be."""
    rng = random.Random(f"{seed} runs")
    number = 0
    while True:
        number += 1
        kind = rng.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
        mode = rng.choices(list(MODES), list(MODES.values()))[0]
        yield Planned(number, kind, KINDS[kind][0](rng), mode, rng.random() < 0.3, f"{seed}-{number}")


def faults(options: Options) -> Iterator[tuple[float, str, random.Random]]:
    """Pauses, what comes after each, and its own source of chance. Every kind comes before one comes too often."""
    rng = random.Random(f"{options.seed} faults")
    bag: list[str] = []
    number = 0
    while True:
        if not bag:
            bag = [kind for kind in options.faults for _ in range(FAULTS[kind])]
            rng.shuffle(bag)
        number += 1
        pause = rng.expovariate(options.faults_per_minute / 60)
        yield pause, bag.pop(), random.Random(f"{options.seed} fault {number}")
