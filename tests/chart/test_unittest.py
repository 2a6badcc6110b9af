"""The suites of helm-unittest beside the chart."""

import subprocess
from pathlib import Path

from tests.support.chart import CHART


def test_all_suites_pass(helm_unittest: Path) -> None:
    done = subprocess.run([helm_unittest, "--strict", CHART], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
