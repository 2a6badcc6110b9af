"""Builds every part once, and hands each what it needs."""

import logging
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import FastAPI

from k8s_mcp import __version__
from k8s_mcp.auth import resource_metadata
from k8s_mcp.auth.guard import OPEN_PATHS, Authentication, Guard, Open
from k8s_mcp.auth.host import Served
from k8s_mcp.auth.made import authentication_of, metadata_of
from k8s_mcp.executors.base import Executor
from k8s_mcp.executors.local.directory import default_directory
from k8s_mcp.executors.local.executor import LocalExecutor
from k8s_mcp.history.made import OUTPUT_BYTES, history_of, is_wanted
from k8s_mcp.kubeconfig.resolver import Resolver
from k8s_mcp.mcp.limits import McpLimits
from k8s_mcp.mcp.server import McpApi
from k8s_mcp.observe.facts import Observe, to_all
from k8s_mcp.observe.metrics import Metrics
from k8s_mcp.observe.observers import audit_log, traces
from k8s_mcp.policy.admission import Admission
from k8s_mcp.policy.file import PolicyFile
from k8s_mcp.policy.quotas import Quotas
from k8s_mcp.policy.rules import everything
from k8s_mcp.runs.handles import Handles, MemoryStore
from k8s_mcp.runs.limits import Limits
from k8s_mcp.runs.past import PastRuns
from k8s_mcp.runs.runs import Runs
from k8s_mcp.settings import Settings
from k8s_mcp.web import api_page, openapi, routes
from k8s_mcp.web import login as login_path
from k8s_mcp.web.cors import Cors
from k8s_mcp.web.error_handlers import add_error_handlers
from k8s_mcp.web.head import Head
from k8s_mcp.web.page import Page
from k8s_mcp.web.problems import problem_of
from k8s_mcp.web.refusals import Refusals
from k8s_mcp.web.traced import Traced
from k8s_mcp.web.unanswered import EndsAnswered, Unanswered

if TYPE_CHECKING:
    from k8s_mcp.auth.login import Login
    from k8s_mcp.cluster.objects import PodTemplate

_logger = logging.getLogger(__name__)

_DESCRIPTION = """Runs one shell command against one Kubernetes cluster, and streams its output live.

`POST /mcp`, `GET /sse` with `POST /messages/`, and JSON-RPC bodies at `POST /sse` are the Model Context Protocol.
They are not described here: that protocol describes itself, by `tools/list`.
"""


@dataclass(frozen=True)
class _Parts:
    """What depends on the executor."""

    runs: Runs
    handles: Handles
    policy: AbstractAsyncContextManager[None]
    janitor: AbstractAsyncContextManager[None]


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application. Its server drains `app.state.runs`, then ends `app.state.unanswered`."""
    metrics = Metrics(settings.executor)
    audit = audit_log(settings.audit_log, settings.audit_command_bytes, metrics.audit_failed)
    traced = traces(os.environ)
    history = history_of(settings, metrics.history)
    observers = [audit.observe, metrics.observe, traced.observe, *([history.observe] if history else ())]
    observe = to_all(*observers, on_failure=metrics.observer_failed)
    if settings.executor == "kubernetes":
        parts = _on_kubernetes(settings, observe, metrics)
    else:
        parts = _on_this_host(settings, observe)
    past = PastRuns(history, parts.runs.sight)
    mcp = McpApi(parts.runs, past, parts.handles, _mcp_limits(settings), observe)
    authentication, login = authentication_of(settings, metrics.api_answered)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        with audit.open(), traced.open():
            async with (
                history.open() if history else nullcontext(),
                metrics.open(),
                authentication.open(),
                login.open() if login else nullcontext(),
                parts.policy,
                parts.runs.open(),
                parts.janitor,
                mcp.open(),
            ):
                yield

    app = FastAPI(
        title="k8s-mcp-server",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # to http:// behind whatever speaks TLS, and a client would send its kubeconfig there
    )
    app.state.runs = parts.runs
    api = routes.router(parts.runs, past, parts.handles, mcp.streamable_http, metrics.exposition)
    app.include_router(api)
    app.routes.extend(mcp.routes())
    page = _add_pages(app, settings, login)
    add_error_handlers(app, api)
    _add_middlewares(app, settings, authentication, page, observe, login_path.PATH if login else "")
    return app


def _add_pages(app: FastAPI, settings: Settings, login: "Login | None") -> Page:
    """What is for browsers."""
    api_page.add_to(app)
    login_path.add_to(app, login)
    page = Page(wanted=settings.page)
    page.add_to(app)
    return page


def _add_middlewares(
    app: FastAPI, settings: Settings, authentication: Authentication, page: Page, observe: Observe, login: str
) -> None:
    """What every request passes through; each is put around those before it."""
    metadata = metadata_of(settings)
    open_paths = (
        OPEN_PATHS | page.paths | {login_path.PATH} | (resource_metadata.PATHS if metadata else frozenset[str]())
    )
    if metadata:
        app.routes.extend(metadata.routes())
    app.add_middleware(Traced)
    app.add_middleware(Head)
    app.add_middleware(
        Guard,
        served=Served(settings.allowed_hosts, settings.allowed_origins, _public_origin(settings)),
        refuse=lambda error, unread: problem_of(error, unread=unread),
        authentication=authentication,
        open=Open(open_paths, page.html_paths, login),
        hint=metadata.challenge if metadata else lambda _: "",
    )
    app.state.unanswered = Unanswered()
    app.add_middleware(EndsAnswered, unanswered=app.state.unanswered)
    app.add_middleware(Cors, origins=settings.allowed_origins)
    app.add_middleware(Refusals, observe=observe)
    openapi.describe(app, open_paths if authentication.kinds else None)


def _public_origin(settings: Settings) -> str:
    """What a browser calls the service's own pages, where something in front of it speaks TLS; "" if nobody says."""
    parts = urlsplit(settings.public_url.lower())
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")  # which no browser's `Origin` has
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}" if parts.netloc else ""


