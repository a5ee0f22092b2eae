"""What the actions of ``mbseg evaluate`` do: compute, print, write tables and figures."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mbseg_bids.bids.files import write_bytes, write_text
from mbseg_bids.evaluation.intervals import Bootstrap
from mbseg_bids.evaluation.tables import cells, markdown_table, sidecar, to_tsv
from mbseg_bids.evaluation.trees import RULES, score_trees

SHOWN = {
    "region": "region",
    "n_truth": "true",
    "n_detected": "found",
    "n_predicted": "predicted",
    "n_false": "false",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "dice": "Dice",
    "false_per_scan": "false a scan",
}
"""Columns of the pooled scores on screen and in Markdown."""

SCANS = {"participant_id": "participant", "session_id": "session"} | {
    name: heading for name, heading in SHOWN.items() if name not in ("region", "false_per_scan")
}
LIMITS = ("match", "maximum_distance", "minimum_volume", "minimum_diameter")


def trees(args: argparse.Namespace) -> int:
    """Print scores by scan and pooled by region; write them, with every lesion."""
    rules = RULES if args.match == "both" else (args.match,)
    score = score_trees(
        args.truth_tree,
        args.result_tree,
        rules=rules,
        progress=_progress("scans"),
        **_limits(args),
    )
    scans, pooled = score.scans(), score.pooled(_bootstrap(args))
    print(_on_screen(scans[(scans["region"] == "all") & (scans["match"] == rules[0])], SCANS))
    for rule in rules:
        everything = {"match": rule, "scans": "all", "spacing": "all", "size": "counted"}
        print(f"\nPooled, lesions matched by {rule}:")
        print(_on_screen(_rows(pooled, everything), SHOWN))
    _report_missing(score.missing)
    settings = _settings(args, *LIMITS)
    _write(args.out, {"scores": pooled, "scans": scans, "lesions": score.lesions}, settings)
    if args.markdown is not None:
        write_text(args.markdown, _markdown(pooled, rules))
    return 1 if score.missing else 0


WORLDS = {
    "world": "world",
    "scans": "scans",
    "n_scans": "n",
    "n_truth": "true",
    "n_detected": "found",
    "n_false": "false",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "false_per_free_scan": "false a lesion-free scan",
}


def worlds(args: argparse.Namespace) -> int:
    """Print one row for each world, the worst first; write them, with the scores by region."""
    from mbseg_bids.evaluation.worlds import parse_world, score_worlds, summary

    chosen = [parse_world(text) for text in args.worlds]
    limits = _limits(args)
    scores, missing = score_worlds(
        chosen, bootstrap=_bootstrap(args), rule=args.match, progress=_progress("scans"), **limits
    )
    table = summary(scores)
    print(_on_screen(table, WORLDS))
    for scans in missing.values():
        _report_missing(scans)
    _write(args.out, {"worlds": table, "scores": scores}, _settings(args, *LIMITS))
    if args.markdown is not None:
        write_text(args.markdown, markdown_table(table, WORLDS))
    return 1 if any(missing.values()) else 0


def patches(args: argparse.Namespace) -> int:
    """Classify labelled patches and print how many are right."""
    import numpy as np

    from mbseg_bids.detection.network.classify import choose_device
    from mbseg_bids.detection.network.weights import load_weights
    from mbseg_bids.errors import UnreadableDataError
    from mbseg_bids.evaluation.patch import patch_table
    from mbseg_bids.learning.examples.patch_set import KINDS, concatenate, load_patch_set, wide_size
    from mbseg_bids.learning.training.trainer import predict

    sets = [load_patch_set(path) for path in _patch_files(args.patches)]
    model, metadata = load_weights(args.weights)
    if len({found.patches.shape[1:] for found in sets}) > 1:
        raise UnreadableDataError("the patch sets are of different sizes", "evaluate them one after the other")
    found = concatenate(sets)
    if found.patches.shape[-1] < metadata.patch_size:
        raise UnreadableDataError(
            f"patches of {found.patches.shape[-1]} voxels are too small for weights of {metadata.patch_size}",
            f"sample patches of {wide_size(metadata.patch_size)} voxels: --patch-size {metadata.patch_size}",
        )
    names = {number: name for name, number in KINDS.items()}
    kinds = np.array([names[kind] for kind in found.kinds.tolist()])
    target = "csf" if metadata.task == "csf" else "lesion"
    positive = kinds == target
    if not positive.any() or positive.all():
        raise UnreadableDataError(
            f"{positive.sum()} of {len(positive)} patches are of {target}: one class is missing",
            f"give the patch sets of weights for {metadata.task}",
        )
    device = choose_device(args.device)
    probability = predict(model.to(device), found, metadata.patch_size, metadata.input_size, device)
    table = patch_table(
        probability,
        positive,
        kinds,
        found.participants,
        found.volumes,
        threshold=args.threshold,
        bootstrap=_bootstrap(args),
    )
    print(_on_screen(table, {"measure": "measure", "patches": "patches", "n_patches": "n", "value": "value"}))
    settings = _settings(args, "threshold") | {"weights": metadata.name, "sha256": metadata.sha256}
    _write(args.out, {"patches": table}, settings)
    return 0


def _patch_files(paths: Sequence[Path]) -> list[Path]:
    from mbseg_bids.errors import MissingImageError

    files = [file for path in paths for file in (sorted(path.glob("*.npz")) if path.is_dir() else [path])]
    if not files:
        raise MissingImageError(f"no .npz patch set in {paths[0]}", "make some with mbseg train sample")
    return files


def sweep(args: argparse.Namespace) -> int:
    """Score the result at a row of thresholds, print them, write tables and figures."""
    from mbseg_bids.errors import UsageError
    from mbseg_bids.evaluation.sweep import LESION_PROBABILITY, PROBABILITY, RATIO, THRESHOLDS, pool_sweep, sweep_trees
    from mbseg_bids.settings import Settings, from_toml

    given = {RATIO: args.ratio, PROBABILITY: args.probability, LESION_PROBABILITY: args.lesion_probability}
    thresholds = {name: THRESHOLDS[name] if values is None else sorted(set(values)) for name, values in given.items()}
    if args.lesion_probability is None and not _has_second_look(args.truth_tree, args.result_tree):
        thresholds[LESION_PROBABILITY] = []
    for name in (PROBABILITY, LESION_PROBABILITY):
        if any(value > 1 for value in thresholds[name]):
            raise UsageError(f"a {name} of {max(thresholds[name])} is above 1", "give thresholds from 0 to 1")
    thresholds = {name: values for name, values in thresholds.items() if values}
    if not thresholds:
        raise UsageError("no threshold to try", "give some to --ratio, --probability or --lesion-probability")
    settings = from_toml(args.config_file) if args.config_file else Settings()
    counts = sweep_trees(
        args.truth_tree,
        args.result_tree,
        settings.detection,
        thresholds=thresholds,
        rules=(args.match,),
        progress=_progress("scans"),
        **_limits(args),
    )
    pooled = pool_sweep(counts, _bootstrap(args))
    columns = {"threshold": "threshold"} | {name: text for name, text in SHOWN.items() if name != "region"}
    for name in thresholds:
        print(f"{name}, all regions:")
        print(_on_screen(_rows(pooled, {"parameter": name, "region": "all"}), columns))
    _write(args.out, {"sweep": pooled}, _settings(args, *LIMITS))
    if args.out is not None:
        from mbseg_bids.evaluation.figures import sweep_figure

        for name in thresholds:
            _write_figure(args.out / f"sweep_{name}", sweep_figure(pooled, name, args.note))
    return 0


def _has_second_look(truth_tree: Path, result_tree: Path) -> bool:
    """Tell whether every scan has candidates with a probability of the candidate classifier."""
    from mbseg_bids.evaluation.pairs import pair_trees, read_table, sibling
    from mbseg_bids.evaluation.sweep import CANDIDATE_TABLE

    tables = [sibling(pair.result, CANDIDATE_TABLE) for pair in pair_trees(truth_tree, result_tree)[0]]
    return all(path.exists() and "lesion_probability" in read_table(path).columns for path in tables)


def calibration(args: argparse.Namespace) -> int:
    """Compare the probabilities of candidates with the truth, print measures, write tables and a figure."""
    from mbseg_bids.evaluation.calibration import calibrate, judged_candidates

    judged = judged_candidates(
        args.truth_tree,
        args.result_tree,
        score=args.score,
        rule=args.match,
        progress=_progress("scans"),
        **_limits(args),
    )
    found = calibrate(judged, args.bins, _bootstrap(args))
    print(_on_screen(found.measures, {"measure": "measure", "n_candidates": "candidates", "value": "value"}))
    names = ("probability_from", "probability_to", "n_candidates", "n_true", "probability_mean", "observed")
    print("\n" + _on_screen(found.bins, {name: name.replace("_", " ") for name in names}))
    tables = {"calibration": found.measures, "calibration_bins": found.bins, "calibration_candidates": judged}
    _write(args.out, tables, _settings(args, *LIMITS, "score", "bins"))
    if args.out is not None:
        from mbseg_bids.evaluation.figures import calibration_figure

        _write_figure(args.out / "calibration", calibration_figure(found.bins, args.note))
    return 0


def agreement(args: argparse.Namespace) -> int:
    """Print the agreement of two segmentations by region, and write it."""
    from mbseg_bids.evaluation.agreement import compare_readers

    found = compare_readers(
        args.first_tree, args.second_tree, rule=args.match, progress=_progress("scans"), **_limits(args)
    )
    pooled = found.pooled(_bootstrap(args))
    columns = {
        "region": "region",
        "n_first": "first",
        "n_second": "second",
        "positive_agreement": "agreement on lesions",
        "scan_agreement": "on scans",
        "kappa": "kappa of scans",
        "concordance": "concordance of counts",
    }
    print(_on_screen(pooled, columns))
    for participant, session in found.missing:
        print(f"only in one tree: {participant} {session}", file=sys.stderr)
    _write(args.out, {"agreement": pooled}, _settings(args, *LIMITS))
    return 1 if found.missing else 0


def _limits(args: argparse.Namespace) -> dict[str, float]:
    return {name: getattr(args, name) for name in LIMITS if name != "match"}


def _write_figure(path: Path, figure: Any) -> None:
    from mbseg_bids.evaluation.figures import to_bytes

    for kind in ("png", "svg"):
        write_bytes(path.with_name(f"{path.name}.{kind}"), to_bytes(figure, kind))


def _markdown(pooled: pd.DataFrame, rules: Sequence[str]) -> str:
    """Return the pooled scores as Markdown: by region, then all regions by kind of scan, voxel size and lesion size."""
    parts = []
    everything = {"scans": "all", "spacing": "all", "size": "counted", "region": "all"}
    without_region = {name: heading for name, heading in SHOWN.items() if name != "region"}
    voxels = {"voxel_dice": "voxel Dice", "voxel_dice_mean": "voxel Dice, mean over scans"}
    for rule in rules:
        of_rule = pooled[pooled["match"] == rule]

        def by(column: str, values: list[str] | None = None, *, of_rule=of_rule) -> pd.DataFrame:
            rows = _rows(of_rule, {k: v for k, v in everything.items() if k != column})
            return rows if values is None else rows[rows[column].isin(values)]

        parts += [
            f"Lesions matched by {rule}, by region:\n\n{markdown_table(by('region'), SHOWN)}",
            "By kind of scan:\n\n"
            + markdown_table(by("scans"), {"scans": "scans", "n_scans": "n"} | without_region | voxels),
            f"By size:\n\n{markdown_table(by('size'), {'size': 'lesions'} | without_region)}",
        ]
        sizes = sorted(set(of_rule["spacing"]) - {"all"})
        if sizes:
            columns = {"spacing": "voxel, mm", "n_scans": "scans"} | without_region
            parts.append(f"By voxel size:\n\n{markdown_table(by('spacing', sizes), columns)}")
    return "\n".join(parts)


def _rows(frame: pd.DataFrame, where: dict[str, str]) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _on_screen(frame: pd.DataFrame, columns: dict[str, str]) -> str:
    """Return a table of text columns: scores with their interval in brackets."""
    return cells(frame, columns).to_string(index=False)


def _bootstrap(args: argparse.Namespace) -> Bootstrap:
    return Bootstrap(args.resamples, args.seed, args.level)


def _settings(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in (*names, "resamples", "seed", "level")}


def _report_missing(missing: tuple[tuple[str, str], ...]) -> None:
    for participant, session in missing:
        print(f"no result for {participant} {session}", file=sys.stderr)


def _write(folder: Path | None, tables: dict[str, pd.DataFrame], settings: dict[str, Any]) -> None:
    """Write every table as TSV with the description of its columns beside it."""
    if folder is None:
        return
    for name, table in tables.items():
        write_text(folder / f"{name}.tsv", to_tsv(table))
        write_text(folder / f"{name}.json", sidecar(table, **settings))


def _progress(what: str) -> Callable[[int, int], None] | None:
    """Return a callback that counts on a terminal's error output; None where nobody watches."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        print(f"\r{done} of {total} {what}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show
