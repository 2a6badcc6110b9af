"""Asking a component whether it is ready."""

import http.client
import ssl
import urllib.error
import urllib.request


def problem_at(url: str) -> str | None:
    """None when the URL answers 200, else why not."""
    try:
        with _opener().open(url, timeout=5):
            return None
    except urllib.error.HTTPError as error:
        return f"{url}: {error.code} {error.read(500).decode(errors='replace').strip()}"
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error}"


def _opener() -> urllib.request.OpenerDirector:
    # Some components have no certificate but one they made themselves at their start. Nothing secret is told them.
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    # The empty proxy handler: the machine's proxy, if it has one, cannot reach the cluster.
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    )
