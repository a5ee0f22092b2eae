import numpy as np

from mbseg_bids.detection.network.classify import classify_voxels
from mbseg_bids.detection.network.weights import load_weights


def test_the_shipped_network_tells_a_round_dark_spot_from_even_tissue_and_from_csf():
    """Values of a T2*, T2w, T1w stack of white matter; a microbleed of 4 mm; and a ventricle, bright on T2*."""
    model, metadata = load_weights()
    assert metadata.task == "microbleed"
    stack = np.empty((3, 64, 64, 3), np.float32)
    stack[:] = np.array([55, 35, 75], np.float32)[:, None, None, None]
    stack += np.random.default_rng(0).normal(0, 1.5, stack.shape).astype(np.float32)
    i, j = np.ogrid[:64, :64]
    stack[0, :, :, 1][(i - 32) ** 2 + (j - 32) ** 2 <= 4] = 12
    stack[:, 10:20, 10:20, 1] = np.array([90, 95, 20], np.float32)[:, None, None]
    voxels = np.array([[32, 32, 1], [45, 20, 1], [15, 15, 1], [32, 44, 1]])
    found = classify_voxels(
        model, stack, voxels, patch_size=metadata.patch_size, input_size=metadata.input_size, device="cpu"
    )
    assert found[0] > 0.5
    assert (found[1:] < 0.5).all()
