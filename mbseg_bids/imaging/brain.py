"""The brain mask of a T1w image, and what can be told of a mask without knowing the truth."""

from collections.abc import Iterator
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.volume import Volume

LOCATE_SIDE = 128
"""Voxels along each side of what the first network sees: the whole image, squeezed."""
SEGMENT_SIDE = 256
"""Voxels along each side of what the second network sees: the box around the brain."""
BOX_MARGIN = 0.1
PLAUSIBLE_VOLUME = (600.0, 2200.0)
"""Brain with its CSF, ml: beyond this the mask is flagged. Widest published adult range with a margin."""
_TOUCH_ALL = np.ones((3, 3, 3), bool)


def extract_brain(head: Volume) -> npt.NDArray[np.bool_]:
    """Outline brain and the CSF in and around it on a T1w image, any orientation and voxel size.

    Two networks as in deepbet (Fisch et al. 2024): the first finds the brain, the second outlines it within its box.
    The largest part is kept and its holes are filled. One thread, so that every machine finds the same mask.

    Returns
    -------
    Mask of the shape of ``head``.

    Raises
    ------
    UnreadableDataError
        If no brain is found.
    """
    import torch

    from mbseg_bids.imaging.brain_network import load_brain_network

    orientation = nib.io_orientation(head.affine)
    image = nib.apply_orientation(np.asarray(head.data, np.float32), orientation)
    image = torch.from_numpy(np.nan_to_num(np.ascontiguousarray(image), nan=0.0, posinf=0.0, neginf=0.0))
    with torch.inference_mode(), _one_torch_thread():
        small = _squeeze(image, (LOCATE_SIDE,) * 3)
        low, high = np.quantile(small.numpy(), (0.005, 0.995))
        if not high > low:
            raise UnreadableDataError("the T1w image is flat", "look at the image")
        rough = load_brain_network("locate")(_normalise(small, low, high)[None, None])[0, 1].numpy() > 0.5
        box = _box(largest_component(rough), tuple(image.shape))
        detail = _normalise(_squeeze(image[box], (SEGMENT_SIDE,) * 3), low, high)
        probability = load_brain_network("segment")(detail[None, None])[0, 1]
        inside = _squeeze(probability, tuple(image[box].shape)).numpy() > 0.5
    mask = np.zeros(tuple(image.shape), bool)
    mask[box] = ndimage.binary_fill_holes(largest_component(inside))
    if not mask.any():
        raise UnreadableDataError("no brain was found in the T1w image", "look at the image, or give a brain mask")
    back = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), orientation)
    return np.ascontiguousarray(nib.apply_orientation(mask, back))


def largest_component(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the largest 26-connected part of a mask; of equals, the one met first."""
    parts, count = ndimage.label(mask, _TOUCH_ALL)
    if count < 2:
        return np.asarray(mask, bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def volume_warning(mask: npt.NDArray[np.bool_], voxel_volume: float) -> str | None:
    """Return a sentence if the volume of a brain mask is implausible, else None; ``voxel_volume`` in mm3."""
    millilitres = np.count_nonzero(mask) * voxel_volume / 1000
    low, high = PLAUSIBLE_VOLUME
    if low <= millilitres <= high:
        return None
    return f"the brain mask holds {millilitres:.0f} ml, outside {low:.0f} to {high:.0f} ml"


def dice(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return twice the common volume over the sum of both; 1 for two empty masks."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else 1.0


def _squeeze(image, shape: tuple[int, int, int]):
    """Resample by the nearest voxel, corner to corner: what the networks were trained on."""
    import torch

    return torch.nn.functional.interpolate(image[None, None], shape, mode="nearest-exact")[0, 0]


def _normalise(image, low: float, high: float):
    """Clip, centre and scale as in the training of the networks."""
    clipped = ((image - low) / (high - low)).clamp(0, 1)
    return 0.226 * (clipped - clipped.mean()) / clipped.std() + 0.449


def _box(rough: npt.NDArray[np.bool_], shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """Return the box around the brain in the full image, widened by a tenth on each side."""
    box: list[slice] = []
    for axis, count in enumerate(shape):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(rough.mean(axis=others) > 0.02)
        if filled.size == 0:
            raise UnreadableDataError("no brain was found in the T1w image", "look at the image, or give a brain mask")
        scale = count / rough.shape[axis]
        centre = round(scale * (filled[-1] + 1 + filled[0]) / 2)
        size = round(scale * (1 + 2 * BOX_MARGIN) * (filled[-1] + 1 - filled[0]))
        box.append(slice(max(0, int(centre - size / 2)), min(count, int(centre + size / 2))))
    i, j, k = box
    return i, j, k


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
