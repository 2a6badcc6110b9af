"""Whether something grows: a straight line through the second half of what was measured."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import linear_regression, mean, median

_BUCKET_SECONDS = 60
_MIB = 1 << 20
ENOUGH_SECONDS = 600
"""Shorter lives say nothing: a service that has just begun to work grows."""

MOST = 0.05
"""Of its level, the most by which anything may grow over the second half."""


@dataclass(frozen=True)
class Sample:
    """`life`: of which start of the replica; the first is 0. `memory`: bytes that are resident."""

    at: float
    life: int
    memory: int
    descriptors: int


@dataclass(frozen=True)
class Growth:
    """Of one life of a replica. `memory` and `descriptors` are what the second half added, as a share of its mean;
    `by_minute` is the memory of the whole life, in MiB.
    """

    replica: int
    life: int
    seconds: float
    memory_mean: float
    memory: float
    descriptors_mean: float
    descriptors: float
    by_minute: list[int] = field(default_factory=list[int])

    @property
    def is_flat(self) -> bool:
        return self.seconds < ENOUGH_SECONDS or max(self.memory, self.descriptors) < MOST


def sample(pid: int, life: int = 0) -> Iterator[Sample]:
    """What the process has now; nothing if it has just ended."""
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if resident:
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        yield Sample(time.monotonic(), life, int(resident[1]) * 1024, descriptors)


def of(replica: int, samples: Sequence[Sample]) -> list[Growth]:
    """Of each life with more than two samples in its second half."""
    lives = (list(life) for _, life in groupby(samples, key=lambda sample: sample.life))
    return [_of(replica, life) for life in lives if len(life) > 6]


def _of(replica: int, life: list[Sample]) -> Growth:
    seconds = life[-1].at - life[0].at
    half = [sample for sample in life if sample.at >= life[0].at + seconds / 2]
    memory, descriptors = ([float(sample.memory) for sample in half], [float(sample.descriptors) for sample in half])
    times = [sample.at for sample in half]
    return Growth(
        replica,
        life[0].life,
        seconds,
        mean(memory),
        _share(times, memory),
        mean(descriptors),
        _share(times, descriptors),
        [
            round(median(sample.memory for sample in minute) / _MIB)
            for _, minute in groupby(life, lambda sample: (sample.at - life[0].at) // _BUCKET_SECONDS)
        ],
    )


def _share(times: Sequence[float], values: Sequence[float]) -> float:
    """By minutes, where there are enough of them: what a moment takes is no growth."""
    minutes = [
        list(group) for _, group in groupby(zip(times, values, strict=True), lambda one: one[0] // _BUCKET_SECONDS)
    ]
    points = [(median(at for at, _ in minute), median(value for _, value in minute)) for minute in minutes]
    if len(points) < 4:
        points = list(zip(times, values, strict=True))
    slope = linear_regression([at for at, _ in points], [value for _, value in points]).slope
    return slope * (times[-1] - times[0]) / mean(values)
