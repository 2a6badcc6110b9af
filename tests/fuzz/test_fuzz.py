"""The short form of fuzzing: what was found before, and as many new inputs as a few seconds allow."""

import json
import logging
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings

from k8s_mcp.kubeconfig import strict_yaml
from k8s_mcp.kubeconfig.kubeconfig import Kubeconfig, parse
from tests.fuzz import corpus, gate, seeds, targets
from tests.kubeconfig.test_any_input import kubeconfigs
from tests.support.kubeconfig_trees import EVERYTHING, refusal

_NEW = {
    "kubeconfig": 1500,
    "frames": 3000,
    "addresses": 20_000,
    "event_source": 10_000,
    "answers": 20_000,
    "request": 800,
    "connection": 5000,
    "host": 20_000,
    "token": 2000,
    "own_files": 1500,
    "gate_record": 3000,
}
_SEED = 20261123
_MOST_DUMPS = 25


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[targets.Target]:
    one = targets.target(request.param)
    yield one
    if isinstance(one, targets.Requests | targets.Connection | targets.Tokens):
        one.close()


@pytest.mark.parametrize(("target", "name"), [(name, name) for name in targets.NAMES], indirect=["target"])
def test_no_input_breaks_a_promise(target: targets.Target, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    known = [*corpus.load(name), *seeds.of(name)]
    assert len(known) > len(seeds.of(name)), "the corpus is stored"
    for data in (*known, *islice(corpus.mutations(known, seeds.words(name), _SEED), _NEW[name])):
        targets.bounded(target, data)


def test_targets_of_the_gate_are_found() -> None:
    """Their seeds are tried by `go test`, in tests/gate."""
    found = gate.packages()
    assert found["FuzzRequest"] == "./internal/serve"
    assert found["FuzzAnswer"] == "./internal/secrets"
    assert not set(found) & set(targets.NAMES)


def _found() -> Iterator[str]:
    """What is written anew of kubeconfigs that fuzzing came upon."""
    for data in (*corpus.load("kubeconfig"), *seeds.of("kubeconfig")):
        text = data.decode(errors="replace")
        if refusal(text, EVERYTHING) is None:
            yield parse(text, EVERYTHING).dump()


def _comparable(value: Any) -> Any:
    """Without what is empty, and sorted, because kubectl sorts entries by their names."""
    if isinstance(value, dict):
        inner = {key: _comparable(item) for key, item in cast("dict[str, Any]", value).items()}
        return {key: item for key, item in inner.items() if item}
    if isinstance(value, list):
        items = [_comparable(item) for item in cast("list[Any]", value)]
        return sorted(items, key=lambda item: item["name"]) if items and "name" in items[0] else items
    return value


def _check_kubectl_agrees(kubectl: Path, dump: str, file: Path) -> None:
    file.write_text(dump)
    command = [kubectl, "config", "view", "--raw", "--output=json", f"--kubeconfig={file}"]
    seen = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert _comparable(seen) == _comparable(strict_yaml.load(dump, max_nodes=10_000)), dump


def test_kubectl_reads_what_is_written_as_it_was_checked(kubectl: Path, tmp_path: Path) -> None:
    """Go's YAML parser and ours: a value that only one of them sees would have been checked by nobody."""
    dumps = sorted(set(_found()))
    assert len(dumps) > 10
    for dump in dumps[:_MOST_DUMPS]:
        _check_kubectl_agrees(kubectl, dump, tmp_path / "config")


@settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(config=kubeconfigs())
def test_kubectl_reads_any_value_as_it_was_checked(kubectl: Path, tmp_path: Path, config: Kubeconfig) -> None:
    _check_kubectl_agrees(kubectl, config.dump(), tmp_path / "config")
