"""The detection grid: the T2* slices as acquired, in the plane resampled to 1 mm where they need it, coarse ones less.

Axes of the detection grid: the native ones, reordered and flipped to the closest RAS+, then the slice axis moved last.
Nothing is ever interpolated through the slices, and a scan that has about 1 mm in plane is not interpolated at all:
going there and back is then the identity, to the bit.
"""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from mbseg_bids.imaging.volume import Volume

IN_PLANE_SPACING = 1.0
"""In-plane voxel size of the detection grid, mm, of all but coarse scans."""
FINEST_SHARE = 1.6
"""A voxel of a coarse scan is divided into no more of them along an in-plane axis: enlarged further, a microbleed is a
blurred blob as networks that know sharp scans have seen none."""
SPACING_TOLERANCE = 0.05
"""Relative difference in spacing below which two spacings count as equal."""
_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class Grid:
    """A place for voxels, without values.

    Attributes
    ----------
    shape
        Voxels along the three axes; axis 2 is the slice axis of a detection grid.
    affine
        Shape (4, 4): voxel indices to RAS+ mm.
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along each axis."""
        x, y, z = (float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z


def every_nth_voxel(volume: Volume, n: int) -> Grid:
    """Return the grid of every n-th voxel along each axis, from the first."""
    i, j, k = (-(-count // n) for count in volume.shape)
    return Grid((i, j, k), volume.affine @ np.diag([float(n)] * 3 + [1.0]))


def slice_axis(affine: npt.NDArray) -> int:
    """Return the native axis across the slices: that of the largest spacing, of equals the one closest to S."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    tied = spacing * (1 + SPACING_TOLERANCE) >= spacing.max()
    towards_s = np.abs(affine[2, :3]) / spacing
    return int(np.argmax(np.where(tied, towards_s, -1.0)))


def in_plane_spacing(affine: npt.NDArray[np.float64]) -> float:
    """Return the in-plane voxel size of the detection grid (mm) for a scan's affine: by its finer in-plane axis.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.imaging.grids import in_plane_spacing
    >>> in_plane_spacing(np.diag([0.5, 0.5, 3.0, 1.0])), in_plane_spacing(np.diag([3.2, 3.2, 4.0, 1.0]))
    (1.0, 2.0)
    """
    return max(IN_PLANE_SPACING, round(float(native_in_plane(affine).min()) / FINEST_SHARE, 3))


def native_in_plane(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the voxel sizes (mm) of a scan along its two axes in plane, in their order."""
    return np.delete(np.linalg.norm(np.asarray(affine)[:3, :3], axis=0), slice_axis(affine))


def detection_grid(shape: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> Grid:
    """Return the detection grid of a scan.

    Parameters
    ----------
    shape, affine
        Native grid of the T2* scan; affine from voxel indices to RAS+ mm.

    Returns
    -------
    Grid
        It covers the whole field of view and shares its centre; slices coincide with the native ones.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import detection_grid
    >>> grid = detection_grid((200, 200, 40), np.diag([0.5, 0.5, 3.0, 1.0]))
    >>> grid.shape, grid.spacing
    ((100, 100, 40), (1.0, 1.0, 3.0))
    """
    affine = np.asarray(affine, np.float64)
    order, flips = _closest_ras_slices_last(affine)
    reorder = np.zeros((4, 4))
    reorder[3, 3] = 1.0
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        reorder[old, new] = flip
        reorder[old, 3] = shape[old] - 1 if flip < 0 else 0
    new_affine = affine @ reorder
    new_shape = [int(shape[old]) for old in order]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[list(order)]
    wanted = in_plane_spacing(affine)
    for axis in (0, 1):
        if abs(spacing[axis] / wanted - 1) <= SPACING_TOLERANCE:
            continue
        extent = new_shape[axis] * spacing[axis]
        count = max(1, int(np.ceil(extent / wanted - 1e-6)))
        scale = wanted / spacing[axis]
        # Both grids share their centre: native index (n - 1) / 2 is detection index (count - 1) / 2.
        offset = (new_shape[axis] - 1) / 2 - scale * (count - 1) / 2
        new_affine[:, 3] += new_affine[:, axis] * offset
        new_affine[:, axis] *= scale
        new_shape[axis] = count
    i, j, k = new_shape
    return Grid((i, j, k), new_affine)


def to_detection_grid(volume: Volume, grid: Grid, *, order: int = 1) -> Volume:
    """Bring a volume of the native T2* grid to its detection grid.

    Parameters
    ----------
    volume
        On the native grid that ``grid`` was made of.
    grid
        From :func:`detection_grid`.
    order
        1: linear where the detection grid is finer, mean over the voxel where it is coarser (no aliasing); float32
        wherever values are interpolated. 0: nearest voxel, for labels.

    Raises
    ------
    ValueError
        If the two grids do not share the directions of their axes.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import Volume, detection_grid, to_detection_grid
    >>> scan = Volume(np.arange(8.0).reshape(4, 2, 1).astype(np.float32), np.diag([0.5, 0.5, 3.0, 1.0]))
    >>> to_detection_grid(scan, detection_grid(scan.shape, scan.affine)).data[:, :, 0].tolist()
    [[1.5], [5.5]]
    """
    return Volume(_resample_aligned(volume, grid.shape, grid.affine, order), grid.affine.copy())


def probability_to_native(probability: Volume, shape: tuple[int, int, int], affine: npt.NDArray) -> Volume:
    """Bring values of the detection grid back to the native grid, linearly; the affine is kept to the bit.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import Volume, probability_to_native
    >>> found = Volume(np.array([0.0, 1.0], np.float32).reshape(2, 1, 1), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> native = probability_to_native(found, (3, 1, 1), np.diag([0.5, 1.0, 3.0, 1.0]))
    >>> native.data[:, 0, 0].tolist()
    [0.0, 0.5, 1.0]
    """
    return Volume(_resample_aligned(probability, shape, affine, 1), np.array(affine, np.float64))


def mask_to_native(mask: Volume, shape: tuple[int, int, int], affine: npt.NDArray) -> Volume:
    """Bring a mask or a map of large regions back to the native grid, by the nearest voxel.

    Lesions go through :func:`labels_to_native`, which loses none.
    """
    return Volume(_resample_aligned(mask, shape, affine, 0), np.array(affine, np.float64))


def labels_to_native(labels: Volume, shape: tuple[int, int, int], affine: npt.NDArray) -> Volume:
    """Bring lesion labels of the detection grid back to the native grid.

    Every label survives, if need be as the one native voxel that is nearest to it; labels that do not touch
    (26-neighbourhood) on the detection grid do not touch on the native one, unless that would remove a label.

    Parameters
    ----------
    labels
        Integers on the detection grid, 0 = background.
    shape, affine
        The native grid.

    Returns
    -------
    Volume
        int32 on the native grid, its affine equal to ``affine`` to the bit.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import Volume, labels_to_native
    >>> labels = np.zeros((9, 9, 1), np.int32)
    >>> labels[2, 2], labels[6, 6] = 1, 2
    >>> native = labels_to_native(Volume(labels, np.eye(4)), (4, 4, 1), np.diag([2.4, 2.4, 1.0, 1.0]))
    >>> np.unique(native.data).tolist()  # none is lost, though the voxels are larger than the lesions
    [0, 1, 2]
    """
    affine = np.array(affine, np.float64)
    native = _resample_aligned(labels, shape, affine, 0).astype(np.int32)
    return Volume(restore_labels(native, affine, labels), affine)


def restore_labels(resampled: npt.NDArray[np.int32], affine: npt.NDArray, labels: Volume) -> npt.NDArray[np.int32]:
    """Put right what nearest-voxel resampling does to small labels: bring back lost ones, part those that now touch.

    Parameters
    ----------
    resampled, affine
        ``labels`` after resampling, and the grid it is on. Shape (i, j, k).
    labels
        Before resampling, on its own grid.

    Returns
    -------
    int32 array on the grid of ``resampled``. A label that lies wholly outside this grid is put on its nearest voxel.
    """
    resampled = resampled.copy()
    wanted = np.unique(labels.data[labels.data > 0])
    lost = np.setdiff1d(wanted, resampled)
    for label in lost.tolist():
        _place(resampled, label, affine, labels)
    _part(resampled, affine, labels)
    return resampled


def touching_labels(labels: npt.NDArray) -> set[tuple[int, int]]:
    """Return the pairs (a < b) of positive labels that have 26-neighbouring voxels."""
    pairs: set[tuple[int, int]] = set()
    for offset in np.ndindex(3, 3, 3):
        step = np.array(offset) - 1
        if tuple(step) <= (0, 0, 0):  # each pair of neighbours once
            continue
        here = labels[tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, labels.shape, strict=True))]
        there = labels[tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, labels.shape, strict=True))]
        meet = (here > 0) & (there > 0) & (here != there)
        found = np.unique(np.sort(np.stack([here[meet], there[meet]]), axis=0), axis=1)
        pairs.update((int(a), int(b)) for a, b in found.T)
    return pairs


