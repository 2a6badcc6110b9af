"""The stored corpus: one file for each target, one input on each line, as a JSON string of its bytes as Latin-1."""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "corpus"


def load(target: str) -> list[bytes]:
    """The inputs stored for a target, shortest first."""
    file = _DIRECTORY / f"{target}.jsonl"
    if not file.exists():
        return []
    return [json.loads(line).encode("latin-1") for line in file.read_text().splitlines()]


def store(target: str, inputs: Iterable[bytes]) -> None:
    """Replace them."""
    _DIRECTORY.mkdir(exist_ok=True)
    lines = [json.dumps(data.decode("latin-1")) for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    (_DIRECTORY / f"{target}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def mutations(inputs: list[bytes], words: list[bytes], seed: int) -> Iterator[bytes]:
    """Endlessly new inputs made of these, always the same for the same seed: for where there is no atheris."""
    chance = random.Random(seed)
    while True:
        data = chance.choice(inputs)
        for _ in range(chance.choice((1, 1, 2, 4))):
            data = _mutated(chance, data, inputs, words)
        yield data


def _mutated(chance: random.Random, data: bytes, inputs: list[bytes], words: list[bytes]) -> bytes:
    start, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    match chance.randrange(6):
        case 0:
            middle = b""
        case 1:
            middle = chance.randbytes(chance.randint(1, 4))
            end = min(start + len(middle), len(data))
        case 2:
            middle, end = chance.choice(words), start
        case 3:
            middle = data[start:end] * 2
        case 4:
            other = chance.choice(inputs)
            middle, end = other[chance.randint(0, len(other)) :], len(data)
        case _:
            middle = bytes(reversed(data[start : min(end, start + 4)]))
            end = start + len(middle)
    return data[:start] + middle + data[end:]
