"""Command line of the BIDS App. Only the standard library is imported here, so that ``--help`` answers at once."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbseg_bids import __version__
from mbseg_bids.cli.arguments import Parser, add_old_name, complete, show_examples, swallowed
from mbseg_bids.cli.descriptor import PrintDescriptor
from mbseg_bids.cli.model_options import add_model_options, model_request
from mbseg_bids.cli.setting_checks import check_values
from mbseg_bids.errors import UnknownLevelError, UsageError
from mbseg_bids.group.formula import ModelRequest
from mbseg_bids.settings import Settings, from_toml

LEVELS = ("participant", "group")


@dataclass(frozen=True)
class Request:
    """What the user asked for, checked as far as the command line alone can be."""

    bids_dir: Path
    """Root of the BIDS dataset; of plain files, the folder of the T2*-weighted image."""
    output_dir: Path
    level: str
    work_dir: Path
    settings: Settings
    participants: tuple[str, ...] = ()
    """Labels without ``sub-``; empty means all."""
    sessions: tuple[str, ...] = ()
    """Labels without ``ses-``; empty means all."""
    filter_file: Path | None = None
    database_dir: Path | None = None
    skip_validation: bool = False
    derivatives: dict[str, Path] = field(default_factory=dict)
    fs_subjects_dir: Path | None = None
    plugin_file: Path | None = None
    dry_run: bool = False
    reports_only: bool = False
    boilerplate_only: bool = False
    verbosity: int = 0
    model: ModelRequest | None = None
    """Of the counts, at the group level."""
    reviewed: bool = False
    """At the group level: take results that a reader has reviewed, where there are any."""
    plain: bool = False
    """Plain files are segmented, no BIDS dataset."""

    @property
    def dataset(self) -> Path | None:
        """Root of the BIDS dataset; None where plain files are segmented."""
        return None if self.plain else self.bids_dir


EXAMPLES = (
    "mbseg-bids BIDS_DIR OUTPUT_DIR participant --dry-run",
    "mbseg-bids BIDS_DIR OUTPUT_DIR participant --participant-label 01 02 -w WORK_DIR",
    "mbseg-bids BIDS_DIR OUTPUT_DIR participant -d fmriprep=FMRIPREP_DIR --n-cpus 4",
    "mbseg-bids BIDS_DIR OUTPUT_DIR group",
)
EXIT_CODES = (
    "Exit codes: 0 done; 1 some participant failed; 16 dataset invalid; 17 unknown level; 18 nothing selected; "
    "64 usage; 65 unreadable data; 66 image missing; 73 cannot write; 74 I/O; 75 temporary."
)
NOT_FOR_GROUP = (
    "participant_label",
    "session_label",
    "bids_filter_file",
    "exclude_scans",
    "reports_only",
    "boilerplate_only",
)
"""Options that would choose among sessions, or what is written: the group level takes all that are finished."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``mbseg-bids``."""
    parser = Parser(
        prog="mbseg-bids",
        description="Segment cerebral microbleeds on the T2*-weighted, T1w and T2w images of a BIDS dataset; without "
        "T1w, T2w or both it runs on what there is and says so.",
    )
    show_examples(parser, EXAMPLES, EXIT_CODES)
    parser.add_argument("bids_dir", type=Path, help="root of the BIDS dataset")
    parser.add_argument("output_dir", type=Path, help="where the derivatives go")
    parser.add_argument("analysis_level", metavar="{participant,group}", help="participant: segment; group: tables")
    parser.add_argument("--version", action="version", version=f"mbseg-bids {__version__}")
    parser.add_argument("--bids-exec-spec", action=PrintDescriptor, help="print the Boutiques descriptor, as JSON")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: what each step logs")
    _add_selection(parser.add_argument_group("what to process"))
    _add_reuse(parser.add_argument_group("results to reuse"))
    add_method(parser.add_argument_group("method"))
    add_resources(parser.add_argument_group("resources"))
    add_model_options(parser.add_argument_group("statistics"))
    _add_running(parser.add_argument_group("running"))
    return parser