def _closest_ras_slices_last(affine: npt.NDArray) -> tuple[list[int], list[int]]:
    """Return for each axis of the detection grid the native axis it comes from, and its sign."""
    orientation = nib.io_orientation(affine)
    by_world = {int(world): (native, int(sign)) for native, (world, sign) in enumerate(orientation)}
    across = slice_axis(affine)
    ordered = [by_world[world] for world in range(3)]
    ordered = [pair for pair in ordered if pair[0] != across] + [pair for pair in ordered if pair[0] == across]
    return [native for native, _ in ordered], [sign for _, sign in ordered]


def _resample_aligned(volume: Volume, shape: tuple[int, int, int], affine: npt.NDArray, order: int) -> npt.NDArray:
    """Resample between grids whose axes are parallel, one axis after the other; copy where they coincide."""
    index_map = np.linalg.inv(volume.affine) @ np.asarray(affine, np.float64)
    linear = index_map[:3, :3]
    source_axis = np.argmax(np.abs(linear), axis=0)  # for each axis of the result
    off_axis = np.abs(linear).copy()
    off_axis[source_axis, range(3)] = 0
    # A stray tilt matters by what it adds up to over the whole axis.
    if sorted(source_axis) != [0, 1, 2] or (off_axis * np.asarray(shape)).max() > 0.05:
        raise ValueError("the axes of the two grids are not parallel")
    data = volume.data.transpose(tuple(source_axis))
    for axis in range(3):
        scale = linear[source_axis[axis], axis]
        positions = scale * np.arange(shape[axis]) + index_map[source_axis[axis], 3]
        data = _resample_axis(data, axis, positions, abs(scale), order)
    return np.ascontiguousarray(data)


