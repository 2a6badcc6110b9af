"""What can go wrong with an image."""


class BuildError(Exception):
    """A step failed; the message says which, and what was wrong."""


class NotPossibleError(BuildError):
    """This machine cannot build images; the message says what it lacks."""
