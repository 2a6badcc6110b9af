"""To an API server, as a kubeconfig or the pod's account says; the only module that imports the Kubernetes client.

That client brings configuration and authentication. Its generated models are not used: they cost more time than the
calls.
"""

# pyright: reportUnknownMemberType=false
# The Kubernetes client is only partly typed.

import logging
import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes.aio import client, config
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import SERVICE_TOKEN_FILENAME
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigLoader, KubeConfigMerger
from yaml import YAMLError

from k8s_mcp.cluster.answers import ApiUnreachable
from k8s_mcp.cluster.client import Api, OnAnswer, nobody
from k8s_mcp.cluster.credentials import Credential, Shown, Source, TokenFile, changing, load_certificate
from k8s_mcp.errors import StartError

_logger = logging.getLogger(__name__)


class ConfiguredServer:
    """Where to, and as whom: `cluster.http.Server`. `source` has a credential that changes."""

    def __init__(self, configuration: client.Configuration, source: Source | None = None) -> None:
        self._configuration = configuration
        self._credential = Credential(source, self._on_certificate) if source else None
        self.certificates = 0
        rest: Any = RESTClientObject(configuration)
        self.url = str(configuration.host)
        self.ssl = rest.ssl_context
        options = {
            "server_hostname": configuration.tls_server_name,
            "proxy": rest.proxy,
            "proxy_headers": rest.proxy_headers,
        }
        self.options: Mapping[str, Any] = {name: value for name, value in options.items() if value}

    async def shown(self) -> Shown:
        if self._credential is not None:
            return await self._credential.shown()
        settings: Any = await self._configuration.auth_settings()
        return Shown(*[setting["value"] for setting in settings.values() if setting["value"]])

    async def renewed(self, refused: Shown) -> bool:
        return self._credential is not None and await self._credential.renewed(refused)

    def _on_certificate(self, shown: Shown) -> None:
        load_certificate(self.ssl, shown)
        self.certificates += 1


@asynccontextmanager
async def connect(kubeconfig: str, context: str, namespace: str, on_answer: OnAnswer = nobody) -> AsyncGenerator[Api]:
    """The API server of a kubeconfig file; without one, of the cluster this process runs in, else of the user's own.

    Raises StartError when there is no usable configuration.
    """
    # A Secret can be over the 1 MiB from which aiohttp warns; that is copied in a millisecond.
    warnings.filterwarnings("ignore", "Sending a large body", ResourceWarning)
    settings = client.Configuration()
    # From Python 3.13 on, certificates without an Authority Key Identifier would be refused; many clusters' own
    # authorities make such ones, and kubectl takes them.
    settings.disable_strict_ssl_verification = True
    async with AsyncExitStack() as stack:
        try:
            source = await _load(settings, kubeconfig, context)
            api = Api(ConfiguredServer(settings, source), namespace, on_answer)
            stack.push_async_callback(api.close)
            await api.check_credential()
        except (ConfigException, OSError, ValueError, YAMLError, ApiUnreachable) as error:
            raise StartError(
                f"no usable configuration for the cluster of runner pods: {error}; "
                "name a kubeconfig with --kubeconfig"
            ) from error
        yield api


async def _load(settings: client.Configuration, kubeconfig: str, context: str) -> Source | None:
    """Put it into `settings`, but for a credential that changes."""
    if not kubeconfig:
        try:
            config.load_incluster_config(settings, try_refresh_token=False)
        except ConfigException:
            _logger.debug("not in a cluster: using the kubeconfig")
        else:
            return TokenFile(Path(SERVICE_TOKEN_FILENAME))
    merged: Any = KubeConfigMerger(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION).config
    no_base: Any = None  # then each path counts from the file that names it
    loader: Any = KubeConfigLoader(merged, context or None, config_base_path=no_base)
    selected: Any = loader.current_context["context"]
    source = None
    user = merged["users"].get_with_name(selected.get("user"), safe=True)
    if user:
        cluster: Any = merged["clusters"].get_with_name(selected["cluster"])["cluster"]
        source = changing(user.value["user"] or {}, Path(user.path).parent.absolute(), cluster.value)
    await loader.load_and_set(settings)
    return source
