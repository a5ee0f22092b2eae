"""What a user already has: FreeSurfer / FastSurfer subjects and derivatives of other apps."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mbseg_bids.bids.inputs import session_label
from mbseg_bids.errors import UsageError

_ASEG_NAMES = (
    "aparc+aseg.mgz",
    "aparc.a2009s+aseg.mgz",
    "aparc.DKTatlas+aseg.deep.mgz",
    "aseg.mgz",
    "aseg.presurf.mgz",
)
"""FreeSurfer volumes that carry the labels of ``aseg``, best first; the third is FastSurfer's."""

_FS_T1W_NAMES = ("nu.mgz", "T1.mgz", "orig_nu.mgz", "norm.mgz", "orig.mgz")
"""FreeSurfer volumes of the T1w on the grid of ``aseg``, those with the skull first."""

_DERIVATIVES: dict[str, tuple[str, ...]] = {
    "aseg": ("desc-aseg_dseg", "desc-aparcaseg_dseg", "seg-aseg_dseg", "desc-synthseg_dseg", "seg-synthseg_dseg"),
    "t1w_aseg_space": ("desc-preproc_T1w",),
    "brain_mask": ("desc-brain_mask", "label-brain_mask"),
    "wmh_mask": ("label-WMH_mask", "desc-wmh_mask", "desc-WMH_mask"),
}
"""Endings of the names by which derivatives are known; all in the space of the T1w."""

ROLES = tuple(_DERIVATIVES)


def check_reuse_folders(derivatives: Mapping[str, Path], fs_subjects_dir: Path | None) -> None:
    """Raise UsageError if a folder with results to reuse does not exist."""
    for name, folder in derivatives.items():
        if not folder.is_dir():
            raise UsageError(f"--derivatives {name}: {folder} is not a folder", "give the root of the derivatives")
    if fs_subjects_dir is not None and not fs_subjects_dir.is_dir():
        raise UsageError(f"--fs-subjects-dir: {fs_subjects_dir} is not a folder", "give the FreeSurfer subjects folder")


def find_reusable(
    participant: str,
    session: str | None,
    derivatives: Mapping[str, Path],
    fs_subjects_dir: Path | None = None,
) -> dict[str, Path]:
    """Find results of other tools for the T1w of one session.

    Parameters
    ----------
    participant, session
        Labels of the session the T1w is from.
    derivatives
        Roots of derivative datasets by name; an earlier one wins.
    fs_subjects_dir
        FreeSurfer subjects, used for ``aseg`` where no derivative has one.

    Returns
    -------
    Files by role (:data:`ROLES`); roles not found are absent. ``t1w_aseg_space`` is the T1w on the grid of ``aseg`` and
    comes only together with it.
    """
    found: dict[str, Path] = {}
    for root in derivatives.values():
        here = {role: path for role in ROLES if (path := _derivative(root, participant, session, role)) is not None}
        if "aseg" in found or "aseg" not in here:
            here.pop("t1w_aseg_space", None)  # it belongs to the aseg of the same derivatives
        found = here | found
    if "aseg" not in found and fs_subjects_dir is not None:
        found |= _freesurfer(fs_subjects_dir, participant, session)
    return found


def without_t1w(found: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Return what can be reused in a session without a T1w of its own, and a sentence about the rest.

    Everything lies in the space of a T1w. An ``aseg`` whose T1w came with it is brought over by registering that T1w;
    nothing tells where the others lie.
    """
    kept = dict(found) if {"aseg", "t1w_aseg_space"} <= set(found) else {}
    kept = {role: path for role, path in kept.items() if role in ("aseg", "t1w_aseg_space")}
    dropped = [role for role in found if role not in kept]
    if not dropped:
        return kept, []
    return kept, [f"not reused, as the session has no T1w that says where it lies: {', '.join(sorted(dropped))}"]


def _derivative(root: Path, participant: str, session: str | None, role: str) -> Path | None:
    for folder in _anat_folders(root, participant, session):
        for ending in _DERIVATIVES[role]:
            for path in sorted(folder.glob(f"sub-{participant}*_{ending}.nii*")):
                if "_space-" not in path.name or "_space-T1w_" in path.name:
                    return path
    return None


def _anat_folders(root: Path, participant: str, session: str | None) -> Iterator[Path]:
    if session:
        yield root / f"sub-{participant}" / f"ses-{session}" / "anat"
    yield root / f"sub-{participant}" / "anat"


def _freesurfer(subjects_dir: Path, participant: str, session: str | None) -> dict[str, Path]:
    for name in (session_label(participant, session), f"sub-{participant}", participant):
        folder = subjects_dir / name / "mri"
        aseg = next((folder / n for n in _ASEG_NAMES if (folder / n).is_file()), None)
        t1w = next((folder / n for n in _FS_T1W_NAMES if (folder / n).is_file()), None)
        if aseg is not None and t1w is not None:
            return {"aseg": aseg, "t1w_aseg_space": t1w}
    return {}
