"""A small head made of ellipsoids, so that tests of the simulation take seconds."""

import pytest
from toy_head import make_toy_head

from mbseg_bids.imaging.volume import Volume


@pytest.fixture(scope="session")
def toy_head() -> Volume:
    return make_toy_head()
