"""Kubeconfigs for tests that need no cluster, with credentials that are easy to find where they should not be."""

import base64
import json

TOKEN = "marker-token-" + "Zm9vYmFyYmF6" * 3
PASSWORD = "marker-password-p4$$w0rd'\"<&"
CLIENT_KEY = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "MARKERKEYmarkerkeyMARKERKEYmarkerkeyMARKERKEYmarkerkeyMARKERKEY0\n" * 3
    + "bWFya2VyLWtleS1lbmQ=\n-----END PRIVATE KEY-----\n"
)
CLIENT_KEY_DATA = base64.b64encode(CLIENT_KEY.encode()).decode()
CREDENTIALS = (TOKEN, PASSWORD, CLIENT_KEY_DATA, *CLIENT_KEY.splitlines()[1:-1])
"""Every credential value in the made-up kubeconfig; of the key also its decoded lines."""

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nbm90IGEgc2VjcmV0\n-----END CERTIFICATE-----\n"
_CERTIFICATE_DATA = base64.b64encode(CERTIFICATE.encode()).decode()


def fake(context: str = "first") -> str:
    """Well-formed and made up: contexts `first` (a token), `second` (a password) and `third` (a client certificate).

    The server's address is one reserved for documentation: nobody answers there.
    """
    users = {
        "first": {"token": TOKEN},
        "second": {"username": "someone", "password": PASSWORD},
        "third": {"client-certificate-data": _CERTIFICATE_DATA, "client-key-data": CLIENT_KEY_DATA},
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": "nowhere", "cluster": {"server": "https://192.0.2.1:6443"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "nowhere", "user": name, "namespace": f"ns-{name}"}}
            for name in users
        ],
        "users": [{"name": name, "user": user} for name, user in users.items()],
    }
    return json.dumps(config, indent=2)


def credentials_in(text: str) -> list[str]:
    """Which of the made-up credentials are in `text`, by their first characters."""
    return [value[:24] for value in CREDENTIALS if value in text]
