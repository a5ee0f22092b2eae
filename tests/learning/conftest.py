"""Small labelled scans, so that tests of the U-Net take seconds."""

import numpy as np
import pytest

from mbseg_bids.learning.labelled_scan import LabelledScan


@pytest.fixture
def make_scan():
    """Return a function that makes a scan of even tissue with dark lesions and a rim of bright CSF."""

    def make(name="toy", shape=(41, 37, 3), n_lesions=6, seed=0) -> LabelledScan:
        rng = np.random.default_rng(seed)
        brain = np.zeros(shape, bool)
        brain[3:-3, 3:-3] = True
        tissue = np.where(brain, 3, 0).astype(np.uint8)
        tissue[3:7][brain[3:7]] = 1
        lesions = np.zeros(shape, np.int32)
        for label in range(1, n_lesions + 1):
            i, j, k = (int(rng.integers(low, n)) for low, n in ((9, shape[0] - 6), (6, shape[1] - 6), (0, shape[2])))
            lesions[i : i + 3, j : j + 3, k] = label
        levels = np.where(brain, 150, 0)[None].repeat(3, axis=0) + rng.integers(0, 10, (3, *shape))
        levels[:, tissue == 1] = 230
        levels[0][lesions > 0] = 40
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        mimics = np.zeros(shape, np.uint8)
        return LabelledScan(
            name, levels.astype(np.uint8), lesions, mimics, tissue, tissue, brain, (1.0, 1.0, 3.0), affine
        )

    return make
