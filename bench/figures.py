"""Repeated measurements, and what they are compared with."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """The same thing measured once in each round."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Sample":
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def with_each(self, other: "Sample", combine: Callable[[float, float], float]) -> "Sample":
        """Round by round: what slows the machine down for a while touches both halves of a pair alike."""
        return Sample.of(combine(mine, its) for mine, its in zip(self.values, other.values, strict=True))


@dataclass(frozen=True)
class Row:
    """One line of a table.

    `compared` is the ratio to the floor, or the difference from it, round by round; `met` is None where there is no
    aim.
    """

    name: str
    unit: str
    sample: Sample
    floor_name: str = ""
    floor: Sample | None = None
    compared: Sample | None = None
    is_ratio: bool = False
    aim: str = ""
    met: bool | None = None


def figure(name: str, unit: str, sample: Sample) -> Row:
    """A measurement that nothing is asked of."""
    return Row(name, unit, sample)


def at_most(name: str, unit: str, sample: Sample, limit: float) -> Row:
    """Every round has to stay under `limit`."""
    return Row(name, unit, sample, aim=f"≤ {limit:g} {unit}", met=sample.high <= limit)


def median_at_most(name: str, unit: str, sample: Sample, limit: float) -> Row:
    return Row(name, unit, sample, aim=f"≤ {limit:g} {unit}", met=sample.median <= limit)


def later(name: str, unit: str, sample: Sample, floor: tuple[str, Sample], limit: float | None = None) -> Row:
    """How much longer it takes than the floor; the median has to stay under `limit`."""
    difference = sample.with_each(floor[1], lambda mine, its: mine - its)
    aim, met = ("", None) if limit is None else (f"≤ +{limit:g} {unit}", difference.median <= limit)
    return Row(name, unit, sample, *floor, difference, aim=aim, met=met)


def times(name: str, unit: str, sample: Sample, floor: tuple[str, Sample]) -> Row:
    """The ratio to the floor."""
    return _ratio(name, unit, sample, floor, "", None)


def at_most_times(name: str, unit: str, sample: Sample, floor: tuple[str, Sample], limit: float) -> Row:
    return _ratio(name, unit, sample, floor, f"≤ {limit:g} ×", lambda ratio: ratio <= limit)


def at_least_times(name: str, unit: str, sample: Sample, floor: tuple[str, Sample], limit: float) -> Row:
    return _ratio(name, unit, sample, floor, f"≥ {limit:g} ×", lambda ratio: ratio >= limit)


def _ratio(
    name: str, unit: str, sample: Sample, floor: tuple[str, Sample], aim: str, is_met: Callable[[float], bool] | None
) -> Row:
    ratio = sample.with_each(floor[1], lambda mine, its: mine / its)
    met = None if is_met is None else is_met(ratio.median)
    return Row(name, unit, sample, *floor, ratio, is_ratio=True, aim=aim, met=met)
