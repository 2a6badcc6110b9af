"""compose.yaml on a real Docker engine: what the guide says works, the containers are as closed as they should be,
and no kubeconfig outlives its run."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from images.builder.errors import NotPossibleError
from k8s_mcp import __version__
from tests import testcluster
from tests.deploy import engine as engines
from tests.deploy import nginx, proxy_image
from tests.deploy.engine import Engine
from tests.deploy.project import Project, containing, transcript
from tests.support.documents import ROOT, carry_out, commands
from tests.support.kubeconfigs import CREDENTIALS, TOKEN
from tests.support.left_out import leave_out
from tests.support.service import wait_for

pytestmark = pytest.mark.cluster

_IMAGE = "server-local"
_MOUNT_POINTS = {"/etc/k8s-mcp", "/etc/k8s-mcp/tokens", "/sbin/docker-init", "/usr/sbin/docker-init"}
"""What the engine adds to a container's file system."""


@pytest.fixture(scope="module")
def engine(cluster: testcluster.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that has the service's image, and one for the proxy."""
    build = [ROOT / "images" / "build", "--print-tar", _IMAGE]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    if built.returncode == 3:
        leave_out(f"no server image here: {built.stderr[-500:]}")
    assert built.returncode == 0, built.stderr
    directory = tmp_path_factory.mktemp("engine")
    try:
        with engines.available(cluster, directory) as engine:
            engine("load", "--quiet", "--input", built.stdout.split()[-1])
            if engine.data:
                engine("import", str(proxy_image.archive(nginx.program(), directory)), proxy_image.NAME)
            yield engine
    except NotPossibleError as error:
        leave_out(str(error))


@pytest.fixture
def project(engine: Engine, kubeconfig: str, kubectl: Path, tmp_path: Path) -> Iterator[Project]:
    """Nothing of it is left on the engine."""
    before = _everything(engine)
    project = Project(engine, tmp_path, kubeconfig, kubectl.parent)
    if engine.data:
        (tmp_path / ".env").write_text(f"K8S_MCP_PROXY_IMAGE={proxy_image.NAME}\n")
    try:
        yield project
    finally:
        project.compose("--profile", "tls", "down", "--timeout=10", "--volumes")
    assert _everything(engine) == before


def _everything(engine: Engine) -> list[str]:
    """All containers, volumes and networks."""
    lists = (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    return [
        engine(*words, "--quiet", "--no-trunc") if words[0] != "volume" else engine(*words, "--quiet")
        for words in lists
    ]


@pytest.fixture
def token(project: Project) -> str:
    return project.admit("alice")


def test_the_guide_does_what_it_prints(project: Project) -> None:
    blocks = [block for block in commands(ROOT / "docs" / "compose.md") if block.needs == "Docker"]
    carry_out(blocks, project.directory, project.environment, enter=project.engine.enter)


def test_only_those_with_a_token_and_only_from_this_host(project: Project, token: str, fake_kubeconfig: str) -> None:
    project.up()
    status = ["--output", "/dev/null", "--write-out", "%{http_code}", "http://127.0.0.1:9096/runs"]
    answer = subprocess.run(project.curl(*status), capture_output=True, text=True, check=True)
    assert answer.stdout == "401"
    assert project.run("echo hello", fake_kubeconfig, token).stdout == ["hello"]
    [binding] = project.inspect()["NetworkSettings"]["Ports"]["9096/tcp"]
    assert binding == {"HostIp": "127.0.0.1", "HostPort": "9096"}


def test_a_command_finds_its_cluster_and_little_else(project: Project, token: str, kubeconfig: str) -> None:
    project.up()
    command = """
        kubectl get namespace default --output=name
        id --user
        grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
        for place in / /etc /opt /usr/local/bin /var/tmp; do
            touch $place/new 2>/dev/null && echo could write to $place
        done
        echo "#!/bin/sh" > program && chmod +x program
        ./program 2>/dev/null || echo could not run a program of its own
        exit 0
    """
    done = project.run(command, kubeconfig, token)
    assert done.final == {"status": "done", "exit_code": 0}
    assert [line.replace("\t", " ") for line in done.stdout] == [
        "namespace/default",
        "65532",
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "could not run a program of its own",
    ]


def test_the_image_sends_traces(project: Project, token: str, fake_kubeconfig: str) -> None:
    """That nobody takes them at this address is what can be seen of it."""
    variables = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9\nOTEL_BSP_SCHEDULE_DELAY=100\n"
    (project.directory / "k8s-mcp.env").write_text(variables)
    project.up()
    assert project.run("echo hello", fake_kubeconfig, token).stdout == ["hello"]
    wait_for(lambda: "port=9" in (logs := project.compose("logs")) and "export" in logs, what="a try to send spans")


@pytest.mark.parametrize("service", ["server", "proxy"])
def test_containers_are_closed(service: str) -> None:
    file = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"][service]
    assert file["read_only"] is True
    assert file["cap_drop"] == ["ALL"]
    assert file["security_opt"] == ["no-new-privileges:true"]
    assert file["user"] == "65532:65532"
    assert file["pids_limit"]
    assert file["mem_limit"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & file.keys()


def test_versions_agree() -> None:
    server = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["server"]
    assert server["image"].endswith(f"/{_IMAGE}:{__version__}}}")
    assert server["build"]["args"]["VERSION"] == __version__


def test_the_proxy_has_the_guide_s_directives() -> None:
    wanted = {line.partition("#")[0].strip() for line in nginx.configuration().splitlines()}
    places = ("listen ", "server_name ", "ssl_certificate", "proxy_pass ")
    wanted = {line for line in wanted if line.endswith(";") and not line.startswith(places)}
    found = {line.strip() for line in (ROOT / "compose" / "nginx.conf").read_text().splitlines()}
    assert wanted <= found


def test_no_kubeconfig_outlives_its_run(project: Project, token: str, fake_kubeconfig: str) -> None:
    # Through a run that ends, a restart and a kill with runs in progress, a crash, and `down`.
    (project.directory / "k8s-mcp.env").write_text("K8S_MCP_SHUTDOWN_GRACE=0\nK8S_MCP_LOG_LEVEL=debug\n")
    project.up()
    held = "cat $KUBECONFIG > copy; echo there; cat copy; sleep 600"
    assert "there" in project.run(held.replace("600", "0"), fake_kubeconfig, token).stdout
    assert _credentials_in(project) == []

    with project.started(held, fake_kubeconfig, token) as process:
        _wait_for_output(process)
        assert _credentials_in(project) != []  # so the search finds them where they are
        project.compose("restart")
        output, _ = process.communicate(timeout=60)
    assert (
        transcript(b'event: control\ndata: {"status": "started"}\n\n' + output).events[-1].control["status"]
        == "cancelled"
    )
    project.up()
    assert _credentials_in(project) == []

    with project.started(held, fake_kubeconfig, token) as process:
        _wait_for_output(process)
        project.compose("kill")
    project.up()
    assert _credentials_in(project) == []

    with project.started(held, fake_kubeconfig, token) as process:
        _wait_for_output(process)
        started = project.inspect()["State"]["StartedAt"]
        project.compose("exec", "--no-TTY", "server", "bash", "-c", "kill -KILL $(cat /proc/1/task/1/children)")
        wait_for(lambda: project.inspect()["State"]["StartedAt"] != started, what="the restart after a crash")
    project.up()
    assert project.run("echo back", fake_kubeconfig, token).stdout == ["back"]
    assert _credentials_in(project) == []

    logs = project.compose("logs")
    described = json.dumps(project.inspect())
    written = project.engine("diff", project.inspect()["Id"])
    project.compose("down")
    assert {line[2:] for line in written.splitlines() if line[0] == "A"} <= _MOUNT_POINTS
    assert [text[:20] for text in _forms() if text in logs + described] == []
    if project.engine.data:
        assert containing(_forms(), project.engine.data) == []


def _forms() -> list[str]:
    """The made-up credentials, as they are and as base64."""
    return [*CREDENTIALS, base64.b64encode(TOKEN.encode()).decode().rstrip("=")[:-1]]


def _wait_for_output(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout
    for line in process.stdout:
        if line == b"data: there\n":
            return
    raise AssertionError("the run ended without output")


def _credentials_in(project: Project) -> list[str]:
    """The files in the service's container that have a credential in them."""
    search = "grep -rlF -D skip -f - /dev/shm /tmp /run /var /opt /etc /home /root 2>/dev/null"
    script = f"{search} <<'EOF'\n{chr(10).join(_forms())}\nEOF\ntrue"
    return project.compose("exec", "--no-TTY", "server", "bash", "-c", script).split()
