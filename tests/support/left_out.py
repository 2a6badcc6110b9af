"""Tests that this machine cannot run."""

import os
from typing import NoReturn

import pytest


def leave_out(reason: str) -> NoReturn:
    """Skip the test; the reason is listed at the end of the run. In CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true nothing may be left out: {reason}", pytrace=False)
    pytest.skip(reason)
