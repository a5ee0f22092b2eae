"""How each scan is taken: field, echo times, slices, noise, posture. Values lie within those of clinical protocols."""

from dataclasses import dataclass

import numpy as np

T2STAR_ORIENTATIONS = ("LAS", "LPS", "RAS", "LIA", "LSP", "RPS", "PSR")
"""Axis codes under which scanners and converters have been seen to store images."""


@dataclass(frozen=True)
class Slices:
    """Geometry and noise of a stack of slices, read out by Fourier encoding in the plane.

    Attributes
    ----------
    resolution
        Acquired in-plane resolution, mm.
    zero_fill
        How many times finer the stored matrix is.
    thickness, spacing
        Slice thickness, and distance of slice centres (larger by the gap), mm.
    noise
        Standard deviation of the real and of the imaginary part, white matter being 1.
    filter_width
        Share of k-space (0 to 1) over which a cosine rolls off at its border, against ringing.
    """

    resolution: float
    zero_fill: float
    thickness: float
    spacing: float
    noise: float
    filter_width: float

    def matrix(self, field_of_view: tuple[float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return acquired and stored matrix for (at least) a field of view in mm; all sizes are even."""
        a0, a1 = (2 * int(np.ceil(fov / self.resolution / 2)) for fov in field_of_view)
        s0, s1 = (2 * round(n * self.zero_fill / 2) for n in (a0, a1))
        return (a0, a1), (s0, s1)


@dataclass(frozen=True)
class Protocol:
    """All that is set before a scan.

    Attributes
    ----------
    b0
        T.
    echo_time
        Of the T2*-weighted image, s.
    t2star, t1w, t2w
        Slices of the three images. Those of the T1w image are sagittal.
    tilt
        Degrees about x, y, z by which the T2* slices are tilted from axial.
    orientations
        Axis codes under which T2starw, T1w and T2w are stored.
    """

    b0: float
    echo_time: float
    t2star: Slices
    t1w: Slices
    t2w: Slices
    tilt: tuple[float, float, float]
    orientations: tuple[str, str, str]


def draw_protocol(rng: np.random.Generator, thick: bool) -> Protocol:
    """Draw a protocol; ``thick``: T2* slices of 4 to 6 mm, otherwise of 1 to 3.5 mm."""
    b0 = float(rng.choice([1.5, 3.0]))
    echo_time = rng.uniform(0.020, 0.040) if b0 < 2 else rng.uniform(0.015, 0.027)
    if thick:
        thickness, gap = rng.uniform(4, 6), rng.choice([0.0, 0.1, 0.2])
        resolution, noise = rng.uniform(0.8, 1.1), 1 / rng.uniform(18, 50)
    elif rng.random() < 0.6:
        thickness, gap = rng.uniform(1, 2), 0.0
        resolution, noise = rng.uniform(0.65, 1.0), 1 / rng.uniform(10, 28)
    else:
        thickness, gap = rng.uniform(2, 3.5), rng.choice([0.0, 0.1])
        resolution, noise = rng.uniform(0.7, 1.1), 1 / rng.uniform(14, 35)
    fills = [f for f in (1.0, 1.0, 1.5, 2.0) if resolution / f >= 0.45]
    t2star = Slices(
        resolution, float(rng.choice(fills)), thickness, thickness * (1 + gap), noise, rng.uniform(0.1, 0.5)
    )
    t1_side = rng.uniform(0.9, 1.1)
    t1w = Slices(t1_side, 1.0, t1_side, t1_side, 1 / rng.uniform(15, 40), 0.2)
    if rng.random() < 0.4:
        side = rng.uniform(0.9, 1.2)
        t2w = Slices(side, 1.0, side, side, 1 / rng.uniform(15, 40), 0.2)
    else:
        thickness = rng.uniform(2.5, 5)
        t2w = Slices(rng.uniform(0.7, 1.0), 1.0, thickness, thickness * 1.1, 1 / rng.uniform(20, 60), 0.2)
    tilt = (rng.uniform(-24, 12), rng.normal(0, 2.5), rng.normal(0, 2.5))
    stored = (
        str(rng.choice(T2STAR_ORIENTATIONS)),
        str(rng.choice(["RAS", "LAS", "PSR", "LIA"])),
        str(rng.choice(["LPS", "RAS", "LAS"])),
    )
    return Protocol(b0, float(echo_time), t2star, t1w, t2w, tilt, stored)