def parse_request(argv: Sequence[str]) -> Request:
    """Turn the command line into a :class:`Request`.

    Raises
    ------
    UsageError
        On unknown or contradicting options, or an invalid value or settings file.
    UnknownLevelError
        If the analysis level is neither participant nor group.
    """
    parser = build_parser()
    complete(parser)
    try:
        args = parser.parse_args(argv)
    except UsageError as error:
        raise swallowed(parser, argv, error) from None
    if args.analysis_level not in LEVELS:
        raise UnknownLevelError(f"unknown analysis level {args.analysis_level!r}", f"one of: {', '.join(LEVELS)}")
    if args.reports_only and args.boilerplate_only:
        raise UsageError("--reports-only and --boilerplate-only exclude each other", "give one of them")
    if args.analysis_level == "group":
        _check_group(args)
    elif args.reviewed:
        raise UsageError("--reviewed belongs to the group level", "run: mbseg-bids BIDS OUT group --reviewed")
    return Request(
        bids_dir=args.bids_dir.absolute(),
        output_dir=args.output_dir.absolute(),
        level=args.analysis_level,
        work_dir=args.work_dir.absolute(),
        settings=settings_of(args),
        participants=_labels(args.participant_label, "sub-"),
        sessions=_labels(args.session_label, "ses-"),
        filter_file=args.bids_filter_file,
        database_dir=args.bids_database_dir,
        skip_validation=args.skip_bids_validation,
        derivatives=_named_paths(args.derivatives),
        fs_subjects_dir=args.fs_subjects_dir and args.fs_subjects_dir.absolute(),
        plugin_file=args.nipype_plugin_file,
        dry_run=args.dry_run,
        reports_only=args.reports_only,
        boilerplate_only=args.boilerplate_only,
        verbosity=args.verbose,
        model=model_request(args),
        reviewed=args.reviewed,
    )


def _check_group(args: argparse.Namespace) -> None:
    """Refuse what the group level would pass over in silence."""
    given = next((name for name in NOT_FOR_GROUP if getattr(args, name)), None)
    if given:
        option = f"--{given.replace('_', '-')}"
        raise UsageError(
            f"{option} is for the participant level",
            "the group level takes every finished session; choose in its table",
        )


def _add_selection(group: Any) -> None:
    add = group.add_argument
    add(
        "--participant-label",
        "--participant_label",
        nargs="+",
        metavar="LABEL",
        help="participants to process, with or without sub- (default: all)",
    )
    add(
        "--session-label",
        "--session_label",
        "--session-id",
        nargs="+",
        metavar="LABEL",
        help="sessions to process, with or without ses- (default: all)",
    )
    add(
        "--bids-filter-file",
        type=Path,
        metavar="FILE",
        help="JSON with entity filters for t1w, t2w and t2starw; other keys are ignored",
    )
    add(
        "--bids-database-dir",
        type=Path,
        metavar="DIR",
        help="pybids index to read, or to make for the whole dataset if it does not exist yet",
    )
    add("--skip-bids-validation", action="store_true", help="do not check dataset_description.json")
    add(
        "--exclude-scans",
        nargs="+",
        metavar="COLUMN=VALUE",
        help="leave out scans with this value in a column of scans.tsv, such as quality=bad,unusable (default: none)",
    )
    add(
        "--t2star-suffix",
        nargs="+",
        metavar="NAME",
        help="names of the T2*-weighted image, best first, such as T2starw, acq-swi_T2starw, swi, MEGRE "
        "(default: every known name)",
    )
    add(
        "--ignore-phase",
        dest="use_phase",
        action="store_false",
        default=None,
        help="leave out the phase beside the T2*-weighted image, which tells calcium from blood",
    )
    add(
        "--t2star-echo",
        metavar="{mean,N}",
        help="of a multi-echo magnitude: the mean of the echoes from 10 to 45 ms, or echo N (default: mean)",
    )
    add(
        "--require-contrasts",
        nargs="*",
        metavar="CONTRAST",
        help="T1w, T2w or both: do not run sessions without them (default: run with what is there, and warn; a "
        "T2*-weighted image is always needed)",
    )


