"""Small volumes for property tests, and ways to turn them: the same head stored with its axes in another order."""

import itertools

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

FEW = settings(max_examples=15, deadline=None, derandomize=True, database=None)
"""The same few examples every time: a test that fails here fails everywhere, and a slow machine fails none."""

SHAPES = st.tuples(*[st.integers(2, 9)] * 3)
SEEDS = st.integers(0, 2**32 - 1)
SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 1.04, 2.0, 3.0])] * 3)
TURNS = st.tuples(st.permutations(range(3)), st.tuples(st.booleans(), st.booleans(), st.booleans()))
"""Order of the axes, and which of the new ones are flipped."""


def turn(data, way):
    """Return an array with its axes in another order, some of them flipped."""
    order, flips = way
    return np.flip(np.asarray(data).transpose(order), tuple(np.flatnonzero(flips)))


def turned_affine(affine, shape, way):
    """Return the affine of a turned array: every voxel keeps its place in the world."""
    order, flips = way
    back = np.zeros((4, 4))
    back[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        back[old, new] = -1 if flip else 1
        back[old, 3] = shape[old] - 1 if flip else 0
    return affine @ back


def connected_parts(voxels):
    """Return the 26-connected parts of a set of voxels, each a set: the definition, one voxel at a time."""
    left, parts = set(voxels), []
    while left:
        part, front = set(), [left.pop()]
        while front:
            voxel = front.pop()
            part.add(voxel)
            around = {tuple(np.add(voxel, step).tolist()) for step in itertools.product((-1, 0, 1), repeat=3)} & left
            left -= around
            front += around
        parts.append(part)
    return parts


def labelled_voxels(labels):
    """Return the set of voxels of each label."""
    return {
        int(label): set(map(tuple, np.argwhere(labels == label).tolist())) for label in np.unique(labels[labels > 0])
    }
