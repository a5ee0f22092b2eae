"""A small head whose tissues, regions and position are known."""

import numpy as np

from mbseg_bids.imaging.volume import Volume

SIGNAL = {
    "T1w": (0.0, 30.0, 60.0, 90.0, 20.0),
    "T2w": (0.0, 95.0, 55.0, 40.0, 25.0),
    "T2starw": (0.0, 80.0, 60.0, 50.0, 10.0),
}
"""Signal of air, CSF, grey matter, white matter and skull."""


def head_labels(points: np.ndarray) -> np.ndarray:
    """Label world points of shape (3, ...): 1 CSF, 2 GM, 3 WM, 4 skull; folds, ventricles, and left unlike right."""
    x, y, z = points
    radius = np.sqrt((x / 62) ** 2 + ((y + 5) / 78) ** 2 + (z / 58) ** 2)
    folds = 0.05 * np.sin(x / 6.0 + y / 17) * np.sin(y / 7.0) * np.sin(z / 6.5 + 0.4)
    labels = np.zeros(x.shape, np.uint8)
    labels[radius < 1.12] = 4
    labels[radius < 1.0] = 1
    labels[radius + folds < 0.93] = 2
    labels[radius + folds < 0.80] = 3
    for side in (-1, 1):
        ventricle = ((x - side * 14) / 6) ** 2 + ((y - 6) / 26) ** 2 + ((z - 8) / 9) ** 2 < 1
        nucleus = ((x - side * 26) / 8) ** 2 + ((y - 2) / 16) ** 2 + ((z + 4) / 10) ** 2 < 1
        labels[nucleus] = 2
        labels[ventricle] = 1
    labels[((x - 30) / 9) ** 2 + ((y - 40) / 8) ** 2 + ((z - 15) / 9) ** 2 < 1] = 2  # so that left is not right
    return labels


def scan(contrast: str, affine: np.ndarray, shape, placed: np.ndarray | None = None, noise: float = 1.5, seed: int = 3):
    """Return the scan (a Volume), its labels and its brain mask; ``placed`` takes scanner points to head points."""
    index = np.indices(shape, dtype=np.float64).reshape(3, -1)
    points = affine[:3, :3] @ index + affine[:3, 3:]
    if placed is not None:
        points = placed[:3, :3] @ points + placed[:3, 3:]
    labels = head_labels(points).reshape(shape)
    signal = np.array(SIGNAL[contrast])[labels]
    rng = np.random.default_rng(seed)
    image = np.hypot(signal + rng.normal(0, noise, shape), rng.normal(0, noise, shape)).astype(np.float32)
    return Volume(image, affine), labels, (labels > 0) & (labels < 4)


def centred_affine(shape, spacing) -> np.ndarray:
    """Return an RAS affine whose grid is centred on the origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    return affine


def rigid(angles, shift) -> np.ndarray:
    """Return a rigid transform from Euler angles in degrees and a shift in mm."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(angles)):
        turn = np.eye(4)
        a, b = [i for i in range(3) if i != axis]
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    matrix[:3, 3] = shift
    return matrix
