"""Post-processing block by block finds what post-processing of the whole scan finds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mbseg_bids.evaluation.replay import ScanMaps, merge_boxes, segment_blocks
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.settings import DetectionSettings

SETTINGS = DetectionSettings(second_look=False)


def phantom(rng, shape, spacing, n=5):
    """Grey noise with dark blobs of all sizes, a probability map over them, two regions; axes as stored: I, K, J."""
    t2star = rng.normal(60, 2, shape).astype(np.float32)
    probability = np.zeros(shape, np.float32)
    grid = np.indices(shape).astype(float) * np.reshape(spacing, (3, 1, 1, 1))
    for _ in range(n):
        centre = rng.uniform(0, np.array(shape) * spacing)
        distance = np.sqrt(((grid - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0))
        radius = rng.uniform(0.8, 3)
        t2star[distance < radius] *= rng.uniform(0.3, 0.75)
        probability = np.maximum(probability, np.clip(1.3 - distance / (radius + 0.7), 0, 1).astype(np.float32))
    regions = np.full(shape, 2, np.uint8)
    regions[: shape[0] // 2] = 3
    brain = np.zeros(shape, np.uint8)
    brain[2:-2, 2:-2, 2:-2] = 1
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-20, 5, 30]
    return [Volume(data, affine) for data in (t2star, probability, brain, regions)]


def partition(lesions):
    """Lesions as a set of (region, voxels), whatever their numbers."""
    found = set()
    for label, box in enumerate(ndimage.find_objects(lesions.labels.data), start=1):
        if box is not None:
            voxels = np.argwhere(lesions.labels.data == label)
            found.add((lesions.regions[label], tuple(map(tuple, voxels.tolist()))))
    return found


# 0.93 and not 0.9 mm: no voxel of the scan is to lie half in a candidate, where rounding decides.
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (0.6, 0.93, 1.5), (1.0, 1.5, 1.0)])
def test_blocks_find_what_the_whole_scan_finds(rng, spacing):
    shape = tuple(int(s) for s in np.round(np.array([84, 78, 45]) / spacing))
    maps = ScanMaps.from_native(*phantom(rng, shape, spacing))
    blocks = maps.blocks(SETTINGS.probability_threshold)
    assert len(blocks) > 1
    for changes in ({}, {"ratio_threshold": 1.6, "ratio_threshold_deep_gm": 1.6}, {"probability_threshold": 0.8}):
        settings = replace(SETTINGS, **changes)
        whole = maps.segment(settings)
        parts = segment_blocks(blocks, settings, maps.shape, maps.affine)
        assert partition(parts) == partition(whole)
        assert len(partition(whole)) >= 2
        assert np.array_equal(parts.labels.affine, whole.labels.affine)


def test_a_scan_without_candidates_has_no_blocks(rng):
    t2star, probability, brain, regions = phantom(rng, (30, 30, 10), (1.0, 1.0, 3.0), n=0)
    maps = ScanMaps.from_native(t2star, probability, brain, regions)
    assert maps.blocks(0.5) == []
    assert not segment_blocks([], SETTINGS, maps.shape, maps.affine).labels.data.any()


def test_overlapping_boxes_merge_in_chains():
    """1 and 3 are apart until 2 joins them; 4 touches without overlap."""
    boxes = [[(0, 3)] * 3, [(5, 8)] * 3, [(2, 6)] * 3, [(8, 9)] * 3]
    assert sorted(merge_boxes(boxes)) == [[(0, 8)] * 3, [(8, 9)] * 3]