def _resample_axis(data: npt.NDArray, axis: int, positions: npt.NDArray, width: float, order: int) -> npt.NDArray:
    """Sample ``data`` at ``positions`` (in voxels) of one axis, beyond its ends as at the ends."""
    count = data.shape[axis]
    nearest = np.rint(positions)
    if order == 0 or (abs(width - 1) < 1e-3 and np.abs(positions - nearest).max() < 1e-2):
        return np.take(data, np.clip(nearest, 0, count - 1).astype(int), axis=axis)
    weights = _mean_weights(positions, width, count) if width > 1 else _linear_weights(positions, count)
    moved = np.moveaxis(data, axis, 0).astype(np.float32)
    result = weights @ moved.reshape(count, -1)
    return np.moveaxis(np.asarray(result, np.float32).reshape(len(positions), *moved.shape[1:]), 0, axis)


def _linear_weights(positions: npt.NDArray, count: int) -> sparse.csr_array:
    inside = np.clip(positions, 0, count - 1)
    low = np.minimum(np.floor(inside).astype(int), max(count - 2, 0))
    high = np.minimum(low + 1, count - 1)
    rows = np.arange(len(positions))
    share = inside - low
    values = np.concatenate([1 - share, share]).astype(np.float32)
    shape = (len(positions), count)
    return sparse.coo_array((values, (np.tile(rows, 2), np.concatenate([low, high]))), shape=shape).tocsr()


