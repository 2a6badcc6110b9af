"""Who may call, and how people log in: as the settings say."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from k8s_mcp.auth.guard import Authentication, Authenticator
from k8s_mcp.auth.resource_metadata import ResourceMetadata
from k8s_mcp.auth.tokens import Tokens
from k8s_mcp.models import READ_SCOPE, WRITE_SCOPE
from k8s_mcp.settings import Settings

if TYPE_CHECKING:
    from k8s_mcp.auth.login import Login


def authentication_of(
    settings: Settings, on_answer: Callable[[str, str, str], None]
) -> tuple[Authentication, "Login | None"]:
    """All that callers may show, and the login to the page, if there is one. Raises StartError.

    `on_answer` is told of each answer of the API server.
    """
    kinds: list[Authenticator] = []
    oidc = login = None
    if settings.auth_tokens:
        kinds.append(Tokens(Path(settings.auth_tokens)))
    if settings.oidc_issuer:
        from k8s_mcp.auth.oidc import Oidc

        oidc = Oidc(
            settings.oidc_issuer,
            settings.oidc_audiences,
            settings.oidc_principal_claim,
            settings.oidc_groups_claim,
            require_scopes=settings.oidc_require_scopes,
        )
        kinds.append(oidc)
    if settings.oidc_client_id:
        from k8s_mcp.auth.login import Login

        login = Login(oidc, settings.oidc_issuer, settings.oidc_client_id, _scopes(settings))
    if settings.service_account_audience:
        from k8s_mcp.auth.token_review import TokenReview
        from k8s_mcp.cluster.connect import connect

        api = connect(settings.kubeconfig, settings.context, settings.namespace, on_answer)
        kinds.append(TokenReview(settings.service_account_audience, api))
    return Authentication(kinds, most_requests=settings.max_connections // 2), login


def metadata_of(settings: Settings) -> ResourceMetadata | None:
    """Where clients find out how to get a token, if they can."""
    if not settings.oidc_issuer:
        return None
    return ResourceMetadata(settings.oidc_issuer, _scopes(settings), settings.public_url)


def _scopes(settings: Settings) -> tuple[str, ...]:
    ours = (READ_SCOPE, WRITE_SCOPE) if settings.oidc_require_scopes else ()
    return (*settings.oidc_scopes, *ours)
