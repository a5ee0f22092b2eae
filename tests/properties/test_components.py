"""Connected components against the definition, and whatever way the head is stored."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from volumes import FEW, SEEDS, SHAPES, SPACINGS, TURNS, connected_parts, labelled_voxels, turn, turned_affine

from mbseg_bids.detection.geometry.components import find_components

DENSITIES = st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0])


def mask_of(shape, seed, density):
    return np.random.default_rng(seed).random(shape) < density


@FEW
@given(SHAPES, SEEDS, DENSITIES)
def test_components_are_those_of_the_definition(shape, seed, density):
    mask = mask_of(shape, seed, density)
    found = labelled_voxels(find_components(mask))
    expected = connected_parts(map(tuple, np.argwhere(mask).tolist()))
    assert sorted(found) == [*range(1, len(expected) + 1)]
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, expected))


@FEW
@given(SHAPES, SEEDS, DENSITIES, SPACINGS, TURNS)
def test_a_turned_head_has_the_same_components_under_the_same_numbers(shape, seed, density, spacing, way):
    mask, affine = mask_of(shape, seed, density), np.diag([*spacing, 1.0])
    turned = find_components(turn(mask, way), turned_affine(affine, shape, way))
    np.testing.assert_array_equal(turned, turn(find_components(mask, affine), way))
