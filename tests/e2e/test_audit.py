"""The audit log of runs in pods."""

import base64
import hashlib
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync

from tests.e2e.place import Place
from tests.support.client import Client
from tests.support.events import Transcript
from tests.support.service import Service, StartService, wait_for

Json = dict[str, Any]

pytestmark = pytest.mark.cluster


async def test_end_of_a_run_names_its_pod_its_cluster_and_what_is_left(
    serve_kubernetes: StartService, client_of: Callable[[Service], Client], place: Place, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    async with client_of(serve_kubernetes(audit_log=log)) as client:
        async with client.stream("echo up; read line; exit 5", stdin="one\n") as stream:
            await stream.first("stdout")
            run_id = Transcript(stream.seen).run_id
            pod = await place.one("pods", run_id)
            await stream.to_end()
        started, ended = await run_sync(wait_for, lambda: _read(log) if len(_read(log)) == 2 else [])
    assert [entry["event"] for entry in (started, ended)] == ["run.started", "run.ended"]
    assert ended["pod_uid"] == pod["metadata"]["uid"]
    assert (ended["pod"], ended["node"]) == (pod["metadata"]["name"], pod["spec"]["nodeName"])
    certificate = base64.b64decode(place.server["certificate-authority-data"]).decode()
    assert ended["cluster"]["ca_sha256"] == hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()
    assert (ended["exit_code"], ended["cleanup"], ended["left"]) == (5, "removed", None)
    assert ended["stdin"]["size"] == 4


def _read(log: Path) -> list[Json]:
    return [json.loads(line) for line in log.read_text().splitlines()]
