"""The runner: the small program beside the command. Standard library only; the runner image ships just this."""
