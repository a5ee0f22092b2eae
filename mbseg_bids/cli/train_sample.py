"""``mbseg train sample`` and ``simulate``: patch sets from labelled and from simulated scans."""

import argparse
from pathlib import Path
from typing import Any

from mbseg_bids.cli.numbers import positive, whole
from mbseg_bids.errors import UnreadableDataError

ACTIONS = ("sample", "simulate")


def add_actions(actions: Any) -> None:
    """Add both to the sub-parsers of ``mbseg train``."""
    sample = actions.add_parser(
        "sample", help="cut patches from labelled scans: the output of mbseg-bids, and your manual masks"
    )
    sample.add_argument("derivatives", type=Path, help="output folder of mbseg-bids participant")
    sample.add_argument("--labels", type=Path, metavar="DIR", help="tree with the manual masks (default: the same)")
    sample.add_argument(
        "--label-filter",
        nargs="+",
        default=["label=CMB", "suffix=mask"],
        metavar="ENTITY=VALUE",
        help="entities of a mask's file name; '*' for any value (default: label=CMB suffix=mask)",
    )
    sample.add_argument("--participant-label", nargs="+", default=[], metavar="LABEL", help="default: all")
    sample.add_argument(
        "--unlabelled-are-negative",
        action="store_true",
        help="a scan without a mask file has no lesion (default: it is left out)",
    )
    sample.add_argument("--dataset", default="", help="tells participants of the same label in several datasets apart")
    sample.add_argument("--csf-patches", type=positive, default=5200, metavar="N", help="for stage 1, of each scan")
    _add_common(sample, rotations=19)
    simulated = actions.add_parser("simulate", help="simulate scans from label maps and cut patches from them")
    simulated.add_argument("labelmaps", type=Path, nargs="+", help="FreeSurfer-numbered label maps, one a participant")
    simulated.add_argument("--scans", type=positive, default=1, metavar="N", help="scans per label map (default: 1)")
    _add_common(simulated, rotations=0)


def run(args: argparse.Namespace) -> int:
    """Write the patch sets of both stages."""
    from mbseg_bids.learning.training.checkpoint import make_writable

    make_writable(args.out)
    return _sample(args) if args.action == "sample" else _simulate(args)


def _add_common(parser: argparse.ArgumentParser, *, rotations: int) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the .npz patch sets")
    parser.add_argument(
        "--patch-size", type=positive, default=28, metavar="MM", help="largest that will be trained on (default: 28)"
    )
    parser.add_argument(
        "--rotations",
        type=whole,
        default=rotations,
        metavar="N",
        help="of the training to come: at least as many novel background patches are cut (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole, default=0, help="of everything random")


def _sample(args: argparse.Namespace) -> int:
    from mbseg_bids.learning.examples.derivatives import find_labelled_scans, parse_filters
    from mbseg_bids.learning.examples.labelled_patches import sample_scans
    from mbseg_bids.learning.examples.sampling import MicrobleedCounts

    found = find_labelled_scans(
        args.derivatives,
        args.labels or args.derivatives,
        parse_filters(args.label_filter),
        participants=[label.removeprefix("sub-") for label in args.participant_label],
        unlabelled_are_negative=args.unlabelled_are_negative,
    )
    for name in found.unlabelled:
        print(f"{name}: no labels, left out")
    total = sample_scans(
        found.scans,
        args.out,
        dataset=args.dataset,
        counts=MicrobleedCounts(rotations=args.rotations),
        n_tissue=args.csf_patches,
        size=args.patch_size,
        seed=args.seed,
        report=lambda line: print(line, flush=True),
    )
    print(total)
    return 0


def _simulate(args: argparse.Namespace) -> int:
    import nibabel as nib
    import numpy as np
    from nibabel.filebasedimages import ImageFileError

    from mbseg_bids.imaging.volume import Volume
    from mbseg_bids.learning.examples.sampling import MicrobleedCounts
    from mbseg_bids.learning.examples.simulated import cut_case, simulate

    for participant, path in enumerate(args.labelmaps, start=1):
        try:
            image = nib.load(path)
            labels = Volume(np.asarray(image.dataobj), image.affine)
        except (OSError, ValueError, ImageFileError) as error:
            raise UnreadableDataError(f"cannot read label map {path}: {error}", "give NIfTI label maps") from error
        for scan in range(args.scans):
            case, rng = simulate(labels, participant, args.seed + scan)
            stem = f"participant-{participant:03d}_scan-{args.seed + scan:03d}"
            counts = MicrobleedCounts(rotations=args.rotations)
            cut_case(case, participant, rng, counts=counts, size=args.patch_size).save(args.out, stem)
            print(f"{stem}: {len(case.lesion_table)} microbleeds, {case.spacing[2]:g} mm slices", flush=True)
    return 0
