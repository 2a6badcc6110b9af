"""Builds every part once, and hands each what it needs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from k8s_mcp import __version__, http_api
from k8s_mcp.auth import Guard
from k8s_mcp.executors.base import Executor
from k8s_mcp.executors.local import LocalExecutor, default_directory
from k8s_mcp.kubeconfig import Allowed
from k8s_mcp.problems import problem_of
from k8s_mcp.runs import Limits, Runs
from k8s_mcp.settings import Settings

_DESCRIPTION = "Runs one shell command against one Kubernetes cluster, and streams its output live."


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application. `app.state.runs` is for its server, which drains it before the end."""
    runs = create_runs(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with runs.open():
            yield

    app = FastAPI(
        title="k8s-mcp-server",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.runs = runs
    app.include_router(http_api.router(runs))
    http_api.add_error_handlers(app)
    app.add_middleware(Guard, hosts=settings.allowed_hosts, origins=settings.allowed_origins, refuse=problem_of)
    return app


def create_runs(settings: Settings) -> Runs:
    """The part that carries runs out, with the executor of the settings."""
    executor = _executor(settings)
    limits = Limits(
        max_timeout=settings.max_timeout,
        max_runs=settings.max_runs,
        grace_period=settings.grace_period,
        resume_window=settings.resume_window,
        replay_seconds=settings.replay_seconds,
        replay_bytes=settings.replay_bytes,
        replay_total_bytes=settings.replay_total_bytes,
    )
    allowed = Allowed(
        exec_plugins=frozenset(settings.allowed_exec_plugins),
        proxy_url=settings.allow_proxy_url,
        insecure_tls=settings.allow_insecure_tls,
        loopback=executor.loopback_clusters,
    )
    return Runs(executor, limits, allowed)


def _executor(settings: Settings) -> Executor:
    directory = Path(settings.local_dir) if settings.local_dir else default_directory()
    return LocalExecutor(directory, settings.grace_period)
