"""Which cluster it is, and one at a time: what the command line and the tests call."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from . import built, kind, state
from .commands import say
from .errors import ClusterError, NotPossibleError
from .layout import run_dir
from .state import Cluster


def current() -> Cluster | None:
    """The running cluster, if its API servers answer."""
    cluster = state.read()
    return cluster if cluster and cluster.problem() is None else None


def ensure() -> Cluster:
    """The running cluster, or a new one; NotPossibleError where this machine can have none.

    A kubeconfig in K8S_MCP_TEST_KUBECONFIG is used as it is; else kind where it works; else one is built.
    K8S_MCP_TEST_CLUSTER (kind or built) insists on one of the two.
    """
    wanted = os.environ.get("K8S_MCP_TEST_CLUSTER")
    if wanted not in (None, "kind", "built"):
        raise ClusterError(f"K8S_MCP_TEST_CLUSTER is {wanted!r}; it can be kind or built")
    with _alone():
        cluster = state.read()
        if cluster and cluster.kind == "given":
            if problem := cluster.problem():
                raise ClusterError(f"the cluster of K8S_MCP_TEST_KUBECONFIG does not answer: {problem}")
            return cluster
        if cluster and wanted in (None, cluster.kind) and _is_well(cluster):
            say(f"the {cluster.kind} cluster is running")
            return cluster
        cluster = _create(wanted)
        state.write(cluster)
        return cluster


def remove() -> None:
    """Remove what `ensure` started, or began to start; a given cluster is not touched."""
    with _alone():
        kind.down()
        built.down()


def load_image(file: Path) -> None:
    """Load a docker-archive or OCI tar into the first cluster's node."""
    cluster = state.read()
    if cluster is None or cluster.kind == "given":
        raise ClusterError("images can be loaded only into a cluster that was started here")
    if cluster.kind == "kind":
        kind.load_image(file)
    else:
        built.load_image(file)


def _is_well(cluster: Cluster) -> bool:
    return cluster.problem() is None and (cluster.kind == "kind" or built.alive())


def _create(wanted: str | None) -> Cluster:
    if wanted == "built":
        kind.down()
        return built.up()
    problem = kind.problem()
    if problem is None:
        built.down()
        try:
            return kind.up()
        except ClusterError as error:
            problem = str(error)
    if wanted == "kind":
        raise NotPossibleError(f"kind cannot be used here: {problem}")
    say(f"not with kind: {problem}")
    return built.up()


@contextmanager
def _alone() -> Generator[None]:
    """Let those who start or stop the cluster take turns. The lock is on a directory: no file of it remains."""
    handle = os.open(run_dir().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting: another program is starting or stopping the cluster")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
