"""Whether somebody still reads what is printed."""

import errno
import sys


def nobody_reads(error: OSError) -> bool:
    """Whether `error` says that the reader of our output has gone; Windows has another word for it."""
    if isinstance(error, BrokenPipeError):
        return True
    return sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
