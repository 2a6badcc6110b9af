"""How large things may be, in bytes. Apart from the models, so that a client need not import what those need."""

COMMAND_BYTES = 131_071
"""The kernel's limit for one argument, less its terminating NUL (execve(2), MAX_ARG_STRLEN)."""
KUBECONFIG_BYTES = 512 * 1024
REQUEST_BYTES = 900 * 1024
"""Command, kubeconfig and stdin together: a Secret holds 1 MiB."""
