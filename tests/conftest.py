"""Fixtures shared by all tests."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("NO_ET", "1")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220826)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of scans and label maps too large to be kept here; tests that need it skip without it."""
    folder = Path(os.environ.get("MBSEG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no shared test data: set MBSEG_TEST_DATA to its folder")
    return folder
