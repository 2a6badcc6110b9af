"""What the runner image has for commands: the programs of docs/runner-image.md, and a word about those it has not."""

import re
from pathlib import Path

import pytest

from tests.support.client import Client

pytestmark = pytest.mark.cluster

_DOCUMENT = Path(__file__).parents[2] / "docs" / "runner-image.md"
_PROGRAMS = """
    set -e
    export LESS=-N  # what a person may like is not what a program should read
    printf 'a: [1, 2]\\n' | yq -o=json -I=0 .
    echo 'a: [1]' >new.yaml; yq -i '.a += 3' new.yaml; yq '.a[1]' new.yaml
    echo '{"b": 4}' | jq .b
    server=$(kubectl config view --raw --minify --output=jsonpath={.clusters[0].cluster.server})
    curl --silent --output /dev/null --write-out "%{http_code}\\n" "$server/version"
    curl --version | grep -o https | sort -u
    printf x | openssl dgst -sha256 -r
    diff <(echo same) <(echo same) && echo no difference
    printf 'a bb\\nccc d\\n' | column -t
    seq 3 >lines; less lines; seq 4 5 | less
"""
_PRINTED = [
    '{"a":[1,2]}',
    "3",
    "4",
    "200",
    "https",
    "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 *stdin",
    "no difference",
    "a    bb",
    "ccc  d",
    *"12345",
]


async def test_programs_that_agents_reach_for_work(client: Client) -> None:
    """As user 65532, on a read-only root, without a terminal."""
    seen = await client.run(_PROGRAMS)
    assert (seen.stdout, seen.stderr) == (_PRINTED, [])
    assert seen.final == {"status": "done", "exit_code": 0}


async def test_a_command_that_is_not_there_is_answered_with_what_is(client: Client) -> None:
    """In the words of the documents, with nothing in them that is not there."""
    [printed] = re.findall(r"```text\n(bash: .*: terraform: .*?)\n```", _DOCUMENT.read_text(), re.DOTALL)
    seen = await client.run("terraform")
    assert seen.stderr == printed.splitlines()
    assert seen.final == {"status": "done", "exit_code": 127}
    [there] = re.findall(r"There are ([^;]+);", printed)
    assert not set(_documented()) - set(there.split()), "what the document's table has"
    seen = await client.run(f"type {there} >/dev/null; vi; echo $?; sh -c terraform; echo $?")
    assert seen.stdout == ["127", "127"]
    assert "use kubectl patch, set, or apply -f - instead" in seen.stderr[1]
    assert seen.stderr[2:] == ["sh: 1: terraform: not found"]


def _documented() -> list[str]:
    """The programs in the table of what each adds."""
    table = _DOCUMENT.read_text().partition("| program | adds | |\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
