"""What sources do to the voxels of an acquired grid: the complex mean over sub-voxels, in a box around each source.

Blooming (a lesion looks larger than it is, and more so with a longer echo time or a stronger field) follows from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.susceptibility import GYROMAGNETIC_RATIO, Points, Source


@dataclass(frozen=True, eq=False)
class Patch:
    """What sources do to the voxels of a box of a grid.

    Attributes
    ----------
    box
        Slices into the grid.
    ratio
        Complex signal with the sources / signal without them, on that box.
    occupancy
        Fraction of each voxel that the sources fill, on that box.
    """

    box: tuple[slice, slice, slice]
    ratio: npt.NDArray[np.complex64]
    occupancy: npt.NDArray[np.float32]


def bounding_box(
    sources: Sequence[Source],
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    multiple: Sequence[int] = (1, 1, 1),
) -> tuple[slice, slice, slice] | None:
    """Box of voxels that the sources reach, its edges rounded outwards to `multiple`; None if outside the grid."""
    low = np.min([source.bounds[0] for source in sources], axis=0)
    high = np.max([source.bounds[1] for source in sources], axis=0)
    corners = np.array([[(low, high)[c][axis] for axis, c in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    inverse = np.linalg.inv(affine)
    voxels = corners @ inverse[:3, :3].T + inverse[:3, 3]
    multiple = np.asarray(multiple)
    start = np.floor((voxels.min(axis=0) + 0.5) / multiple).astype(int) * multiple
    stop = np.ceil((voxels.max(axis=0) + 0.5) / multiple).astype(int) * multiple
    start, stop = np.maximum(start, 0), np.minimum(stop, shape)
    if (start >= stop).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def sub_voxel_points(
    box: tuple[slice, slice, slice], affine: npt.NDArray[np.float64], pitch: float
) -> tuple[npt.NDArray[np.float32], tuple[int, int, int]]:
    """Centres (mm) of the sub-voxels of a box, shape (I, a, J, b, K, c, 3): a, b, c of them along the axes of a voxel.

    Returns the points and (a, b, c), chosen so that sub-voxels are at most `pitch` mm long.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    counts = tuple(int(n) for n in np.maximum(1, np.ceil(spacing / pitch - 1e-6)))
    steps = []
    for axis in range(3):
        centres = np.arange(box[axis].start, box[axis].stop, dtype=np.float64)[:, None]
        within = (np.arange(counts[axis]) + 0.5) / counts[axis] - 0.5
        steps.append((centres + within)[..., None] * affine[:3, axis])
    points = (
        steps[0][:, :, None, None, None, None]
        + steps[1][None, None, :, :, None, None]
        + steps[2][None, None, None, None]
        + affine[:3, 3]
    )
    return points.astype(np.float32), counts


def sample(volume: Volume, points: Points) -> npt.NDArray[np.float32]:
    """Values of a volume at points (..., 3) in mm, linear, the edge continued."""
    inverse = np.linalg.inv(volume.affine)
    voxels = points.reshape(-1, 3) @ inverse[:3, :3].T.astype(points.dtype) + inverse[:3, 3].astype(points.dtype)
    values = ndimage.map_coordinates(volume.data, voxels.T, order=1, mode="nearest", output=np.float32)
    return values.reshape(points.shape[:-1])


def occupancy(
    sources: Sequence[Source], affine: npt.NDArray[np.float64], shape: Sequence[int], *, pitch: float = 0.34
) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.float32]] | None:
    """Box of a grid and the fraction of each of its voxels that sources fill; None where they lie outside the grid."""
    box = bounding_box(sources, affine, shape)
    if box is None:
        return None
    points, _ = sub_voxel_points(box, affine, pitch)
    filled = np.zeros(points.shape[:-1], dtype=bool)
    for source in sources:
        filled |= source.inside(points)
    return box, filled.mean(axis=(1, 3, 5), dtype=np.float32)


def render(
    sources: Sequence[Source],
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    background: Volume | None = None,
    echo_time: float,
    field_strength: float,
    tissue_t2star: float = 50.0,
    pitch: float = 0.25,
    multiple: Sequence[int] = (1, 1, 1),
) -> Patch | None:
    """Signal of the voxels around sources: complex mean over sub-voxels of rho exp(-TE / T2*) exp(i gamma dBz TE).

    Parameters
    ----------
    sources
        Their fields add up.
    affine, shape
        Of the acquired grid; voxel indices to scanner RAS+ mm.
    background
        Signal rho exp(-TE / T2*) of the tissue without sources, on any grid; uniform if not given.
    echo_time
        ms.
    field_strength
        T.
    tissue_t2star
        T2* (ms) of the tissue that a source replaces: `background` already contains its decay.
    pitch
        Longest side of a sub-voxel, mm.
    multiple
        Make the box start and stop at multiples of this many voxels, for later averaging of blocks.

    Returns
    -------
    None where the sources lie outside the grid.
    """
    box = bounding_box(sources, affine, shape, multiple)
    if box is None:
        return None
    points, _ = sub_voxel_points(box, affine, pitch)
    rho = np.float32(1) if background is None else np.maximum(sample(background, points), 1e-6)
    field = np.zeros(points.shape[:-1], dtype=np.float32)
    inner = np.ones(points.shape[:-1], dtype=np.float32)
    occupied = np.zeros(points.shape[:-1], dtype=bool)
    for source in sources:
        inside, change = source.effect(points, field_strength)
        field += change
        decay = source.density * np.exp(-echo_time / source.t2star + echo_time / tissue_t2star)
        inner[inside] = np.minimum(inner[inside], decay)
        occupied |= inside
    phase = np.float32(GYROMAGNETIC_RATIO * echo_time * 1e-3) * field
    axes = (1, 3, 5)
    amplitude = rho * inner
    real, imaginary = (amplitude * np.cos(phase)).mean(axis=axes), (amplitude * np.sin(phase)).mean(axis=axes)
    without = np.broadcast_to(rho, phase.shape).mean(axis=axes)
    ratio = ((real + 1j * imaginary) / without).astype(np.complex64)
    return Patch(box, ratio, occupied.mean(axis=axes, dtype=np.float32))
