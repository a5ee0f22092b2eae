"""What is odd about an image that can be read: said as warnings, or refused where no result could be right."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from mbseg_bids.bids.validation import ImageHeader, open_image, orientation_is_stated, read_image
from mbseg_bids.errors import UnreadableDataError

LARGEST_NEGATIVE_SHARE = 0.1
"""Part of the voxels of a T2* image that may lie below zero: a magnitude has none, interpolation makes a few."""

LARGEST_SHIFT = 1.0
"""How far, mm, two statements of a header may place a corner apart before a user is told."""

SLAB = (100.0, 30.0)
"""A field of view of at least the first (mm) in plane and less than the second across is a slab."""

SMALLEST_ANATOMY = 60.0
"""Field of view, mm across the slices, below which brain and regions cannot be found on an image alone. Cut from a
scan and registered to the template on its own, a slab lies far from its place: docs/limits.md has the figures."""

_PHASE_SPREAD = 0.85
_SMALLEST_CORNERS = 500


def inspect_image(path: Path, contrast: str) -> list[str]:
    """Read an image that is going to be used; return what is odd about it, one sentence each.

    Raises
    ------
    UnreadableDataError
        If it cannot be read, or cannot be what its name says.
    """
    header, data = read_image(path)
    warnings = _about_orientation(path, header, contrast)
    warnings += _about_extent(path, header)
    warnings += _about_values(path, data, contrast)
    return warnings


def require_anatomy(name: str, header: ImageHeader, contrast: str) -> None:
    """Refuse a slab that the anatomy would have to be found on: its brain cannot be placed.

    Parameters
    ----------
    name
        Of its file.
    header, contrast
        Of the image that stands for the T1w of the session.

    Raises
    ------
    UnreadableDataError
        If it is too thin.
    """
    extent = min(n * size for n, size in zip(header.shape, header.spacing, strict=True))
    longest = max(n * size for n, size in zip(header.shape, header.spacing, strict=True))
    if longest >= SLAB[0] and extent < SMALLEST_ANATOMY:
        kind = {"T2w": "a T1w", "T2starw": "a T1w or T2w"}.get(contrast, "one of the whole brain")
        raise UnreadableDataError(
            f"{name} covers only {extent:.0f} mm, too little to find brain and regions on it "
            f"(at least {SMALLEST_ANATOMY:.0f} mm)",
            f"add {kind} of the whole brain",
        )


def _about_orientation(path: Path, header: ImageHeader, contrast: str) -> list[str]:
    if not orientation_is_stated(path):
        return [f"{path.name}: header states no orientation, so the {contrast} may be mirrored"]
    warnings = []
    fields = open_image(path).header
    if isinstance(fields, nib.Nifti1Header) and int(fields["qform_code"]) and int(fields["sform_code"]):
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in header.shape])).reshape(3, -1)
        try:
            difference = fields.get_qform() - fields.get_sform()
            shift = float(np.abs(difference[:3, :3] @ corners + difference[:3, 3:]).max())
        except (ValueError, HeaderDataError):
            shift = 0.0  # an impossible qform is of no account beside an sform
        if shift > LARGEST_SHIFT:
            warnings.append(
                f"{path.name}: qform and sform place the image up to {shift:.0f} mm apart; the sform is used"
            )
    if isinstance(fields, nib.Nifti1Header):
        stated = np.array(fields.get_zooms()[:3], float)
        if not np.allclose(stated, header.spacing, rtol=0.05):
            both = [" x ".join(f"{size:.3g}" for size in sizes) for sizes in (stated, header.spacing)]
            warnings.append(f"{path.name}: voxels of {both[0]} mm by pixdim, {both[1]} mm by the sform, which is used")
    return warnings


def _about_extent(path: Path, header: ImageHeader) -> list[str]:
    extent = sorted(n * size for n, size in zip(header.shape, header.spacing, strict=True))
    if extent[1] >= SLAB[0] and extent[0] < SLAB[1]:
        return [f"{path.name} covers only {extent[0]:.0f} mm: counts are of this slab, and its position is uncertain"]
    return []


def _about_values(path: Path, data: np.ndarray, contrast: str) -> list[str]:
    warnings = []
    if data.dtype.kind == "f":
        lost = 1 - np.count_nonzero(np.isfinite(data)) / data.size
        if lost > 0:
            warnings.append(f"{path.name}: {_percent(lost)} of the values are not finite; they count as zero")
    negative = np.count_nonzero(data < 0) / data.size
    if negative > LARGEST_NEGATIVE_SHARE:
        if contrast == "T2starw":
            raise UnreadableDataError(
                f"{path.name} is no magnitude image: {_percent(negative)} of its values are below zero",
                "give the magnitude; phase and normalised images cannot be used",
            )
        done = "the image is lifted to zero" if contrast == "T1w" else "they count as zero"
        warnings.append(f"{path.name}: {_percent(negative)} of the values are below zero; {done}")
    if contrast == "T2starw" and _looks_like_phase(data):
        warnings.append(
            f"{path.name} looks like a phase image: its background has values of the whole range; do not use the result"
        )
    return warnings


def _looks_like_phase(data: np.ndarray) -> bool:
    """Tell whether the corners of the image, air in a magnitude, hold noise as wide as all its values."""
    size = [max(1, n // 10) for n in data.shape]
    corners = np.concatenate(
        [
            data[tuple(slice(None, s) if low else slice(-s, None) for s, low in zip(size, ends, strict=True))].ravel()
            for ends in np.ndindex(2, 2, 2)
        ]
    )
    corners = corners[np.isfinite(corners)]
    if corners.size < _SMALLEST_CORNERS:
        return False
    low, high = np.percentile(data[np.isfinite(data)], (0.5, 99.5))
    spread = np.percentile(corners, 95) - np.percentile(corners, 5)
    return bool(spread > _PHASE_SPREAD * (high - low))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"