def _add_reuse(group: Any) -> None:
    add = group.add_argument
    add(
        "-d",
        "--derivatives",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="derivatives to reuse (sMRIPrep, fMRIPrep, SynthSeg, a brain or WMH mask); may be repeated",
    )
    add("--fs-subjects-dir", type=Path, metavar="DIR", help="FreeSurfer or FastSurfer subjects to take aseg from")


def add_method(group: Any) -> None:
    """Add the options of the method."""
    add = group.add_argument
    add(
        "--ratio-threshold",
        type=float,
        metavar="R",
        help="smallest ring / voxel ratio of T2* (default: 1.2); lower finds more, and more that is none",
    )
    add(
        "--ratio-threshold-deep-gm",
        type=float,
        metavar="R",
        help="the same in deep grey matter, dark with iron (default: 1.4)",
    )
    add("--probability-threshold", type=float, metavar="P", help="smallest microbleed probability (default: 0.3)")
    add(
        "--no-reader-criteria",
        dest="reader_criteria",
        action="store_false",
        default=None,
        help="leave out the reader's criteria (in parenchyma, no bright core, no vessel, longest diameter); with "
        "--no-false-positive-reduction, the post-processing of the paper alone",
    )
    reduction = add(
        "--no-false-positive-reduction",
        dest="second_look",
        action="store_false",
        default=None,
        help="leave out the candidate classifier: keep whatever passes the ratio rule and the criteria",
    )
    add_old_name(group, "--no-second-look", reduction)
    lesion = add(
        "--lesion-threshold",
        dest="second_look_threshold",
        type=float,
        metavar="P",
        help="smallest probability of a lesion by the candidate classifier (default: 0.4)",
    )
    add_old_name(group, "--second-look-threshold", lesion)
    add(
        "--definite-threshold",
        type=float,
        metavar="P",
        help="smallest probability of a definite one (default: 0.8)",
    )
    add("--exhaustive", action="store_true", default=None, help="classify every brain voxel (slow)")
    add("--weights", metavar="NAME|FILE", help="shipped weights, or a file made by mbseg train (default: default)")
    add("--registration", metavar="{default,coarse}", help="coarse: 2 mm template registration, for demos and tests")
    add("--output-spaces", nargs="*", metavar="SPACE", help="beside the T2* grid: T1w, template (default: both)")
    add("--random-seed", type=int, metavar="N", help="seed of everything random (default: 0)")
    add("--config-file", type=Path, metavar="FILE", help="TOML settings; options on the command line win")


def add_resources(group: Any) -> None:
    """Add the options about the machine."""
    add = group.add_argument
    add(
        "--n-cpus",
        "--n_cpus",
        "--nprocs",
        "--nthreads",
        type=int,
        metavar="N",
        help="processes at once (default: all CPUs)",
    )
    add("--omp-nthreads", type=int, metavar="N", help="threads of one process (default: all CPUs, at most 8)")
    memory = group.add_mutually_exclusive_group()
    memory.add_argument(
        "--mem-gb", "--mem_gb", type=float, metavar="GB", help="memory that steps at once may need together"
    )
    memory.add_argument("--mem-mb", "--mem_mb", type=float, metavar="MB", help="the same in megabytes")
    add(
        "--low-mem",
        "--low_mem",
        action="store_true",
        help="one step at a time, at most two threads, same result; --n-cpus and --omp-nthreads win",
    )
    add("--device", metavar="{auto,cpu,cuda}", help="where the network runs (default: auto)")
    add(
        "--runtime",
        metavar="{auto,pytorch,openvino}",
        help="library that computes the network (default: auto, OpenVINO on CPUs where it is installed)",
    )
    add(
        "--precision",
        metavar="{auto,float32}",
        help="auto: probabilities that decide nothing are computed in lower precision where that is faster",
    )
    add("--batch-size", type=int, metavar="N", help="patches classified at once (default: what suits the device)")
    add("--nipype-plugin-file", type=Path, metavar="FILE", help="nipype plugin and its arguments, JSON or YAML")
    add("--resource-monitor", action="store_true", default=None, help="record memory and CPU use in the work folder")


