"""The ID token that a kubeconfig's `auth-provider` named `oidc` holds, as long as it is good.

kubectl keeps the newest one in the file, and gets another with the refresh token when it has ended; that is left to
it: two clients that renew one refresh token can lock each other out.
"""

import base64
import json
import time
from typing import Any

from k8s_mcp.kubeconfig.fields import Fields

_MARGIN_SECONDS = 10.0  # as client-go


def id_token(config: Fields) -> str:
    """The token in `config`, auth-provider's. Raises KubeconfigError when there is none, or it has ended."""
    token = config.secret("id-token")
    if not token:
        raise config.error("id-token", "is missing; log in again, or run kubectl once, which gets one")
    ends = _ends(token)
    if ends is None:
        raise config.error("id-token", "is no token with a time at which it ends (a JWT); log in again")
    if ends < time.time() + _MARGIN_SECONDS:
        raise config.error("id-token", "has ended; run kubectl once, which gets a new one, and try again")
    return token


def _ends(token: str) -> float | None:
    """The claim `exp` (RFC 7519), which nobody here verifies: the API server does."""
    claims = [*token.split("."), "", ""][1]
    try:
        found: Any = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"]
        return float(found) if isinstance(found, int | float) else None
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
