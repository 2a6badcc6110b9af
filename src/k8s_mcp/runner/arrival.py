"""Files that somebody else puts in place: in a warm pod the Secret comes when a run claims it, sooner or later.

The kubelet puts a Secret's files in place with one rename, of `..data`: what is there is whole.
inotify(7); https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets-as-files-from-a-pod
"""

import os
import select

from k8s_mcp.runner.quick import watch_directory

PLACE = "..data"
"""Of a volume's files, so that all of them are of one write."""
_LAST = "id"
_LOOK_SECONDS = 0.05  # where the kernel has no more watches to give (128 for each user of a node)


class Arrival:
    """Waits for the files of a run in the directory `run`; `wake` is readable when there is something else to do."""

    def __init__(self, run: str, wake: int) -> None:
        self._file = os.path.join(run, PLACE, _LAST)
        self._wake = wake
        self._watch = watch_directory(run)

    def wait(self) -> bool:
        """Until the files are there, or `wake` is readable. Says whether they are there."""
        descriptors = [self._wake] if self._watch < 0 else [self._wake, self._watch]
        timeout = _LOOK_SECONDS if self._watch < 0 else None
        # Looked for after the watch has begun, or a change between the two would be missed.
        while not os.path.exists(self._file):
            ready = select.select(descriptors, [], [], timeout)[0]
            if self._wake in ready:
                return False
            if ready:
                os.read(self._watch, 4096)
        return True

    def close(self) -> None:
        if self._watch >= 0:
            os.close(self._watch)
