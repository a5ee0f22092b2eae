"""``mbseg simulate``: a BIDS dataset of simulated scans with known microbleeds."""

import argparse
from pathlib import Path

from mbseg_bids.wording import counted

GEOMETRIES = {
    "1x1x3": (1.0, 1.0, 3.0),
    "1x1x2": (1.0, 1.0, 2.0),
    "1x1x1": (1.0, 1.0, 1.0),
    "0.5x0.5x0.8": (0.5, 0.5, 0.8),
    "0.45x0.45x4": (0.45, 0.45, 4.0),
    "0.9x0.9x5": (0.9, 0.9, 5.0),
}
"""Voxels of the T2*-weighted scan in mm, slice last."""

PHASE_SCALES = ("radians", "siemens", "siemens-unsigned", "milliradians", "half-turns", "16-bit")
"""As in `simulation.phase_files.SCALES`, which loads too much for ``--help``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("output", type=Path, help="new folder for the BIDS dataset; the truth is in derivatives/truth")
    parser.add_argument("--participants", type=int, default=2, metavar="N", help="how many (default 2)")
    parser.add_argument(
        "--sessions",
        type=int,
        nargs="+",
        default=[1],
        metavar="M",
        help="sessions of participants in turn ('2 1': two for the first, one for the next); 1: no such level",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    parser.add_argument(
        "--labelmaps",
        type=Path,
        metavar="DIR",
        help="NIfTI label maps with FreeSurfer numbers to make heads from (default: the atlas of this package)",
    )
    parser.add_argument(
        "--lesions",
        type=int,
        nargs=2,
        metavar=("MIN", "MAX"),
        help="microbleeds per participant (default: as in a cohort, by age and hypertension; a third has none)",
    )
    parser.add_argument(
        "--geometry",
        choices=(*GEOMETRIES, "cohort"),
        default="1x1x3",
        help="T2* voxel in mm (default 1x1x3); cohort: these and all else drawn for each participant",
    )
    later = parser.add_argument_group("visits", "what happens from one session of a participant to the next")
    later.add_argument("--new", type=int, metavar="N", help="new microbleeds at each (default: a few, at random)")
    later.add_argument("--grown", type=int, default=0, metavar="N", help="microbleeds that grow (default 0)")
    later.add_argument("--gone", type=int, default=0, metavar="N", help="microbleeds that vanish (default 0)")
    later.add_argument(
        "--turn",
        type=float,
        metavar="DEGREES",
        help="how far the head lies turned against the first (default: a little)",
    )
    later.add_argument("--later-geometry", choices=GEOMETRIES, help="T2* voxel of later sessions (default: the same)")
    parser.add_argument("--field-strength", type=float, choices=(1.5, 3.0), default=3.0, help="tesla (default 3)")
    parser.add_argument("--echo-time", type=float, default=22.0, metavar="MS", help="of the T2* scan (default 22 ms)")
    parser.add_argument(
        "--calcifications",
        type=int,
        nargs=2,
        default=[0, 0],
        metavar=("MIN", "MAX"),
        help="deposits of calcium in pallidum and dentate nucleus per participant (default: none but those of a tenth "
        "of heads)",
    )
    parser.add_argument(
        "--phase",
        action="store_true",
        help="write part-mag and part-phase of the T2* scan, and the calcifications to the truth",
    )
    parser.add_argument(
        "--phase-scale",
        choices=PHASE_SCALES,
        default="siemens",
        help="how the phase is stored: siemens is -4096 to 4095, siemens-unsigned 0 to 4095, milliradians -3142 to "
        "3142 (default siemens)",
    )
    parser.add_argument(
        "--phase-sign",
        choices=("forwards", "backwards"),
        default="forwards",
        help="which way a stronger field turns the phase (default forwards)",
    )
    parser.add_argument("--phase-unwrapped", action="store_true", help="store the phase unwrapped, in radians only")


def run(args: argparse.Namespace) -> int:
    """Make the dataset and print what it holds."""
    from mbseg_bids.errors import UsageError
    from mbseg_bids.simulation.dataset import DatasetPlan, write_dataset
    from mbseg_bids.simulation.labelmaps import bundled_head, read_labelmaps
    from mbseg_bids.simulation.phase_files import PhaseFormat
    from mbseg_bids.simulation.protocol import Protocol
    from mbseg_bids.simulation.visits import VisitPlan

    if args.participants < 1 or min(args.sessions) < 1:
        raise UsageError("there must be at least one participant and one session", "give numbers of 1 or more")
    if args.lesions and not 0 <= args.lesions[0] <= args.lesions[1]:
        raise UsageError("--lesions MIN MAX needs 0 <= MIN <= MAX", "swap or raise the numbers")
    if not 0 <= args.calcifications[0] <= args.calcifications[1]:
        raise UsageError("--calcifications MIN MAX needs 0 <= MIN <= MAX", "swap or raise the numbers")
    if min(args.new or 0, args.grown, args.gone) < 0:
        raise UsageError("--new, --grown and --gone must not be negative", "give numbers of 0 or more")
    if max(args.sessions) == 1 and (args.new or args.grown or args.gone or args.turn or args.later_geometry):
        raise UsageError("what happens between sessions needs two of them", "add --sessions 2")
    if args.echo_time <= 0:
        raise UsageError("--echo-time must be positive", "give it in milliseconds")
    sign = 1 if args.phase_sign == "forwards" else -1
    phase = PhaseFormat(args.phase_scale, sign, args.phase_unwrapped) if args.phase else None
    if args.labelmaps is None:
        labelmap, grey_white = bundled_head()
        labelmaps = [labelmap]
    else:
        labelmaps, grey_white = read_labelmaps(args.labelmaps, limit=args.participants), None
    plan = DatasetPlan(
        participants=args.participants,
        sessions=tuple(args.sessions),
        seed=args.seed,
        lesions=tuple(args.lesions) if args.lesions else None,
        calcifications=tuple(args.calcifications),
        phase=phase,
        protocol=None
        if args.geometry == "cohort"
        else Protocol(field_strength=args.field_strength, spacing=GEOMETRIES[args.geometry], echo_time=args.echo_time),
        visits=VisitPlan(
            new=args.new,
            grown=args.grown,
            gone=args.gone,
            turn=args.turn,
            spacing=GEOMETRIES[args.later_geometry] if args.later_geometry else None,
        ),
    )
    made = write_dataset(args.output, labelmaps, plan, grey_white=grey_white)
    for row in made.to_dict("records"):
        visit = " ".join(part for part in (row["participant_id"], row["session_id"]) if isinstance(part, str))
        print(f"{visit}: {counted(row['n_microbleeds'], 'microbleed')} to be seen")
    return 0
