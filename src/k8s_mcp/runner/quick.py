"""`signal`, prctl(2) and inotify(7) without the slow half of their modules.

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

__all__ = ["prctl", "signal", "watch_directory"]

_IN_CLOSE_WRITE, _IN_MOVED_TO, _IN_CREATE = 0x8, 0x80, 0x100


class _Function(_ctypes.CFuncPtr):
    """A function of libc that takes integers and bytes, returns an integer, and keeps its errno for us."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO


_program = _ctypes.dlopen(None, os.RTLD_NOW)  # pyright: ignore[reportArgumentType] - as in dlopen(3)
_prctl = _Function(_ctypes.dlsym(_program, "prctl"))
_inotify_init = _Function(_ctypes.dlsym(_program, "inotify_init1"))
_inotify_add_watch = _Function(_ctypes.dlsym(_program, "inotify_add_watch"))


def prctl(option: int, value: int) -> None:
    """Raises OSError when the kernel refuses."""
    if _prctl(option, value, 0, 0, 0) != 0:
        number = _ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def watch_directory(path: str) -> int:
    """A descriptor that is readable when something in the directory has changed; -1 where the kernel gives none."""
    watch = _inotify_init(os.O_CLOEXEC | os.O_NONBLOCK)
    if watch >= 0 and _inotify_add_watch(watch, os.fsencode(path), _IN_CLOSE_WRITE | _IN_MOVED_TO | _IN_CREATE) < 0:
        os.close(watch)
        return -1
    return watch
