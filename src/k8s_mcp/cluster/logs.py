"""Following a runner pod's log, whatever happens to the connection.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
"""

import asyncio
import logging
from collections.abc import AsyncGenerator

from k8s_mcp.cluster.client import Api, OddAnswer
from k8s_mcp.cluster.gate_record import GateRecord
from k8s_mcp.cluster.objects import PROXY_CONTAINER, RUNNER_CONTAINER
from k8s_mcp.runner.frames import WAITING, Decoder, Frame, decode

_PATH = "/api/v1/pods:log"
_LONGEST_FRAME = 2**16
_SILENCE_SECONDS = 30.0  # the runner sends a heartbeat every 5 s
_GATE_SILENCE_SECONDS = 300.0  # the gate has nothing to say while nobody asks; a dead connection is found in the end
_AT_ONCE = 2**16  # of the record: a few milliseconds, in which nothing else happens

_logger = logging.getLogger(__name__)


class NoFrames(OddAnswer):
    """What came is no log of a runner: the kubelet answers 200 with an error's text, or the runner never spoke."""


async def follow(api: Api, pod: str, decoder: Decoder) -> AsyncGenerator[list[Frame]]:
    """The frames of the pod's log that `decoder` has not seen, from one connection.

    It ends when the log does, which can also be before the pod's end: then follow again; the log is read from its
    start, and the decoder passes over what it knows. Raises ApiError, or ApiUnreachable when the connection breaks;
    NoFrames at the end if there was no frame in it, known or not.
    """
    decoder.restart()
    params = {"container": RUNNER_CONTAINER, "follow": "true"}
    rest, is_log = b"", False
    async with api.stream("get", _PATH, pod, params, _SILENCE_SECONDS) as content:
        async for data, _ in content.iter_chunks():
            if not is_log:
                *lines, rest = (rest + data).split(b"\n")
                rest = rest[:_LONGEST_FRAME]
                is_log = any(decode(line) for line in lines)
            frames = decoder.feed(data)
            if frames:
                yield frames
    if not is_log:
        raise NoFrames("the log has no frame in it")


async def is_waiting(api: Api, pod: str) -> bool:
    """Whether the runner of a warm pod has said until now that it waits, and nothing else.

    Of an answer that is none of its log this is never said. Raises ApiError and ApiUnreachable.
    """
    params = {"container": RUNNER_CONTAINER, "limitBytes": str(_LONGEST_FRAME)}
    log = b""
    async with api.stream("get", _PATH, pod, params, _SILENCE_SECONDS) as content:
        async for data, _ in content.iter_chunks():
            log += data
            if len(log) > _LONGEST_FRAME:
                return False
    return [frame.type for frame in map(decode, log.splitlines()) if frame] == [WAITING]


async def follow_record(api: Api, pod: str, record: GateRecord) -> AsyncGenerator[None]:
    """Read the pod's gate's log into `record`, from its start, over one connection; gives way whenever it has grown.

    It ends when the log does, which can also be before the gate's end. Raises ApiError and ApiUnreachable.
    """
    record.restart()
    params = {"container": PROXY_CONTAINER, "follow": "true"}
    async with api.stream("get", _PATH, pod, params, _GATE_SILENCE_SECONDS) as content:
        async for data, _ in content.iter_chunks():
            for start in range(0, len(data), _AT_ONCE):
                record.feed(data[start : start + _AT_ONCE])
                yield
                await asyncio.sleep(0)
