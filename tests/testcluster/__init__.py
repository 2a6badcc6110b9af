"""A real Kubernetes cluster for the tests. `python3 -m tests.testcluster` is its command line; see README.md.

    cluster = ensure()      # starts one, or finds it running
    cluster = current()     # or None
    restart("kubelet")      # where cluster.can_restart

Standard library only: it runs before there is an environment to install anything into.
"""

from .errors import ClusterError, NotPossibleError
from .faults import restart, start, stop
from .lifecycle import current, ensure, load_image, remove
from .state import Cluster

__all__ = [
    "Cluster",
    "ClusterError",
    "NotPossibleError",
    "current",
    "ensure",
    "load_image",
    "remove",
    "restart",
    "start",
    "stop",
]
