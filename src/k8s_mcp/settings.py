"""Every setting, each an environment variable `K8S_MCP_…` and a flag of `k8s-mcp serve`; the flag wins."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from k8s_mcp import __version__

PREFIX = "K8S_MCP_"
HEADINGS = {
    "host": "The service",
    "allowed_hosts": "Who may call",
    "max_timeout": "Runs",
    "max_connections": "Bounds",
    "history_seconds": "History",
    "allow_insecure_tls": "Kubeconfigs",
    "mcp_text_limit": "MCP",
    "kubeconfig": "The cluster of runner pods",
    "runner_image": "Runner pods",
    "local_dir": "The local executor",
}
"""By the first setting under each."""


def _words(value: object) -> object:
    """Several values in one variable, separated by commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _json(value: object) -> object:
    """Structured values are JSON in one variable."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error


Words = Annotated[list[str], NoDecode, BeforeValidator(_words)]
Labels = Annotated[dict[str, str], NoDecode, BeforeValidator(_json)]
Objects = Annotated[list[dict[str, Any]], NoDecode, BeforeValidator(_json)]


class Settings(BaseSettings):
    """What an operator can choose. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(9096, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    executor: Literal["local", "kubernetes"] = Field(
        "local",
        description="where commands run: `local`, as child processes; `kubernetes`, each in a Job pod",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log message to write"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="form of the log on stderr: `text`, or `json`, one object a line"
    )
    audit_log: str = Field("stdout", min_length=1, description="where the audit log goes: `stdout`, `off`, or a file")
    audit_command_bytes: int = Field(
        131_072, ge=0, description="most of a command that the audit log quotes; 0: only its SHA-256"
    )

    allowed_hosts: Words = Field(
        [],
        description="host names under which clients may reach the service besides local ones, separated by commas; "
        "with authentication any name will do",
    )
    allowed_origins: Words = Field(
        [],
        description="web origins whose pages may call the service (https://console.example.com), separated by commas",
    )
    trusted_proxies: Words = Field(
        [],
        description="addresses or networks of reverse proxies, separated by commas: what they say in "
        "`X-Forwarded-For` is where a request comes from, and `X-Forwarded-Proto` by which scheme",
    )
    auth_tokens: str = Field(
        "",
        description="file of those who may call with a bearer token, made by `k8s-mcp token`; or a directory of such "
        "files, as a mounted Secret is",
    )
    oidc_issuer: str = Field(
        "", description="issuer of OpenID Connect whose tokens are accepted, as their claim `iss` has it: https://…"
    )
    oidc_audiences: Words = Field(
        [], description="audiences (claim `aud`) one of which such a token must be for, separated by commas"
    )
    oidc_principal_claim: str = Field("sub", description="claim that names the principal; `oidc:` is put in front")
    oidc_groups_claim: str = Field("groups", description="claim with its groups; `oidc:` is put in front of each")
    oidc_scopes: Words = Field(
        [], description="scopes that clients should ask the issuer for, separated by commas: for discovery by MCP"
    )
    oidc_require_scopes: bool = Field(
        False,
        description="refuse such tokens without the scope `k8s-mcp:read` or `k8s-mcp:write`; otherwise one without "
        "either may do what its principal may",
    )
    oidc_client_id: str = Field(
        "",
        description="the page's own client at that issuer, public and with PKCE: with it people log in to the page "
        "instead of entering a token",
    )
    service_account_audience: str = Field(
        "",
        description="audience for which tokens of Kubernetes service accounts are accepted; the API server of the "
        "cluster for runner pods reviews them",
    )
    public_url: str = Field(
        "",
        description="URL under which clients reach the service, where a proxy hides it: for discovery by MCP, and so "
        "that its own pages are known",
    )
    tls_certificate: str = Field(
        "", description="file with the certificate chain, in PEM, to serve https with; read again when it changes"
    )
    tls_key: str = Field("", description="file with its private key, in PEM, without a password")
    page: bool = Field(True, description="serve the page for browsers at `/`; without it `/` leads to `/docs`")
    insecure_no_auth: bool = Field(
        False, description="listen beyond loopback although anyone who reaches the port may run commands"
    )

    policy: str = Field(
        "", description="policy file (docs/policy.md); without one, every caller may do what these settings allow"
    )

    max_timeout: int = Field(3600, ge=1, description="longest timeout a request may ask for")
    grace_period: float = Field(
        5, ge=0, le=600, description="time between SIGTERM and SIGKILL for a command that has to end"
    )
    resume_window: float = Field(
        10, ge=0, le=3600, description="how long a run goes on without its client before it is cancelled"
    )
    shutdown_grace: float = Field(
        30, ge=0, description="how long running commands may go on after SIGTERM to the service"
    )

    max_connections: int = Field(
        2000,
        ge=2,
        description="most connections at a time; idle ones make room for new ones, and with authentication one "
        "caller may use half of them",
    )
    max_runs: int = Field(100, ge=1, description="most runs at a time, of all replicas together")
    max_runs_per_principal: int = Field(0, ge=0, description="most runs of one caller at a time; 0: no such limit")
    max_runs_per_cluster: int = Field(
        0, ge=0, description="most runs at a time on one API server, of all callers; 0: no such limit"
    )
    replay_seconds: float = Field(900, ge=0, description="how long a finished run can be read and replayed")
    replay_bytes: int = Field(16 << 20, ge=1 << 20, description="most output kept of one run for replay")
    replay_total_bytes: int = Field(64 << 20, ge=0, description="most output kept of all finished runs together")

    history_seconds: int = Field(
        604_800,
        ge=0,
        description="how long it is kept what runs were, how they ended, what they changed; 0: not at all",
    )
    history_url: str = Field(
        "",
        repr=False,
        description="database for that: `sqlite:////FILE`, or `postgresql://USER:PASSWORD@HOST/DATABASE`, which "
        "replicas share; by default a file in the user's state directory with the local executor, and none with "
        "Kubernetes",
    )
    history_output: bool = Field(
        False, description="keep what they wrote as well, up to 1 MiB of each: its beginning and its end"
    )

    allow_insecure_tls: bool = Field(False, description="accept kubeconfigs with insecure-skip-tls-verify")
    allow_proxy_url: bool = Field(False, description="accept kubeconfigs with proxy-url")
    allowed_exec_plugins: Words = Field(
        [],
        description="credential plugins that kubeconfigs may name as users[].user.exec.command, separated by commas",
    )

    mcp_text_limit: int = Field(50_000, ge=1000, description="most characters of output in one MCP tool result")
    mcp_run_idle: float = Field(
        600,
        ge=0,
        le=3600,
        description="how long a command that outlives its MCP call goes on unless somebody asks for it",
    )
    mcp_kubeconfig: bool = Field(
        True, description="let MCP calls bring a kubeconfig; without, they can only name stored clusters"
    )
    mcp_sessions: int = Field(
        100, ge=1, description="most sessions of the older SSE transport that one caller may have open"
    )
    mcp_session_idle: float = Field(
        86_400, gt=0, description="how long such a session may go without a message before it is closed"
    )

    kubeconfig: str = Field(
        "",
        description="kubeconfig file of the cluster for runner pods; by default that of the service itself",
    )
    context: str = Field("", description="context in that kubeconfig; by default its current one")
    namespace: str = Field("k8s-mcp", description="namespace for runner pods")
    runner_image: str = Field(f"k8s-mcp-server/runner:{__version__}", description="image of runner pods")
    runner_image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="when nodes pull that image"
    )
    runner_image_pull_secrets: Words = Field([], description="names of Secrets to pull it with, separated by commas")
    runner_service_account: str = Field(
        "default", description="service account of runner pods; they get no token of it"
    )
    runner_cpu_request: str = Field("50m", description="CPU request of a command")
    runner_cpu_limit: str = Field("1", description="CPU limit of a command")
    runner_memory_request: str = Field("64Mi", description="memory request of a command")
    runner_memory_limit: str = Field("512Mi", description="memory limit of a command, its /tmp included")
    runner_storage_limit: str = Field(
        "256Mi", description="limit for the pod's log on the node's disk; long output is slowed down to stay under it"
    )
    runner_tmp_size: str = Field("128Mi", description="size of /tmp, in memory")
    runner_node_selector: Labels = Field({}, description='node labels, as JSON: {"pool": "runners"}')
    runner_tolerations: Objects = Field([], description="tolerations, as a JSON list")
    runner_priority_class: str = Field("", description="priority class of runner pods")
    runner_runtime_class: str = Field("", description="runtime class of runner pods: gvisor, kata, …")
    credential_isolation: bool = Field(
        True, description="keep credentials from the command: only a proxy beside it holds the kubeconfig"
    )
    start_timeout: float = Field(
        60, gt=0, description="how long a pod may take to start; it does not count as part of a command's timeout"
    )

    warm_pods: int = Field(
        2,
        ge=0,
        description="most pods that wait for commands, of all replicas together; with one that waits a command "
        "begins at once; 0: none",
    )

    local_dir: str = Field(
        "",
        description="directory for the local executor's runs; by default one in memory: /dev/shm/k8s-mcp-UID",
    )

    @field_validator("allowed_origins")
    @classmethod
    def _as_browsers_write_them(cls, origins: list[str]) -> list[str]:
        """https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin."""
        return [origin.lower().rstrip("/") for origin in origins]

    @property
    def authenticates(self) -> bool:
        """Whether callers have to say who they are."""
        return bool(self.auth_tokens or self.oidc_issuer or self.service_account_audience)
