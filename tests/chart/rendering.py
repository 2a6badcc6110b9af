"""What helm makes of the chart."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.chart import CHART

Json = dict[str, Any]
RELEASE = "it"
NAMESPACE = "there"


@dataclass(frozen=True)
class Manifests:
    """Everything that an installation would create, hooks included."""

    objects: list[Json]

    def all(self, kind: str) -> list[Json]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Json:
        """The only object of that kind, or of that kind and name."""
        found = [each for each in self.all(kind) if name in ("", each["metadata"]["name"])]
        assert len(found) == 1, f"{kind} {name}: {[each['metadata']['name'] for each in found]}"
        return found[0]

    @property
    def pod(self) -> Json:
        """The specification of the service's pods."""
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def server(self) -> Json:
        """The service's container."""
        [container] = self.pod["containers"]
        return container

    @property
    def environment(self) -> dict[str, str]:
        return {variable["name"]: variable["value"] for variable in self.server["env"] if "value" in variable}


@dataclass(frozen=True)
class Helm:
    """The program, and a directory for what it keeps and is given."""

    program: Path
    directory: Path

    def render(self, values: Mapping[str, object]) -> Manifests:
        """The manifests; an AssertionError with helm's message when it refuses."""
        done = self.template(values)
        assert done.returncode == 0, done.stderr
        return Manifests([each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each])

    def template(self, values: Mapping[str, object]) -> subprocess.CompletedProcess[str]:
        return self(
            "template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--values=-", stdin=json.dumps(values)
        )

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        homes = {f"HELM_{kind}_HOME": str(self.directory / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(
            [str(self.program), *arguments], env=homes, input=stdin, capture_output=True, text=True, check=False
        )


def merged(one: Json, other: Json) -> Json:
    """Both, with `other` winning where they meet."""
    both = {**one, **other}
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            both[key] = merged(one[key], other[key])
    return both


def nested(path: str, value: object) -> Json:
    """`{"a": {"b": value}}` for `a.b`."""
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}
