"""Which API servers the service connects to."""

import ssl
from pathlib import Path

from k8s_mcp.cluster.connect import connect


async def test_authorities_that_kubectl_takes_are_taken(tmp_path: Path, fake_kubeconfig: str) -> None:
    """Many clusters' own certificates have no Authority Key Identifier, which Python asks for from 3.13 on."""
    file = tmp_path / "kubeconfig"
    file.write_text(fake_kubeconfig)
    async with connect(str(file), "", "here") as api:
        context = api._server.ssl  # pyright: ignore[reportPrivateUsage]
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode == ssl.CERT_REQUIRED
