"""The intensity ratio rule against a slow reference that spells out its definition voxel by voxel."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from mbseg_bids.detection.geometry.components import find_components
from mbseg_bids.detection.rules.intensity_ratio import apply_intensity_ratio, contrast_ratios

ISOTROPIC = (1.0, 1.0, 1.0)
THICK = (1.0, 1.0, 3.0)


def reference_rule(t2star, labels, brain, spacing, thresholds):
    """The definition in sets of voxels and exact fractions; no array operation, no floating-point mean."""
    voxels = set(itertools.product(*map(range, labels.shape)))
    across = spacing[2] <= 2.0
    near_plane = [(di, dj, 0) for di in range(-2, 3) for dj in range(-2, 3) if di * di + dj * dj <= 4]
    near_space = [
        (di, dj, dk)
        for di, dj, dk in itertools.product(range(-2, 3), repeat=3)
        if di * di + dj * dj + (dk * spacing[2]) ** 2 <= 4
    ]
    faces = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)] + ([(0, 0, 1), (0, 0, -1)] if across else [])
    pieces = [
        (part, thresholds[int(label)])
        for label in np.unique(labels[labels > 0])
        for part in connected_parts({v for v in voxels if labels[v] == label})
    ]
    while True:
        occupied = set().union(*(own for own, _ in pieces)) if pieces else set()
        next_pieces, any_removed = [], False
        for own, threshold in pieces:
            dilated = {shift(v, d) for v in own for d in (near_space if across else near_plane)}
            ring = {v for v in dilated if v in voxels and v not in occupied and brain[v]}
            failing = set()
            if ring:
                total = sum(Fraction(float(t2star[v])) for v in ring)
                for v in own:
                    is_border = any(shift(v, d) not in own for d in faces)
                    value = Fraction(float(t2star[v]))
                    if is_border and value > 0 and total / len(ring) / value < Fraction(threshold):
                        failing.add(v)
            any_removed |= bool(failing)
            next_pieces += [(part, threshold) for part in connected_parts(own - failing)]
        pieces = next_pieces
        if not any_removed:
            kept = np.zeros(labels.shape, dtype=bool)
            for own, _ in pieces:
                for v in own:
                    kept[v] = True
            return np.where(kept, labels, 0)


def shift(voxel, offset):
    return tuple(a + b for a, b in zip(voxel, offset, strict=True))


def connected_parts(voxels):
    left, parts = set(voxels), []
    while left:
        part, front = set(), [left.pop()]
        while front:
            v = front.pop()
            part.add(v)
            neighbours = {shift(v, d) for d in itertools.product((-1, 0, 1), repeat=3)} & left
            left -= neighbours
            front += neighbours
        parts.append(part)
    return parts


def random_case(rng):
    """A small volume with several components close together, some at the edge of the brain and of the array."""
    shape = tuple(rng.integers(3, 9, size=3))
    t2star = rng.choice([0.0, 20.0, 30.0, 40.0, 50.0, 60.0], size=shape, p=[0.02, 0.2, 0.2, 0.2, 0.2, 0.18])
    labels = find_components(rng.random(shape) < rng.uniform(0.03, 0.2))
    brain = rng.random(shape) < rng.choice([0.4, 0.9, 1.0])
    thresholds = {label: float(rng.choice([1.0, 1.2, 1.4])) for label in range(1, labels.max() + 1)}
    spacing = (1.0, 1.0, float(rng.choice([0.8, 1.0, 1.5, 2.0, 3.0])))
    return t2star, labels, brain, spacing, thresholds


def test_agrees_with_the_reference_on_random_volumes(rng):
    n_changed = n_kept = 0
    for _ in range(200):
        t2star, labels, brain, spacing, thresholds = random_case(rng)
        result = apply_intensity_ratio(t2star.astype(np.float32), labels, brain, spacing, thresholds).labels
        np.testing.assert_array_equal(result, reference_rule(t2star, labels, brain, spacing, thresholds))
        n_changed += (result != labels).any()
        n_kept += result.any()
    assert n_changed > 60  # the cases exercise both outcomes
    assert n_kept > 60


def test_agrees_with_the_reference_on_wide_components(rng):
    for _ in range(15):
        shape = (11, 12, 5)
        smooth = rng.random((4, 4, 2)).repeat(3, 0).repeat(3, 1).repeat(3, 2)[:11, :12, :5]
        t2star = np.round(100 * smooth + 5 * rng.random(shape), 1)
        labels = find_components(smooth < 0.4)
        thresholds = dict.fromkeys(range(1, labels.max() + 1), 1.3)
        spacing = (1.0, 1.0, float(rng.choice([1.0, 3.0])))
        brain = np.ones(shape, dtype=bool)
        result = apply_intensity_ratio(t2star, labels, brain, spacing, thresholds).labels
        np.testing.assert_array_equal(result, reference_rule(t2star, labels, brain, spacing, thresholds))


def test_applied_to_its_own_result_changes_nothing(rng):
    for _ in range(50):
        t2star, labels, brain, spacing, thresholds = random_case(rng)
        once = apply_intensity_ratio(t2star, labels, brain, spacing, thresholds).labels
        again = apply_intensity_ratio(t2star, once, brain, spacing, thresholds)
        np.testing.assert_array_equal(again.labels, once)
        assert again.n_passes == 1


@pytest.mark.parametrize("flips", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)])
def test_does_not_depend_on_orientation(rng, flips, axes):
    def turn(array):
        return np.flip(array.transpose(axes), flips)

    for _ in range(20):
        t2star, labels, brain, spacing, thresholds = random_case(rng)
        t2star = rng.random(t2star.shape)  # no two sums alike: rounding would show
        plain = apply_intensity_ratio(t2star, labels, brain, spacing, thresholds).labels
        turned = apply_intensity_ratio(turn(t2star), turn(labels), turn(brain), spacing, thresholds).labels
        np.testing.assert_array_equal(turned, turn(plain))


def test_does_not_depend_on_the_order_of_labels(rng):
    for _ in range(30):
        t2star, labels, brain, spacing, thresholds = random_case(rng)
        new = np.concatenate([[0], 1 + rng.permutation(labels.max())])
        plain = apply_intensity_ratio(t2star, labels, brain, spacing, thresholds).labels
        renamed = apply_intensity_ratio(
            t2star, new[labels], brain, spacing, {int(new[label]): thresholds[label] for label in thresholds}
        ).labels
        np.testing.assert_array_equal(renamed, new[plain])


def block(value, shape=(11, 11, 5), background=60.0):
    t2star = np.full(shape, background)
    labels = np.zeros(shape, dtype=np.int32)
    labels[4:7, 4:7, 2] = 1
    t2star[labels > 0] = value
    return t2star, labels, np.ones(shape, dtype=bool)


@pytest.mark.parametrize(
    ("value", "survives"),
    [(30.0, True), (50.0, True), (50.1, False), (60.0, False), (90.0, False), (0.0, True)],
)
def test_keeps_what_is_dark_enough(value, survives):
    """60 / 50 is exactly the threshold 1.2, and only below the threshold is a voxel removed."""
    t2star, labels, brain = block(value)
    result = apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.2})
    assert result.labels.any() == survives
    if survives:
        np.testing.assert_array_equal(result.labels, labels)


def test_threshold_goes_by_label():
    t2star, labels, brain = block(45.0)  # 60 / 45 = 1.33
    assert apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.2}).labels.any()
    assert not apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.4}).labels.any()


def test_missing_threshold_is_an_error():
    t2star, labels, brain = block(45.0)
    with pytest.raises(ValueError, match=r"\[1\]"):
        apply_intensity_ratio(t2star, labels, brain, THICK, {2: 1.2})


def test_trims_a_bright_rim_and_keeps_the_dark_core():
    """A 3 x 3 block at background intensity around one dark voxel.

    Pass 1 removes the eight rim voxels (60 / 60 = 1); the core is not a border voxel then. In pass 2 it is one, of
    ratio 60 / 20 = 3, and nothing is removed.
    """
    t2star, labels, brain = block(60.0)
    t2star[5, 5, 2] = 20.0
    result = apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.2})
    assert np.argwhere(result.labels).tolist() == [[5, 5, 2]]
    assert result.n_passes == 2


def test_ring_crosses_slices_only_where_they_are_close():
    """Bright slices above and below make a spot dark in 2 mm slices; in 3 mm slices they are not looked at."""
    t2star, labels, brain = block(60.0)
    t2star[:, :, 1] = t2star[:, :, 3] = 200.0
    assert not apply_intensity_ratio(t2star, labels, brain, (1.0, 1.0, 3.0), {1: 1.2}).labels.any()
    assert apply_intensity_ratio(t2star, labels, brain, (1.0, 1.0, 2.0), {1: 1.2}).labels.any()
    assert apply_intensity_ratio(t2star, labels, brain, (1.0, 1.0, 2.0000002), {1: 1.2}).labels.any()


@pytest.mark.parametrize(
    ("spacing", "n_ring"), [(THICK, 12), ((1.0, 1.0, 2.0), 14), (ISOTROPIC, 32), ((0.96, 1.04, 3.0), 12)]
)
def test_size_of_the_ring(spacing, n_ring):
    """A disc of 2 voxels has 13 voxels, a sphere 33: one ring voxel of 1 among zeros gives a mean of 1 / n."""
    t2star = np.zeros((7, 7, 7))
    labels = np.zeros(t2star.shape, dtype=np.int32)
    labels[3, 3, 3], t2star[3, 3, 3], t2star[3, 5, 3] = 1, 1.0, 1.0
    brain = np.ones(t2star.shape, dtype=bool)
    assert contrast_ratios(t2star, labels, brain, spacing)[1] == pytest.approx(1 / n_ring)


def test_other_components_and_the_outside_do_not_count():
    t2star, labels, brain = block(40.0)
    t2star[8:, :, :] = 1000.0  # outside the brain
    brain[8:] = False
    t2star[4:7, 8, 2], labels[4:7, 8, 2] = 0.0, 2  # a dark neighbour two voxels away
    assert contrast_ratios(t2star, labels, brain, THICK)[1] == pytest.approx(60 / 40)
    np.testing.assert_array_equal(apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.2, 2: 1.2}).labels, labels)


def test_a_rejected_neighbour_becomes_ordinary_tissue():
    """Spot 1 (40) keeps a ring of dark grey (44); its bright neighbour 2 is no part of it until it is rejected."""
    t2star = np.full((9, 9, 1), 44.0)
    labels = np.zeros(t2star.shape, dtype=np.int32)
    labels[4, 4, 0], t2star[4, 4, 0] = 1, 40.0
    labels[4, 6, 0], t2star[4, 6, 0] = 2, 500.0
    brain = np.ones(t2star.shape, dtype=bool)
    # First pass: ring of 1 is 11 voxels of 44 (1.1): removed together with 2 at a threshold of 1.2 ...
    assert not apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.2, 2: 1.2}).labels.any()
    # ... but kept at 1.1, where only the neighbour goes.
    kept = apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.1, 2: 1.1}).labels
    assert np.unique(kept).tolist() == [0, 1]


def test_component_without_a_ring_is_kept():
    t2star, labels, brain = block(90.0)
    brain = labels > 0
    np.testing.assert_array_equal(apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.2}).labels, labels)
    assert np.isnan(contrast_ratios(t2star, labels, brain, THICK)[1])


def test_component_at_the_edge_of_array_and_brain():
    t2star = np.full((6, 6, 1), 60.0)
    labels = np.zeros(t2star.shape, dtype=np.int32)
    labels[0:2, 0:2, 0], t2star[0:2, 0:2, 0] = 1, 30.0
    brain = np.ones(t2star.shape, dtype=bool)
    brain[:, 3:] = False
    np.testing.assert_array_equal(apply_intensity_ratio(t2star, labels, brain, THICK, {1: 1.9}).labels, labels)
    assert contrast_ratios(t2star, labels, brain, THICK)[1] == 2.0


def test_component_that_falls_apart_is_judged_in_pieces_and_keeps_its_label():
    """A bridge at tissue intensity between two dark spots goes; each spot then has a ring of its own."""
    t2star = np.full((15, 9, 1), 60.0)
    labels = np.zeros(t2star.shape, dtype=np.int32)
    labels[3:12, 4, 0] = 1
    t2star[3, 4, 0] = t2star[11, 4, 0] = 20.0
    result = apply_intensity_ratio(t2star, labels, np.ones(t2star.shape, dtype=bool), THICK, {1: 1.2})
    assert np.argwhere(result.labels == 1).tolist() == [[3, 4, 0], [11, 4, 0]]


def test_no_component_at_all():
    t2star, labels, brain = block(40.0)
    result = apply_intensity_ratio(t2star, np.zeros_like(labels), brain, THICK, {})
    assert not result.labels.any()
    assert contrast_ratios(t2star, np.zeros_like(labels), brain, THICK) == {}
