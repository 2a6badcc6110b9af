"""Which cluster it is, and one at a time: what the command line and the tests call."""

import fcntl
import os
from collections.abc import Iterator
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
    """The running cluster, or a new one. NotPossibleError where this machine can have none.

    A kubeconfig in K8S_MCP_TEST_KUBECONFIG is used as it is; else kind where it works; else the built one.
    K8S_MCP_TEST_CLUSTER (kind or built) insists on one of the two.
    """
    with _alone():
        cluster = state.read()
        if cluster and cluster.kind == "given":
            if problem := cluster.problem():
                raise ClusterError(f"the cluster given in K8S_MCP_TEST_KUBECONFIG does not answer: {problem}")
            return cluster
        if cluster and cluster.problem() is None and (cluster.kind == "kind" or built.alive(cluster)):
            say(f"the {cluster.kind} cluster is running")
            return cluster
        return _create(os.environ.get("K8S_MCP_TEST_CLUSTER"))


def remove() -> None:
    """Remove what `ensure` started; a given cluster is not touched."""
    with _alone():
        cluster = state.read()
        if cluster and cluster.kind == "given":
            say("a given cluster is left as it is")
        elif cluster and cluster.kind == "kind":
            kind.down()
        else:
            built.down()


def load_image(file: Path) -> None:
    """Load a docker-archive or OCI tar into the first cluster's node."""
    cluster = state.read()
    if cluster is None or cluster.kind == "given":
        raise ClusterError("images can be loaded only into a cluster that was started here")
    if cluster.kind == "kind":
        kind.load_image(str(file))
    else:
        say("loaded " + " ".join(built.load_image(built.layout_of(cluster), file)))


def _create(wanted: str | None) -> Cluster:
    if wanted not in (None, "kind", "built"):
        raise ClusterError(f"K8S_MCP_TEST_CLUSTER is {wanted!r}; it can be kind or built")
    if wanted == "built":
        return built.up()
    if problem := kind.problem():
        if wanted == "kind":
            raise NotPossibleError(f"kind cannot be used here: {problem}")
        return built.up()
    try:
        return kind.up()
    except ClusterError as error:
        if wanted == "kind":
            raise
        say(f"kind does not work here, so the cluster is built: {error}")
        return built.up()


@contextmanager
def _alone() -> Iterator[None]:
    """Two that start or stop the cluster at once take turns. The lock is on a directory, so that no file remains."""
    handle = os.open(run_dir().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
