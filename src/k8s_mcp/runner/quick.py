"""`signal` and prctl(2) without the slow half of their modules.

`signal` makes enums of its numbers, and `ctypes` a class for every type of C: together 9 ms of every command's start.
What they are made of, `_signal` and `_ctypes`, is the same in every CPython.
"""

import _ctypes
import os

TYPE_CHECKING = False  # typing is slow to import as well
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

__all__ = ["prctl", "signal"]


class _Function(_ctypes.CFuncPtr):
    """A function of libc that takes and returns integers, and keeps its errno for us."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO


_program = _ctypes.dlopen(None, os.RTLD_NOW)  # pyright: ignore[reportArgumentType] - as in dlopen(3)
_prctl = _Function(_ctypes.dlsym(_program, "prctl"))


def prctl(option: int, value: int) -> None:
    """Raises OSError when the kernel refuses."""
    if _prctl(option, value, 0, 0, 0) != 0:
        number = _ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
