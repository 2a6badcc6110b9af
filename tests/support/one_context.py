"""Clients of httpx in one process share what they trust.

httpx reads the file of all public authorities for each client, also for one of `http://` and for a single
`httpx.get`: 25 ms of a processor. The tests make thousands, some in a loop that waits for a state.
"""

import os
import ssl
from functools import cache, wraps
from typing import Any

import httpx
from httpx._transports import default

_OTHERS = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # what names other authorities


def share() -> None:
    """From now on, in this process."""
    default.create_ssl_context = _create  # pyright: ignore[reportPrivateImportUsage] - there is no public way


@wraps(httpx.create_ssl_context)
def _create(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is not True or cert or (trust_env and any(map(os.environ.get, _OTHERS))):
        return httpx.create_ssl_context(verify, cert, trust_env)
    return _usual()


@cache
def _usual() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
