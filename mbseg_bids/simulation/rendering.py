"""What sources do to the voxels of an acquired grid: the complex mean over sub-voxels, in a box around each source.

Blooming (a lesion looks larger than it is, and more so with a longer echo time or a stronger field) follows from it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.susceptibility import Source


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
    *,
    reach: float = 1.0,
) -> tuple[slice, slice, slice] | None:
    """Box of voxels that the sources reach, its edges rounded outwards to `multiple`; None if outside the grid.

    `reach` multiplies how far they do.
    """
    low = np.min([source.bounds[0] - (reach - 1) * source.reach for source in sources], axis=0)
    high = np.max([source.bounds[1] + (reach - 1) * source.reach for source in sources], axis=0)
    corners = np.array([[(low, high)[c][axis] for axis, c in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    inverse = np.linalg.inv(affine)
    voxels = corners @ inverse[:3, :3].T + inverse[:3, 3]
    block = np.asarray(multiple)
    start = np.floor((voxels.min(axis=0) + 0.5) / block).astype(int) * block
    stop = np.ceil((voxels.max(axis=0) + 0.5) / block).astype(int) * block
    start, stop = np.maximum(start, 0), np.minimum(stop, shape)
    if (start >= stop).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return i, j, k


def reached_voxels(
    sources: Sequence[Source],
    box: tuple[slice, slice, slice],
    affine: npt.NDArray[np.float64],
    *,
    within: Callable[[Source], float] = lambda source: source.reach,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Indices (n, 3) of the voxels of a box any part of which lies `within` a distance of a source."""
    sides = [torch.arange(side.start, side.stop, device=device) for side in box]
    voxels = torch.stack(torch.meshgrid(*sides, indexing="ij")).reshape(3, -1).T
    points = _to_world(voxels.to(torch.float32), affine)
    half_diagonal = float(np.linalg.norm(np.abs(affine[:3, :3]).sum(axis=1))) / 2
    near = torch.zeros(len(voxels), dtype=torch.bool, device=device)
    for source in sources:
        near |= source.squared_distance(points) <= (within(source) + half_diagonal) ** 2
    return voxels[near]


def _to_world(voxels: Tensor, affine: npt.NDArray[np.float64]) -> Tensor:
    """Voxel coordinates (..., 3) to mm, each component of the result contiguous."""
    rows = affine[:3].tolist()
    x, y, z = voxels[..., 0], voxels[..., 1], voxels[..., 2]
    return torch.stack([a * x + b * y + c * z + d for a, b, c, d in rows]).movedim(0, -1)


