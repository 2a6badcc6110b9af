"""The local executor: the runner as a child process."""
