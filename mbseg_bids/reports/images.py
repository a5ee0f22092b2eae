"""The images of a session, brought to canonical axes on the grid of its T2*-weighted image."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.figures import intensity_window
from mbseg_bids.reports.session_files import SessionFiles
from mbseg_bids.reports.views import sample_on, slice_axis, to_canonical

LOCAL_PHASE = "part-phase_space-T2starw_desc-local_T2starw.nii.gz"


@dataclass(frozen=True)
class SessionImages:
    """Arrays of one shape (i, j, k), axes to Right, Anterior, Superior, at the T2* voxels; nothing interpolated in T2*.

    Attributes
    ----------
    native, canonical
        The T2* image as written, and the same voxels with canonical axes.
    contrasts
        ``T2starw``, ``T2w``, ``T1w``: those that were found.
    windows
        Display range of each contrast.
    brain, regions, lesions, candidates
        Masks and labels, where found.
    before
        T1w and T2w as they lie by their headers alone, where that can be told.
    phase
        Local phase, rad, of a session whose phase was used.
    """

    native: Volume
    canonical: Volume
    contrasts: Mapping[str, npt.NDArray]
    windows: Mapping[str, tuple[float, float]]
    brain: npt.NDArray[np.bool_] | None
    regions: npt.NDArray | None
    lesions: npt.NDArray | None
    candidates: npt.NDArray | None
    before: Mapping[str, npt.NDArray] = field(default_factory=dict)
    phase: npt.NDArray[np.float32] | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along the canonical axes."""
        return self.canonical.spacing

    @property
    def axis(self) -> int:
        """Canonical axis through the slices."""
        return slice_axis(self.spacing)

    @cached_property
    def extent(self) -> npt.NDArray[np.bool_]:
        """The brain, or the head where the brain is not known."""
        return self.brain if self.brain is not None and self.brain.any() else self.head

    @cached_property
    def head(self) -> npt.NDArray[np.bool_]:
        """Voxels with a signal on T2*."""
        t2star = self.contrasts["T2starw"]
        return t2star > 0.1 * np.percentile(t2star, 99)

    @cached_property
    def lesion_boxes(self) -> list[tuple[slice, ...] | None]:
        """Bounding box of each lesion label, at index label - 1; ``None`` where a label has no voxel."""
        return [] if self.lesions is None else ndimage.find_objects(self.lesions)

    @cached_property
    def candidate_boxes(self) -> list[tuple[slice, ...] | None]:
        """Bounding box of each candidate label, like :attr:`lesion_boxes`."""
        return [] if self.candidates is None else ndimage.find_objects(self.candidates)


def voxels_of(label: int, labels: npt.NDArray | None, boxes: list[tuple[slice, ...] | None]) -> npt.NDArray[np.int64]:
    """Return the indices (n, 3) of a label's voxels; none if it has none."""
    box = boxes[label - 1] if 0 < label <= len(boxes) else None
    if labels is None or box is None:
        return np.empty((0, 3), np.int64)
    return np.argwhere(labels[box] == label) + [axis.start for axis in box]


def load_images(
    files: SessionFiles, without: Collection[str] = (), transforms: Mapping[str, npt.NDArray] | None = None
) -> SessionImages | None:
    """Read what the report shows; nothing without a T2* image. What is missing is noted in ``files.problems``.

    ``without`` names contrasts that the session does not have: they are not looked for. ``transforms`` gives 4 x 4
    matrices by contrast that take its points to points of T2*, RAS+ mm.
    """
    native = files.volume("desc-preproc_T2starw.nii.gz", "T2*-weighted image")
    lesions = files.volume("space-T2starw_seg-CMB_dseg.nii.gz", "image of lesion labels", labels=True)
    others = {
        name: files.volume(f"space-T2starw_desc-preproc_{name}.nii.gz", f"registered {name} image")
        for name in ("T2w", "T1w")
        if name not in without
    }
    labels = {
        "brain": files.volume("space-T2starw_desc-brain_mask.nii.gz", "brain mask", labels=True),
        "regions": files.volume("space-T2starw_seg-regions_dseg.nii.gz", "image of regions", labels=True),
        "lesions": lesions,
        "candidates": files.volume("space-T2starw_seg-CMBcandidates_dseg.nii.gz", "image of candidates", labels=True),
    }
    if native is None:
        return None
    # Only a session whose phase was used has the file: nothing is missing without it.
    local = files.find(LOCAL_PHASE)
    phase = None if local is None else files.read_volume(local, "local phase")
    canonical = to_canonical(native)
    before = _before(files, canonical, others, transforms or {})
    contrasts = {"T2starw": canonical.data}
    contrasts |= {n: sample_on(to_canonical(v), canonical, order=1) for n, v in others.items() if v is not None}
    found = {
        n: None if v is None else sample_on(to_canonical(v), canonical, order=0).astype(np.int32)
        for n, v in labels.items()
    }
    brain = None if found["brain"] is None else found["brain"] > 0
    return SessionImages(
        native=native,
        canonical=canonical,
        contrasts=contrasts,
        windows={n: intensity_window(a, brain) for n, a in contrasts.items()},
        brain=brain,
        regions=found["regions"],
        lesions=found["lesions"],
        candidates=found["candidates"],
        before=before,
        phase=None if phase is None else sample_on(to_canonical(phase), canonical, order=1),
    )


def _before(
    files: SessionFiles,
    canonical: Volume,
    registered: Mapping[str, Volume | None],
    transforms: Mapping[str, npt.NDArray],
) -> dict[str, npt.NDArray]:
    """Return the contrasts as their headers alone would place them on T2*.

    T1w is written on its own grid. T2w is written registered only; that is moved back by its transform, and is black
    where T2* did not reach.
    """
    found = {}
    for name, volume in registered.items():
        own = files.exact("desc-preproc_T1w.nii.gz") if name == "T1w" else None
        source = files.read_volume(own, "T1w image") if own is not None and volume is not None else None
        if source is None and volume is not None and name in transforms:
            source = Volume(volume.data, np.linalg.inv(transforms[name]) @ volume.affine)
        if source is not None:
            found[name] = sample_on(source, canonical, order=1)
    return found
