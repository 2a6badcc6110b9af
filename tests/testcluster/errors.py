"""What can go wrong with a test cluster."""


class ClusterError(Exception):
    """The cluster could not be started, stopped or asked: which part, why, and where its log is."""


class NotPossibleError(ClusterError):
    """This machine cannot have a test cluster: what it lacks. On the command line that is exit code 3."""
