"""The service's own connection to the cluster of runner pods, held for as long as it serves."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from k8s_mcp.cluster.client import Api, OnAnswer, nobody
from k8s_mcp.cluster.connect import connect
from k8s_mcp.cluster.watch import Watch

_logger = logging.getLogger(__name__)


class Cluster:
    """`api` and `watch` are there while `open()` lasts.

    `on_odd_object` takes the resource of an object of ours that is not as we make them.
    """

    api: Api
    watch: Watch

    def __init__(
        self,
        kubeconfig: str,
        context: str,
        namespace: str,
        on_answer: OnAnswer = nobody,
        on_odd_object: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self._context = context
        self._on_answer = on_answer
        self._on_odd_object = on_odd_object

    def odd(self, resource: str, name: str, why: str) -> None:
        """An object of ours, which somebody has changed, is passed over: said and counted. `why` quotes nothing."""
        _logger.warning("%s %s is not as this service makes them, and is passed over: %s", resource, name, why)
        self._on_odd_object(resource)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Connect and watch. Raises ValueError without a usable configuration; waits for an API server that does not
        answer.
        """
        async with connect(self._kubeconfig, self._context, self.namespace, self._on_answer) as self.api:
            self.watch = Watch(self.api)
            async with self.watch.open():
                yield
