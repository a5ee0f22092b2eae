"""Training patches from scans that people have labelled."""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mbseg_bids.detection.search.mask import voxels_to_classify
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.learning.examples.derivatives import ScanFiles
from mbseg_bids.learning.examples.labelled import LabelledCase, check_label, read_case
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet
from mbseg_bids.learning.examples.sampling import MicrobleedCounts, microbleed_patches, tissue_patches
from mbseg_bids.learning.files import write_whole
from mbseg_bids.settings import DetectionSettings


def sample_scans(
    scans: Sequence[ScanFiles],
    out: Path,
    *,
    dataset: str = "",
    counts: MicrobleedCounts | None = None,
    n_tissue: int = 5200,
    size: int = 28,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> str:
    """Write ``<scan>_csf.npz`` and ``<scan>_microbleed.npz`` for each scan, and ``participants.tsv``.

    Every label is read and checked before the first patch is cut.

    Parameters
    ----------
    scans
        Of :func:`mbseg_bids.learning.examples.derivatives.find_labelled_scans`.
    out
        Folder.
    dataset, counts, n_tissue, size
        As in :func:`participant_number` and :func:`cut_labelled`.
    seed
        Of what is drawn.
    report
        Called with a line for each scan.

    Returns
    -------
    A line about all of them.

    Raises
    ------
    UnreadableDataError
        As :func:`read_case`; or no scan has a lesion.
    """
    numbers = {scan.participant: participant_number(dataset, scan.participant) for scan in scans}
    if len(set(numbers.values())) < len(numbers):
        raise UnreadableDataError("two participants have got the same number", "give another name to --dataset")
    n_lesions = sum(check_label(scan) for scan in scans)
    if not n_lesions:
        raise UnreadableDataError("no labelled scan has a lesion", "check --labels and --label-filter")
    rows = [
        "participant_id	session_id	number	n_lesions	volume_mm3	lesion_patches	other_patches	csf_patches"
    ]
    for scan in scans:
        case, number = read_case(scan), numbers[scan.participant]
        rng = np.random.default_rng([number, zlib.crc32(scan.session.encode()), seed])
        tissue, microbleed = cut_labelled(case, number, rng, counts=counts, n_tissue=n_tissue, size=size)
        stem = f"{dataset}_{scan.name}" if dataset else scan.name
        tissue.save(out / f"{stem}_csf.npz")
        microbleed.save(out / f"{stem}_microbleed.npz")
        n = int((microbleed.kinds == KINDS["lesion"]).sum())
        volume = sum(case.volumes.values())
        row = (f"sub-{scan.participant}", f"ses-{scan.session}" if scan.session else "n/a", number, len(case.volumes))
        rows.append("\t".join(map(str, (*row, round(volume, 3), n, len(microbleed) - n, len(tissue)))))
        report("; ".join([f"{scan.name}: {len(case.volumes)} lesions, {n} lesion patches", *case.warnings]))
    write_whole(out / (f"{dataset}_participants.tsv" if dataset else "participants.tsv"), "\n".join(rows) + "\n")
    return f"{len(scans)} scans of {len(numbers)} participants, {n_lesions} lesions"


def cut_labelled(
    case: LabelledCase,
    participant: int,
    rng: np.random.Generator,
    *,
    counts: MicrobleedCounts | None = None,
    n_tissue: int = 5200,
    size: int = 28,
    settings: DetectionSettings | None = None,
) -> tuple[PatchSet, PatchSet]:
    """Draw the patches of both stages from a labelled scan.

    Parameters
    ----------
    case
        Of :func:`read_case`.
    participant
        Of :func:`participant_number`.
    counts, n_tissue
        Patches of the two stages; the paper drew 400,000 of CSF and tissue from 78 participants.
    size
        Side of the network's patch, voxels.
    settings
        Whose search mask the dark voxels ("candidates") come from.

    Returns
    -------
    Patches of stage 1 and of stage 2. A scan without lesions gives not-microbleeds alone.
    """
    asked = voxels_to_classify(case.stack[0], case.brain, case.tissue, case.spacing, settings or DetectionSettings())
    candidates = np.zeros(case.brain.shape, bool)
    candidates[tuple(asked.T)] = True
    # A microbleed is often labelled CSF, and must be in no patch of stage 1.
    healthy = case.brain & (case.lesions == 0)
    tissue = tissue_patches(case.stack, case.tissue, healthy, participant, rng, n=n_tissue, size=size)
    microbleed = microbleed_patches(
        case.stack,
        case.lesions,
        case.brain,
        candidates,
        np.zeros_like(case.lesions),  # nobody labels mimics; they are among the candidates
        participant,
        rng,
        voxel_volume=float(np.prod(case.spacing)),
        counts=counts,
        size=size,
        lesion_volumes=case.volumes,
    )
    return tissue, microbleed


def participant_number(dataset: str, participant: str) -> int:
    """Return the number of a participant in patch sets: the same whoever else is sampled, and on every machine.

    Parameters
    ----------
    dataset
        Tells participants of the same label in several datasets apart.
    participant
        Label without prefix.
    """
    digest = hashlib.sha256(f"{dataset}\t{participant}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # fits the int32 of a patch set
