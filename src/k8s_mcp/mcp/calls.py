"""The tools: arguments in, result out."""

from contextlib import suppress

import mcp_types as types
from pydantic import BaseModel

from k8s_mcp.errors import NotFound, Unavailable
from k8s_mcp.mcp.call import Call, result
from k8s_mcp.mcp.clusters import Clusters
from k8s_mcp.mcp.reading import Reading
from k8s_mcp.mcp.running import Running
from k8s_mcp.mcp.tools import MOST_CLUSTERS, CancelRun, ListClusters, ReadOutput, RunCommand
from k8s_mcp.models import Principal
from k8s_mcp.runs.runs import Runs

_MOST_RUNS = 3
"""That are named to a model."""


class Calls:
    """Hands each call to the part that carries it out."""

    def __init__(self, runs: Runs, clusters: Clusters, running: Running, reading: Reading) -> None:
        self._runs = runs
        self._clusters = clusters
        self._running = running
        self._reading = reading

    async def answer(self, call: Call, arguments: BaseModel) -> types.CallToolResult:
        """Carry out one call, which `cancel` can end by its key. Raises K8sMcpError."""
        match arguments:
            case RunCommand():
                return await self._running.run(call, arguments)
            case ReadOutput() | CancelRun():
                return await self._on_a_run(call, arguments)
            case ListClusters():
                return await self._clusters.list(call)
            case _:
                raise TypeError(type(arguments))

    async def cancel(self, caller: Principal, key: str | None) -> None:
        """End the commands of the call with that key, on whatever replica they are, while it waits for them."""
        if key is None:
            return
        for name in (key, *(f"{key} {number}" for number in range(MOST_CLUSTERS))):
            run_id = self._runs.started_with(caller, name)
            if run_id and not self._running.has_answered(run_id):
                with suppress(NotFound, Unavailable):  # nobody waits for an answer
                    await self._runs.cancel(caller, run_id, "mcp")

    async def _on_a_run(self, call: Call, arguments: ReadOutput | CancelRun) -> types.CallToolResult:
        try:
            if isinstance(arguments, ReadOutput):
                return await self._reading.read(call, arguments)
            return await self._cancel_run(call.caller, arguments)
        except NotFound as error:
            raise NotFound(f"{error.message}. {self._what_next(call.caller)}") from None

    def _what_next(self, caller: Principal) -> str:
        """For a model that asked for a run which is not there."""
        newest = self._runs.list(caller)[: -_MOST_RUNS - 1 : -1]
        there = ", ".join(f"{state['run_id']} ({state['status']})" for state in newest)
        known = f"There are, newest first: {there}" if there else "There is none now"
        return f"{known}. Run the command again, if it changes nothing; else ask"

    async def _cancel_run(self, caller: Principal, arguments: CancelRun) -> types.CallToolResult:
        await self._runs.cancel(caller, arguments.run_id, "mcp")
        status = self._runs.describe(caller, arguments.run_id, "mcp")["status"]
        ending = status in ("running", "pending")
        text = "The command was told to end." if ending else f"The run had ended before: {status}."
        return result(text, {"run_id": arguments.run_id, "status": status})
