"""Stopping and starting single components of the built cluster, for tests of what happens then."""

import signal

from . import built, processes


def stop(name: str, how: signal.Signals = signal.SIGTERM) -> None:
    """End a component and return when its process is gone; SIGKILL for what a crash would be."""
    processes.stop(built.component(name).pid_file, how)


def start(name: str) -> None:
    """Start a component, if it does not run, and return when it is ready."""
    component = built.component(name)
    component.start()
    component.wait()


def restart(name: str, how: signal.Signals = signal.SIGTERM) -> None:
    """Stop and start a component."""
    stop(name, how)
    start(name)
