"""The intensity ratio rule: what must not change its result, and what it may never do."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from volumes import FEW, SEEDS, SHAPES, labelled_voxels

from mbseg_bids.detection.geometry.components import find_components
from mbseg_bids.detection.rules.intensity_ratio import RingGeometry, apply_intensity_ratio, contrast_ratios

ACROSS = st.sampled_from([0.8, 1.0, 2.0, 3.0])
"""Distance of slices, mm: the ring crosses them or not."""


def scene(shape, seed, across):
    """Components close together, some at the edge of brain and array, thresholds of their own; some voxels dark."""
    rng = np.random.default_rng(seed)
    labels = find_components(rng.random(shape) < 0.15)
    t2star = rng.choice([20.0, 30.0, 45.0, 50.0, 60.0], shape)
    thresholds = {label: float(rng.choice([1.0, 1.2, 1.4])) for label in range(1, labels.max() + 1)}
    return t2star, labels, rng.random(shape) < 0.9, (1.0, 1.0, across), thresholds


@FEW
@given(SHAPES, SEEDS, ACROSS, st.integers(-6, 6))
def test_the_scale_of_intensities_does_not_matter(shape, seed, across, power):
    """By powers of two, which change no digit: any other scale may move a ratio that lies exactly on its threshold."""
    t2star, *rest = scene(shape, seed, across)
    scaled = apply_intensity_ratio(t2star * 2.0**power, *rest).labels
    np.testing.assert_array_equal(scaled, apply_intensity_ratio(t2star, *rest).labels)
    ratios = [contrast_ratios(image, *rest[:3]) for image in (t2star, t2star * 3.7)]
    np.testing.assert_allclose([*ratios[0].values()], [*ratios[1].values()])


@FEW
@given(SHAPES, SEEDS, ACROSS)
def test_the_order_of_components_does_not_matter(shape, seed, across):
    t2star, labels, brain, spacing, thresholds = scene(shape, seed, across)
    new = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(labels.max())])
    renamed = {int(new[label]): threshold for label, threshold in thresholds.items()}
    np.testing.assert_array_equal(
        apply_intensity_ratio(t2star, new[labels], brain, spacing, renamed).labels,
        new[apply_intensity_ratio(t2star, labels, brain, spacing, thresholds).labels],
    )


@FEW
@given(SHAPES, SEEDS, ACROSS)
def test_it_only_removes_and_a_second_time_removes_nothing(shape, seed, across):
    t2star, labels, brain, spacing, thresholds = scene(shape, seed, across)
    once = apply_intensity_ratio(t2star, labels, brain, spacing, thresholds).labels
    assert ((once == labels) | (once == 0)).all()
    again = apply_intensity_ratio(t2star, once, brain, spacing, thresholds)
    np.testing.assert_array_equal(again.labels, once)
    assert again.n_passes == 1


@FEW
@given(SHAPES, SEEDS, ACROSS)
def test_what_lies_beyond_the_rings_does_not_matter(shape, seed, across):
    """Every component alone with its ring in the brain: the rest of the brain may hold anything."""
    t2star, labels, brain, spacing, thresholds = scene(shape, seed, across)
    reach = RingGeometry.of(spacing).reach
    near = np.zeros(shape, bool)
    for voxels in labelled_voxels(labels).values():
        for voxel in voxels:
            near[tuple(slice(max(0, v - r), v + r + 1) for v, r in zip(voxel, reach, strict=True))] = True
    other = np.where(near, t2star, 1000.0)
    np.testing.assert_array_equal(
        apply_intensity_ratio(other, labels, brain, spacing, thresholds).labels,
        apply_intensity_ratio(t2star, labels, brain, spacing, thresholds).labels,
    )


@FEW
@given(SHAPES, SEEDS, ACROSS)
def test_a_lower_threshold_of_all_keeps_no_less_of_lone_voxels(shape, seed, across):
    """Of components of one voxel, which are kept or not; a larger one is judged by what the passes before left."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    labels[tuple(n // 2 for n in shape)] = 1
    t2star = rng.choice([20.0, 50.0, 60.0], shape)
    kept = [
        apply_intensity_ratio(t2star, labels, np.ones(shape, bool), (1.0, 1.0, across), {1: threshold}).labels.any()
        for threshold in (1.0, 1.2, 1.4)
    ]
    assert kept == sorted(kept, reverse=True)
