"""Following a runner pod's log, whatever happens to the connection.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
"""

import logging
from collections.abc import AsyncGenerator

from k8s_mcp.cluster.client import Api
from k8s_mcp.cluster.objects import RUNNER_CONTAINER
from k8s_mcp.runner.frames import Decoder, Frame

_PATH = "/api/v1/pods:log"
_SILENCE_SECONDS = 30.0  # the runner sends a heartbeat every 5 s

_logger = logging.getLogger(__name__)


async def follow(api: Api, pod: str, decoder: Decoder) -> AsyncGenerator[list[Frame]]:
    """The frames of the pod's log that `decoder` has not seen, from one connection.

    It ends when the log does, which can also be before the pod's end: then follow again; the log is read from its
    start, and the decoder passes over what it knows. Raises ApiError, or ApiUnreachable when the connection breaks.
    """
    decoder.restart()
    params = {"container": RUNNER_CONTAINER, "follow": "true"}
    async with api.stream("get", _PATH, pod, params, _SILENCE_SECONDS) as content:
        async for data, _ in content.iter_chunks():
            frames = decoder.feed(data)
            if frames:
                yield frames