def sub_voxel_points(voxels: Tensor, affine: npt.NDArray[np.float64], pitch: float, gap: float = 0.0) -> Tensor:
    """Centres (mm) of the sub-voxels, at most `pitch` mm long, of voxels (n, 3): shape (n, sub-voxels, 3).

    None lies in the `gap`, a share of the slice axis.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    counts = np.maximum(1, np.ceil(spacing / pitch - 1e-6)).astype(int)
    shifts = [(torch.arange(n, device=voxels.device, dtype=torch.float32) + 0.5) / n - 0.5 for n in counts.tolist()]
    shifts[2] = shifts[2] * (1 - gap)
    within = torch.stack(torch.meshgrid(*shifts, indexing="ij")).reshape(3, -1).T
    return _to_world(voxels[:, None].to(torch.float32) + within, affine)


def _chunks(
    voxels: Tensor, affine: npt.NDArray[np.float64], pitch: float, chunk: int | None, gap: float = 0.0
) -> Iterator[Tensor]:
    """Points of `sub_voxel_points` in portions: on a CPU such as its cache holds."""
    if chunk is None:
        chunk = 2**15 if voxels.device.type == "cpu" else 2**22
    per_voxel = int(np.prod(np.ceil(np.linalg.norm(affine[:3, :3], axis=0) / pitch)))
    for part in voxels.split(max(1, chunk // per_voxel)):
        yield sub_voxel_points(part, affine, pitch, gap)


def sample(volume: Volume, points: Tensor) -> Tensor:
    """Values of a volume (its data an array or a tensor) at points (..., 3) in mm, linear, the edge continued."""
    data = torch.as_tensor(volume.data, dtype=torch.float32, device=points.device)
    half = (np.array(data.shape) - 1) / 2
    # Torch's coordinates go from -1 to 1 between the first and the last voxel, the last axis first.
    scaled = np.diag([*(1 / np.maximum(half, 0.5)), 1.0]) @ np.linalg.inv(volume.affine)
    scaled[:3, 3] -= np.where(half > 0, 1.0, 0.0)
    places = _to_world(points, scaled[[2, 1, 0, 3]])
    values = functional.grid_sample(
        data[None, None], places.reshape(1, 1, 1, -1, 3), padding_mode="border", align_corners=True
    )
    return values.reshape(points.shape[:-1])


def _scatter(voxels: Tensor, values: Tensor, box: tuple[slice, slice, slice], fill: float) -> npt.NDArray:
    """Array of the box with values (n,) at voxels (n, 3)."""
    result = torch.full([side.stop - side.start for side in box], fill, dtype=values.dtype)
    start = torch.tensor([side.start for side in box])
    result[tuple((voxels.cpu() - start).T)] = values.cpu()
    return result.numpy()


def occupancy(
    sources: Sequence[Source],
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    pitch: float = 0.34,
    device: torch.device | str = "cpu",
) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.float32]] | None:
    """Box of a grid and the fraction of each of its voxels that sources fill; None where they lie outside the grid."""
    box = bounding_box(sources, affine, shape)
    if box is None:
        return None
    voxels = reached_voxels(sources, box, affine, within=lambda source: source.radius, device=device)
    shares = [torch.empty(0, device=device)]
    for points in _chunks(voxels, affine, pitch, None):
        filled = torch.zeros(points.shape[:-1], dtype=torch.bool, device=device)
        for source in sources:
            filled |= source.squared_distance(points) <= source.radius**2
        shares.append(filled.float().mean(dim=1))
    return box, _scatter(voxels, torch.cat(shares), box, 0.0)


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
    reach: float = 1.0,
    device: torch.device | str = "cpu",
    chunk: int | None = None,
    gap: float = 0.0,
) -> Patch | None:
    """Signal of the voxels around sources: complex mean over sub-voxels of rho exp(-TE / T2*) exp(i gamma dBz TE).

    Parameters
    ----------
    sources
        Their fields add up.
    affine, shape
        Of the acquired grid; voxel indices to scanner RAS+ mm.
    background
        Signal rho exp(-TE / T2*) of the tissue without sources, on any grid; uniform if not given. Its data may be a
        tensor, already on the device.
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
    reach
        Multiplies the distance from a source at which its field is neglected.
    device
        Where to compute.
    chunk
        Sub-voxels computed at a time: decides speed and memory, not the result.
    gap
        Share of the slice axis (the third) that lies between slices and gives no signal.

    Returns
    -------
    None where the sources lie outside the grid. Voxels that no source reaches have the ratio 1.
    """
    box = bounding_box(sources, affine, shape, multiple, reach=reach)
    if box is None:
        return None
    voxels = reached_voxels(sources, box, affine, within=lambda source: reach * source.reach, device=device)
    ratios = [torch.empty(0, dtype=torch.complex64, device=device)]
    shares = [torch.empty(0, device=device)]
    for points in _chunks(voxels, affine, pitch, chunk, gap):
        field = torch.zeros(points.shape[:-1], device=device)
        inner = torch.full_like(field, torch.inf)  # where sources overlap, the darker material counts
        occupied = torch.zeros(field.shape, dtype=torch.bool, device=device)
        for source in sources:
            inside, change = source.effect(points, field_strength)
            field += change
            decay = float(source.density * np.exp(-echo_time / source.t2star + echo_time / tissue_t2star))
            inner = torch.where(inside, inner.clamp_max(decay), inner)
            occupied |= inside
        rho = torch.ones_like(field) if background is None else sample(background, points).clamp_min(1e-6)
        phase = GYROMAGNETIC_RATIO * echo_time * 1e-3 * field
        inner = torch.where(occupied, inner, 1.0) * rho
        ratios.append(torch.complex((inner * phase.cos()).mean(1), (inner * phase.sin()).mean(1)) / rho.mean(1))
        shares.append(occupied.float().mean(dim=1))
    return Patch(
        box,
        _scatter(voxels, torch.cat(ratios), box, 1.0),
        _scatter(voxels, torch.cat(shares), box, 0.0),
    )
