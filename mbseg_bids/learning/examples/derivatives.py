"""Finding the files of labelled scans by the entities in their BIDS names."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids.errors import NothingSelectedError, UnreadableDataError, UsageError

_LONG_NAMES = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "reconstruction": "rec",
    "segmentation": "seg",
    "description": "desc",
    "resolution": "res",
}
"""pybids' names of entities that are shorter in file names."""

DEFAULT_LABEL_FILTER = {"label": "CMB", "suffix": "mask"}
"""What a manual mask is called in BIDS: ``sub-01_label-CMB_mask.nii.gz``."""

ScanKey = tuple[str, str]
"""Participant and session labels without prefix; the session is empty where there is none."""


@dataclass(frozen=True)
class ScanFiles:
    """The files of one labelled scan: of the BIDS App's output, and the manual mask.

    Attributes
    ----------
    participant, session
        Labels without prefix; ``session`` is empty where there is none.
    t2star, brain, regions
        On the native T2* grid.
    t2w, t1w
        On the detection grid; None where the session has no such contrast.
    label
        Manual mask; None for a scan that is known to have no lesion.
    """

    participant: str
    session: str
    t2star: Path
    brain: Path
    regions: Path
    t2w: Path | None
    t1w: Path | None
    label: Path | None

    @property
    def name(self) -> str:
        """``sub-X`` or ``sub-X_ses-Y``."""
        return f"sub-{self.participant}" + (f"_ses-{self.session}" if self.session else "")


@dataclass(frozen=True)
class FoundScans:
    """Scans to sample, and those left out because nobody labelled them."""

    scans: tuple[ScanFiles, ...]
    unlabelled: tuple[str, ...]


def parse_filters(texts: Iterable[str]) -> dict[str, str]:
    """Return entity filters from ``key=value`` texts, e.g. ``label=CMB suffix=mask``.

    Raises
    ------
    UsageError
        If one is no ``key=value``.
    """
    filters = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key or not value:
            raise UsageError(f"filter {text!r} is not key=value", "write e.g. label=CMB suffix=mask")
        filters[_LONG_NAMES.get(key, key)] = value
    return filters


def entities_of(path: Path) -> dict[str, str]:
    """Return the entities of a BIDS file name, with ``suffix`` and ``extension``."""
    stem, _, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    named = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return named | {"suffix": suffix, "extension": f".{extension}"}


def find_images(tree: Path, filters: Mapping[str, str]) -> dict[ScanKey, Path]:
    """Return the NIfTI image of each participant and session that has these entities.

    A filter value ``*`` takes any, an empty one only files without the entity.

    Raises
    ------
    UnreadableDataError
        If two images of a session match.
    """
    found: dict[ScanKey, Path] = {}
    for path in sorted([*Path(tree).glob("sub-*/**/*.nii.gz"), *Path(tree).glob("sub-*/**/*.nii")]):
        entities = entities_of(path)
        if "sub" not in entities or any(not _fits(entities.get(k, ""), v) for k, v in filters.items()):
            continue
        key = (entities["sub"], entities.get("ses", ""))
        if key in found:
            raise UnreadableDataError(
                f"two images of one session fit the filter: {found[key]} and {path}",
                "narrow the filter, e.g. with space=T2starw or run=1",
            )
        found[key] = path
    return found


def find_labelled_scans(
    derivatives: Path,
    labels: Path,
    label_filter: Mapping[str, str],
    *,
    participants: Collection[str] = (),
    unlabelled_are_negative: bool = False,
) -> FoundScans:
    """Pair the BIDS App's output with manual masks, by participant and session.

    Parameters
    ----------
    derivatives
        Output folder of ``mbseg-bids``.
    labels
        Tree with the manual masks; may be the same.
    label_filter
        Entities of a mask's name, see :func:`parse_filters`.
    participants
        Labels without prefix; empty for all.
    unlabelled_are_negative
        Take a scan without a mask file for one without lesions, instead of leaving it out.

    Raises
    ------
    NothingSelectedError
        If no scan is left.
    UnreadableDataError
        If a scan lacks its brain mask or regions, or has two masks.
    """
    for tree in (derivatives, labels):
        if not Path(tree).is_dir():
            raise NothingSelectedError(f"no folder {tree}", "give the root of a derivatives dataset")
    native = {"space": "T2starw", "desc": "preproc"}
    images = {
        "t2star": find_images(derivatives, native | {"suffix": "T2starw"}),
        "t2w": find_images(derivatives, native | {"suffix": "T2w"}),
        "t1w": find_images(derivatives, native | {"suffix": "T1w"}),
        "brain": find_images(derivatives, {"space": "T2starw", "desc": "brain", "suffix": "mask"}),
        "regions": find_images(derivatives, {"space": "T2starw", "seg": "regions", "suffix": "dseg"}),
    }
    masks = find_images(labels, label_filter)
    keys = [key for key in sorted(images["t2star"]) if not participants or key[0] in participants]
    if not keys:
        raise NothingSelectedError(
            f"no space-T2starw_desc-preproc_T2starw image of these participants in {derivatives}",
            "give the output folder of mbseg-bids participant",
        )
    scans, unlabelled = [], []
    for key in keys:
        files: dict[str, Any] = {name: found.get(key) for name, found in images.items()}
        scan = ScanFiles(*key, **files, label=masks.get(key))
        if scan.label is None and not unlabelled_are_negative:
            unlabelled.append(scan.name)
            continue
        for name in ("brain", "regions"):
            if files[name] is None:
                raise UnreadableDataError(f"{scan.name} has no {name} image in {derivatives}", "run mbseg-bids again")
        scans.append(scan)
    if not scans:
        wanted = " ".join(f"{k}={v}" for k, v in label_filter.items())
        raise NothingSelectedError(f"no image with {wanted} in {labels} for any scan", "check --labels, --label-filter")
    return FoundScans(tuple(scans), tuple(unlabelled))


def _fits(value: str, wanted: str) -> bool:
    return bool(value) if wanted == "*" else value == wanted
