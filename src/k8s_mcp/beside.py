"""Work that goes on beside other work, and ends with it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[object, object, None]]) -> AsyncGenerator[None]:
    """Do `work` while the context lasts. An error in it cancels the body and is raised, in a group."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        try:
            yield
        finally:
            task.cancel()
