"""What becomes another protocol goes through it whole: exec, attach and port-forward, over WebSockets and SPDY."""

from collections.abc import Iterator

import pytest

from tests.gate.conftest import StartGate
from tests.gate.gates import Gate
from tests.gate.ground import Answer, Ground, pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]  # two hundred processes on a busy machine

_SPDY = "export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false KUBECTL_PORT_FORWARD_WEBSOCKETS=false\n"
_PROTOCOLS = pytest.mark.parametrize("protocol", ["", _SPDY], ids=["websocket", "spdy"])
_SCRIPT = "mkdir /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"


@pytest.fixture(scope="module")
def gate(gates: StartGate) -> Gate:
    return gates()


@pytest.fixture(scope="module", autouse=True)
def web(ground: Ground) -> Iterator[None]:
    where = f"--namespace={ground.through}"
    ground.kubectl("create", where, "--filename=-", stdin=pod("streams", _SCRIPT))
    ground.kubectl("wait", where, "--for=condition=Ready", "pod/streams", "--timeout=60s")
    yield
    ground.kubectl("delete", where, "pod/streams", "--now")


def run(ground: Ground, gate: Gate, script: str) -> Answer:
    return ground.run(f"set -e -o pipefail\n{script}", gate.kubeconfig, ground.through, seconds=380)


@_PROTOCOLS
def test_no_exec_of_many_in_a_row_loses_its_input_its_end_or_its_exit_code(
    ground: Ground, gate: Gate, protocol: str
) -> None:
    script = """
        for i in $(seq 105); do
            out=$(echo in$i | k exec -i streams -- sh -c "cat; echo end; exit $((i % 3))" 2>errors) &&
                code=0 || code=$?
            [[ $out == "in$i"$'\\n'end && $code == $((i % 3)) ]] || echo "$i: $out, $code"
        done
    """
    assert run(ground, gate, protocol + script) == Answer("", "", 0)


@_PROTOCOLS
def test_thirty_megabytes_go_each_way_and_are_the_same(ground: Ground, gate: Gate, protocol: str) -> None:
    script = """
        head -c 30000000 /dev/urandom >sent
        # With nothing to say a command may lose its input, with or without the gate: the runtime ends it too early.
        [[ $(k exec -i streams -- sh -c 'cat >/tmp/sent; wc -c </tmp/sent' <sent) == 30000000 ]]
        k exec streams -- cat /tmp/sent >back
        cmp sent back && echo same
    """
    assert run(ground, gate, protocol + script) == Answer("same\n", "", 0)


@_PROTOCOLS
def test_fifty_connections_through_one_port_forward(ground: Ground, gate: Gate, protocol: str) -> None:
    script = """
        kubectl --namespace=$NS port-forward pod/streams :8080 >said 2>errors & trap "kill $!" EXIT
        until port=$(grep -om1 '127.0.0.1:[0-9]*' said); do sleep 0.05; kill -0 $!; done
        python3 - "$port" <<'EOF'
import sys, urllib.request
from concurrent.futures import ThreadPoolExecutor
ask = lambda _: urllib.request.urlopen(f"http://{sys.argv[1]}/", timeout=60).read()
with ThreadPoolExecutor(10) as pool:
    print(set(pool.map(ask, range(50))))
EOF
    """
    answer = run(ground, gate, protocol + script)
    assert (answer.stdout, answer.exit_code) == ("{b'hello\\n'}\n", 0), answer


@_PROTOCOLS
def test_attach_gets_what_a_container_says_and_gives_it_what_is_said(
    ground: Ground, gate: Gate, protocol: str
) -> None:
    script = """
        echo said | k run attached --image=$IMAGE --restart=Never --rm --stdin --quiet -- \\
            sh -c 'read it; echo "got $it"'
    """
    assert run(ground, gate, protocol + script).stdout == "got said\n"


def test_each_is_in_the_record_with_its_bytes(ground: Ground, gate: Gate) -> None:
    before = len(gate.requests())
    run(ground, gate, "head -c 5000 /dev/zero | k exec -i streams -- cat >/dev/null")
    line = next(line for line in gate.requests()[before:] if line.get("subresource") == "exec")
    assert (line["verb"], line["name"], line["code"]) in {("get", "streams", 101), ("create", "streams", 101)}
    assert line["sent"] > 5000
    assert line["received"] > 5000