def _mean_weights(positions: npt.NDArray, width: float, count: int) -> sparse.csr_array:
    """Weights of the mean over ``width`` voxels: what a scan of this coarser voxel size would have seen."""
    edges = np.arange(count)
    start = np.maximum(positions[:, None] - width / 2, edges[None] - 0.5)
    stop = np.minimum(positions[:, None] + width / 2, edges[None] + 0.5)
    overlap = np.maximum(stop - start, 0)
    total = overlap.sum(axis=1, keepdims=True)
    nearest = np.eye(count)[np.clip(np.rint(positions), 0, count - 1).astype(int)]
    weights = np.where(total > 1e-6, overlap / np.maximum(total, 1e-6), nearest)
    return sparse.csr_array(weights.astype(np.float32))


def _place(resampled: npt.NDArray, label: int, affine: npt.NDArray, labels: Volume) -> None:
    """Write a lost label into the nearest voxel that is free, else into a voxel that its owner can spare."""
    voxels = np.argwhere(labels.data == label)
    to_new = np.linalg.inv(affine) @ labels.affine
    positions = voxels @ to_new[:3, :3].T + to_new[:3, 3]
    start = np.clip(np.rint(positions.mean(axis=0)), 0, np.array(resampled.shape) - 1).astype(int)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    for reach in (1, 3, max(resampled.shape)):
        low, high = np.maximum(start - reach, 0), np.minimum(start + reach + 1, resampled.shape)
        near = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 3)
        gaps = np.linalg.norm((near[:, None] - positions[None]) * spacing, axis=-1).min(axis=1)
        near = near[np.lexsort((*near.T, gaps))]
        owners = resampled[tuple(near.T)]
        for voxel, owner in zip(near, owners, strict=True):
            if owner == 0 or np.count_nonzero(resampled == owner) > 1:
                resampled[tuple(voxel)] = label
                return


def _part(resampled: npt.NDArray, affine: npt.NDArray, labels: Volume) -> None:
    """Clear voxels between labels that touch now and did not before; the farther voxel of each pair goes."""
    merged = touching_labels(resampled) - touching_labels(labels.data)
    for pair in sorted(merged):
        distances = {label: _distance_to_label(label, resampled, affine, labels) for label in pair}
        contact = []
        for label, other in (pair, pair[::-1]):
            beside = ndimage.binary_dilation(resampled == other, _NEIGHBOURS) & (resampled == label)
            contact += [(-distances[label][tuple(v)], label, *v) for v in np.argwhere(beside).tolist()]
        for _, label, *voxel in sorted(contact):
            around = tuple(slice(max(0, v - 1), v + 2) for v in voxel)
            other = pair[1] if label == pair[0] else pair[0]
            if (resampled[around] == other).any() and np.count_nonzero(resampled == label) > 1:
                resampled[tuple(voxel)] = 0


def _distance_to_label(label: int, resampled: npt.NDArray, affine: npt.NDArray, labels: Volume) -> dict:
    """Return for each voxel of a resampled label its distance in mm to the nearest voxel centre of the original."""
    old = np.argwhere(labels.data == label) @ labels.affine[:3, :3].T + labels.affine[:3, 3]
    voxels = np.argwhere(resampled == label)
    new = voxels @ affine[:3, :3].T + affine[:3, 3]
    gaps = np.linalg.norm(new[:, None] - old[None], axis=-1).min(axis=1)
    return {tuple(v): float(g) for v, g in zip(voxels.tolist(), gaps, strict=True)}
