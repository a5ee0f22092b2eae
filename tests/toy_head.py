"""A head of ellipsoids."""

import numpy as np

from mbseg_bids.imaging.volume import Volume


def make_toy_head() -> Volume:
    """FreeSurfer-numbered label map, 1 mm, 100 x 110 x 100 voxels, RAS, world origin in its middle."""
    shape = (100, 110, 100)
    affine = np.eye(4)
    affine[:3, 3] = -np.array(shape) / 2
    x, y, z = (np.arange(n) - n / 2 for n in shape)
    x, y, z = x[:, None, None], y[None, :, None], z[None, None]
    labels = np.zeros(shape, dtype=np.int16)

    def ellipsoid(centre, radii):
        return sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), centre, radii, strict=True)) < 1

    for radii, label in (((46, 51, 46), 511), ((44, 49, 44), 507), ((41, 46, 41), 515), ((38, 43, 38), 24)):
        labels[ellipsoid((0, 0, 0), radii)] = label
    left = np.broadcast_to(x < 0, shape)
    for radii, (label, right) in (((35, 40, 34), (3, 42)), ((31, 36, 30), (2, 41))):
        inside = ellipsoid((0, 0, 2), radii)
        labels[inside & left], labels[inside & ~left] = label, right
    for centre, radii, pair in (
        ((5, 0, 8), (3, 12, 5), (4, 43)),
        ((17, 2, 0), (4, 9, 6), (12, 51)),
        ((11, 0, 0), (3, 5, 4), (13, 52)),
        ((7, -9, 2), (4, 6, 4), (10, 49)),
        ((10, 10, 7), (3, 5, 4), (11, 50)),
        ((9, -22, -22), (9, 9, 8), (8, 47)),
        ((8, -21, -21), (5, 5, 4), (7, 46)),
    ):
        for sign, label in zip((-1, 1), pair, strict=True):
            labels[ellipsoid((sign * centre[0], *centre[1:]), radii)] = label
    labels[ellipsoid((0, -8, -22), (5, 5, 12))] = 16
    return Volume(labels, affine)
