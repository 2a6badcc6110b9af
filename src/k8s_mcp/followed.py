"""What a file says, as long as it may change: read again every second, the last good version kept."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from k8s_mcp.beside import beside
from k8s_mcp.errors import StartError

SECONDS = 1.0
"""Between two looks."""

_Value = TypeVar("_Value")
_logger = logging.getLogger(__name__)


class Followed(Generic[_Value]):
    """`value` is what `make` made of the bytes that `read` returned last, both of which raise OSError or ValueError.

    `what` names it for the operator. The content is compared, not the time of its change, which is too coarse for two
    changes at once. Both functions are called in a thread.
    """

    value: _Value

    def __init__(self, what: str, read: Callable[[], bytes], make: Callable[[bytes], _Value]) -> None:
        self._what = what
        self._read = read
        self._make = make
        self._content: bytes | None = None
        self._trouble = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Follow it until the context ends. Raises StartError when there is no good version to begin with."""
        try:
            await self._look()
        except (OSError, ValueError) as error:
            raise StartError(f"{self._what}: {_said(error)}") from None
        async with beside(self._follow):
            yield

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            try:
                await self._look()
                trouble = ""
            except (OSError, ValueError) as error:
                trouble = _said(error)
            if trouble and trouble != self._trouble:
                _logger.error("%s: %s; what it said before still holds", self._what, trouble)
            self._trouble = trouble

    async def _look(self) -> None:
        content = await asyncio.to_thread(self._read)
        if content == self._content:
            return
        self.value = await asyncio.to_thread(self._make, content)
        if self._content is not None:
            _logger.info("%s: read again after a change", self._what)
        self._content = content


def _said(error: OSError | ValueError) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
