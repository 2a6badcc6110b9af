"""Two minutes of the soak, with the faults that nobody else who uses the cluster notices."""

from pathlib import Path

import pytest

from tests import testcluster
from tests.soak.plan import FAULTS, OF_THE_CLUSTER, Options
from tests.soak.soak import NotPossible, prepared, soak
from tests.support.left_out import leave_out

pytestmark = pytest.mark.cluster

_OPTIONS = Options(
    seconds=120,
    seed=20261129,
    at_a_time=8,
    faults_per_minute=10,
    faults=tuple(kind for kind in FAULTS if kind not in OF_THE_CLUSTER),
    longest_outage=20,
)


@pytest.mark.timeout(900)
async def test_no_run_is_lost_doubled_or_left_behind(cluster: testcluster.Cluster, tmp_path: Path) -> None:
    """docs/reliability.md says what is checked. A failure tells its whole history; its seed repeats the sequence."""
    if cluster.netns is None:
        leave_out("commands of the soak cannot reach this machine from another cluster than the built one")
    try:
        with prepared(cluster, tmp_path) as place:
            report = await soak(_OPTIONS, place, tmp_path)
    except NotPossible as error:
        leave_out(f"no runner image here: {error}")
    assert report.is_good, report.text()
    assert report.runs > 20
    assert len(report.faults) > 5
