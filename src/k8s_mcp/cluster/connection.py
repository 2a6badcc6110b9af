"""The service's own connection to the cluster of runner pods, held for as long as it serves."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from k8s_mcp.cluster.client import Api, OnAnswer, connect, nobody
from k8s_mcp.cluster.watch import Watch


class Cluster:
    """`api` and `watch` are there while `open()` lasts."""

    api: Api
    watch: Watch

    def __init__(self, kubeconfig: str, context: str, namespace: str, on_answer: OnAnswer = nobody) -> None:
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self._context = context
        self._on_answer = on_answer

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Connect and watch. Raises ValueError without a usable configuration; waits for an API server that does not
        answer.
        """
        async with connect(self._kubeconfig, self._context, self.namespace, self._on_answer) as self.api:
            self.watch = Watch(self.api)
            async with self.watch.open():
                yield