def pod_template(settings: Settings) -> "PodTemplate":
    """What the settings say about runner pods."""
    from k8s_mcp.cluster.objects import PodTemplate

    return PodTemplate(
        image=settings.runner_image,
        image_pull_policy=settings.runner_image_pull_policy,
        image_pull_secrets=tuple(settings.runner_image_pull_secrets),
        cpu_request=settings.runner_cpu_request,
        cpu_limit=settings.runner_cpu_limit,
        memory_request=settings.runner_memory_request,
        memory_limit=settings.runner_memory_limit,
        storage_limit=settings.runner_storage_limit,
        tmp_size=settings.runner_tmp_size,
        node_selector=settings.runner_node_selector,
        tolerations=tuple(settings.runner_tolerations),
        priority_class=settings.runner_priority_class,
        runtime_class=settings.runner_runtime_class,
        service_account=settings.runner_service_account,
        isolation=settings.credential_isolation,
        grace=settings.grace_period,
        start_timeout=settings.start_timeout,
    )


def local_directory(settings: Settings) -> Path:
    """Where the local executor keeps its runs."""
    return Path(settings.local_dir) if settings.local_dir else default_directory()


def _on_kubernetes(settings: Settings, observe: Observe, metrics: Metrics) -> _Parts:
    from k8s_mcp.cluster.connection import Cluster
    from k8s_mcp.executors.kubernetes.executor import KubernetesExecutor
    from k8s_mcp.executors.kubernetes.handle_store import SecretStore
    from k8s_mcp.executors.kubernetes.janitor import Janitor
    from k8s_mcp.runs.shared_runs import SharedRuns

    replica = secrets.token_hex(8)
    told = metrics.api_answered, metrics.odd_object
    cluster = Cluster(settings.kubeconfig, settings.context, settings.namespace, *told)
    executor = KubernetesExecutor(cluster, pod_template(settings), replica, settings.warm_pods, observe)
    store = SecretStore(cluster)
    admission, policy = _admission(settings, executor)
    handles = Handles(store, admission, observe)
    runs = SharedRuns(executor, handles, admission, _limits(settings), _quotas(settings), observe)
    janitor = Janitor(cluster, executor, store, settings.resume_window, observe)
    return _Parts(runs, handles, policy, janitor.open())


def _on_this_host(settings: Settings, observe: Observe) -> _Parts:
    executor = LocalExecutor(local_directory(settings), settings.grace_period)
    admission, policy = _admission(settings, executor)
    handles = Handles(MemoryStore(), admission, observe)
    runs = Runs(executor, handles, admission, _limits(settings), _quotas(settings), observe)
    return _Parts(runs, handles, policy, nullcontext())


def _admission(settings: Settings, executor: Executor) -> tuple[Admission, AbstractAsyncContextManager[None]]:
    """Asks the policy file, which is followed as long as the context is entered; or, without one, the settings."""
    file = PolicyFile(settings.policy) if settings.policy else None
    by_settings = everything(
        settings.allowed_exec_plugins, insecure_tls=settings.allow_insecure_tls, proxy_url=settings.allow_proxy_url
    )
    if file and by_settings != everything((), insecure_tls=False, proxy_url=False):
        _logger.warning(
            "with a policy file, its rules say what kubeconfigs may hold; these settings have no effect: "
            "allowed_exec_plugins, allow_insecure_tls, allow_proxy_url"
        )
    admission = Admission(
        (lambda: file.value) if file else (lambda: by_settings),
        Resolver().addresses,
        loopback=executor.loopback_clusters,
        can_be_read_only=executor.can_be_read_only,
    )
    return admission, file.open() if file else nullcontext()


def _quotas(settings: Settings) -> Quotas:
    return Quotas(settings.max_runs, settings.max_runs_per_principal, settings.max_runs_per_cluster)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_timeout=settings.max_timeout,
        grace_period=settings.grace_period,
        resume_window=settings.resume_window,
        replay_seconds=settings.replay_seconds,
        replay_bytes=settings.replay_bytes,
        replay_total_bytes=settings.replay_total_bytes,
        recorded_bytes=OUTPUT_BYTES if settings.history_output and is_wanted(settings) else 0,
    )


def _mcp_limits(settings: Settings) -> McpLimits:
    return McpLimits(
        text=settings.mcp_text_limit,
        run_idle=settings.mcp_run_idle,
        kubeconfigs=settings.mcp_kubeconfig,
        sessions=settings.mcp_sessions,
        session_idle=settings.mcp_session_idle,
    )
