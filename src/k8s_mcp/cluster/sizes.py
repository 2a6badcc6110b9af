"""How much a runner may write, by the limits of its pod."""

import re

_LOG_FILES, _LOG_FILE_BYTES, _LOG_SECONDS = 5, 10 << 20, 10
_SLOWEST_LOG = 100_000
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?)([kMGT]|[KMGT]i|)")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SMALLEST_FILE = 2**20  # standard input is one


def log_rate(storage_limit: str) -> int:
    """Bytes a second that a runner may go on writing to its log without its pod being evicted for that.

    The kubelet looks every 10 s, begins another file when one is over 10 MiB, and keeps five (its defaults):
    https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation
    """
    return max(int((_bytes(storage_limit) / _LOG_FILES - _LOG_FILE_BYTES) / _LOG_SECONDS), _SLOWEST_LOG)


def file_size(tmp_size: str) -> int:
    """Most bytes of one file that a command writes: as many as fit into its /tmp, the only place that is for it."""
    return max(_bytes(tmp_size), _SMALLEST_FILE)


def _bytes(quantity: str) -> int:
    """A quantity in bytes; 0 for one that the API server will refuse."""
    match = _QUANTITY.fullmatch(quantity)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0
