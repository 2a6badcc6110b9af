"""What finished runs leave in the service's memory."""

from tests.support.bulk import BulkReader
from tests.support.service import Service, StartService

COMMAND = "yes a line of output that is as long as most lines of output are | head -c 30000000"
MIB = 1 << 20


def carry_out(service: Service, kubeconfig: str) -> None:
    with BulkReader(service.url, {"command": COMMAND, "kubeconfig": kubeconfig}) as reader:
        reader.read_to_end()
    assert reader.final()[0] == {"status": "done", "exit_code": 0}


def test_runs_that_are_no_longer_kept_take_no_memory(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(replay_total_bytes=0)
    carry_out(service, fake_kubeconfig)
    first = service.peak_memory()
    for _ in range(5):
        carry_out(service, fake_kubeconfig)
    assert service.peak_memory() < first + 20 * MIB


def test_kept_runs_take_no_more_memory_than_allowed(serve: StartService, fake_kubeconfig: str) -> None:
    service = serve(replay_total_bytes=32 * MIB)
    carry_out(service, fake_kubeconfig)
    first = service.peak_memory()
    for _ in range(6):
        carry_out(service, fake_kubeconfig)
    assert service.peak_memory() < first + 52 * MIB


def test_what_finished_runs_were_sent_is_forgotten(serve: StartService, fake_kubeconfig: str) -> None:
    """Their output is kept for 15 minutes; what they were sent goes at the end, and takes no place from it."""
    service = serve(replay_total_bytes=4 * MIB)
    for _ in range(10):
        body = {"command": "true", "stdin": "x" * 800_000, "kubeconfig": fake_kubeconfig}
        with BulkReader(service.url, body) as reader:
            reader.read_to_end()
    assert len(service.get("/runs").json()["runs"]) == 10