def _add_running(group: Any) -> None:
    add = group.add_argument
    add(
        "-w",
        "--work-dir",
        type=Path,
        default=Path("work"),
        metavar="DIR",
        help="intermediate results; the same folder lets a stopped run continue (default: ./work)",
    )
    add("--clean-workdir", action="store_true", default=None, help="first remove what earlier runs left there")
    add("--stop-on-first-crash", action="store_true", default=None, help="do not go on with other sessions")
    add("--dry-run", action="store_true", help="say what would run, for whom, and what is missing; write nothing")
    add("--reports-only", action="store_true", help="only make the reports again, from the output folder")
    add(
        "--boilerplate-only",
        action="store_true",
        help="only write the methods text, logs/CITATION.md: what was done, and apart what would be done",
    )
    add("--notrack", action="store_true", help="for command lines of other apps: nothing is ever reported home")
    add("--write-graph", action="store_true", default=None, help="write the workflow graph to logs/")


_OPTION_OF_SETTING = {
    "inputs": {
        "t2star_suffix": "t2star_suffix",
        "t2star_echo": "t2star_echo",
        "required": "require_contrasts",
        "exclude_scans": "exclude_scans",
        "use_phase": "use_phase",
    },
    "anatomy": {"registration": "registration", "random_seed": "random_seed"},
    "detection": {
        "ratio_threshold": "ratio_threshold",
        "ratio_threshold_deep_gm": "ratio_threshold_deep_gm",
        "probability_threshold": "probability_threshold",
        "reader_criteria": "reader_criteria",
        "second_look": "second_look",
        "second_look_threshold": "second_look_threshold",
        "definite_threshold": "definite_threshold",
        "exhaustive": "exhaustive",
        "weights": "weights",
    },
    "outputs": {"spaces": "output_spaces"},
    "execution": {
        "n_procs": "n_cpus",
        "omp_nthreads": "omp_nthreads",
        "mem_gb": "mem_gb",
        "device": "device",
        "runtime": "runtime",
        "precision": "precision",
        "batch_size": "batch_size",
        "stop_on_first_crash": "stop_on_first_crash",
        "resource_monitor": "resource_monitor",
        "write_graph": "write_graph",
        "clean_workdir": "clean_workdir",
    },
}


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings of a command line that has all of these options or some of them."""
    cpus = _usable_cpus()
    base = Settings().override(execution={"n_procs": cpus, "omp_nthreads": min(cpus, 8)})
    from_file = from_toml(args.config_file, base) if args.config_file else base
    given = {
        table: {key: value for key, option in options.items() if (value := getattr(args, option, None)) is not None}
        for table, options in _OPTION_OF_SETTING.items()
    }
    if args.low_mem:
        given["execution"] = {"n_procs": 1, "omp_nthreads": min(cpus, 2)} | given["execution"]
    if args.mem_mb is not None:
        given["execution"]["mem_gb"] = args.mem_mb / 1000
    settings = from_file.override(**given)
    check_values(settings)
    return settings


def _usable_cpus() -> int:
    """Return the number of CPUs this process may use, which a cluster or container sets below the machine's."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _labels(values: Sequence[str] | None, prefix: str) -> tuple[str, ...]:
    """Return labels without their prefix, each once, in the order given; ``a,b`` and ``a b`` are the same."""
    given = [label for value in values or () for label in value.replace(",", " ").split()]
    labels = [label.removeprefix(prefix) for label in given]
    bad = [label for label in labels if not label.replace("+", "").isalnum()]
    if bad:
        raise UsageError(f"not a BIDS label: {bad[0]!r}", "labels are letters and digits")
    return tuple(dict.fromkeys(labels))


def _named_paths(values: Sequence[str]) -> dict[str, Path]:
    named = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals:
            name, path = Path(value).name, value
        if not name or not path:
            raise UsageError(f"--derivatives {value!r} is not NAME=PATH", "such as fmriprep=/data/fmriprep")
        named[name] = Path(path).absolute()
    return named
