"""The paper's study of hyper-parameters: one changed at a time, every run repeated, runs shared out over a cluster."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mbseg_bids.errors import NothingSelectedError, UnreadableDataError, UsageError
from mbseg_bids.learning.examples.augmentation import NONE
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet, narrow
from mbseg_bids.learning.files import write_whole
from mbseg_bids.learning.stages.initial import starting_network
from mbseg_bids.learning.stages.stage import MICROBLEED_STAGE, Sets, as_in_training, check_sets, train_stage
from mbseg_bids.learning.study.plan import Plan, Run
from mbseg_bids.learning.training.batches import Batches, Precision
from mbseg_bids.learning.training.interruption import StopRequest
from mbseg_bids.learning.training.log import QUIET, Display

_PLAN, _RUNS, _WORK = "study.json", "runs", "work"


def run_study(
    plan: Plan,
    sets: Sets,
    out: Path,
    *,
    shard: tuple[int, int] = (1, 1),
    device: torch.device | None = None,
    workers: int = 1,
    precision: Precision = "float32",
    stop: StopRequest | None = None,
    display: Display = QUIET,
    report: Callable[[str], None] = print,
) -> int:
    """Do those runs of a shard that are not done yet; what was begun goes on at its checkpoint.

    Parameters
    ----------
    plan, sets
        What to do, on which patches.
    out
        Folder of the study; shards may share it. Every finished run is one JSON file in ``runs``.
    shard
        (k, n): every n-th run, from the k-th, counted from 1.
    device, workers, precision, stop, display
        As in :func:`mbseg_bids.learning.training.trainer.train`.
    report
        Called with a line for each run.

    Returns
    -------
    How many runs were done now.

    Raises
    ------
    UsageError
        If the folder is of another study, or a run is impossible with these patches.
    TrainingStoppedError
        If asked to stop.
    """
    runs = plan.runs()
    _check(plan, runs, sets)
    _claim(out, plan, sets)
    # The same patches in all runs: what is drawn must not depend on the seed of a run.
    base = replace(MICROBLEED_STAGE, seed=plan.seed)
    scored = [_few(as_in_training(patches, base), plan.score_patches) for patches in (sets.validation, sets.test)]
    mine = [run for n, run in enumerate(runs) if n % shard[1] == shard[0] - 1]
    waiting = [run for run in mine if not _result_path(out, run).is_file()]
    report(f"{len(runs)} runs, {len(mine)} in this shard, {len(waiting)} to do; {plan.scale}")
    for n, run in enumerate(waiting, start=1):
        folder = out / _WORK / run.name
        started = time.monotonic()
        settings = plan.settings(run, workers, precision)
        _, validation, test = train_stage(
            Sets(sets.training, *scored),
            settings,
            folder,
            initial=starting_network(plan.init, settings.seed).model,
            device=device,
            resume=True,
            report=lambda _: None,
            stop=stop,
            display=display,
        )
        seconds = round(time.monotonic() - started, 1)
        scores = {"validation": validation.as_row(), "test": test.as_row()}
        result = {"run": asdict(run), "seconds": seconds, "scale": plan.scale, "scores": scores}
        write_whole(_result_path(out, run), json.dumps(result, indent=2) + "\n")
        shutil.rmtree(folder)  # the checkpoint is large and has served
        report(f"{n}/{len(waiting)} {run.name}: accuracy {validation.accuracy:.4f} / {test.accuracy:.4f}, {seconds} s")
    return len(waiting)


def collect(out: Path) -> tuple[pd.DataFrame, int]:
    """Join the results of all shards.

    Returns
    -------
    table
        One row for each factor, value, repetition and set (validation, test): accuracy, sensitivity, specificity, auc,
        seconds, scale.
    missing
        Runs that are not done.

    Raises
    ------
    NothingSelectedError
        If the folder has no finished run.
    UnreadableDataError
        If a result cannot be read.
    """
    plan = read_plan(out)
    rows, missing = [], set()
    for factor, values in plan.values.items():
        for value in values:
            for repetition in range(plan.repetitions):
                run = plan.run(factor, value, repetition)
                result = _read_result(_result_path(out, run))
                if result is None:
                    missing.add(run)
                    continue
                key = {"factor": factor, "value": value, "repetition": repetition + 1}
                for name, scores in result["scores"].items():
                    measured = {s: round(scores[s], 5) for s in ("accuracy", "sensitivity", "specificity", "auc")}
                    rows.append({**key, "set": name, **measured, "seconds": result["seconds"], "scale": plan.scale})
    if not rows:
        raise NothingSelectedError(f"no finished run in {out}", "start them with mbseg study run")
    return pd.DataFrame(rows), len(missing)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the means over repetitions: a row for each factor and value, in the order of the study."""
    measures = ["accuracy", "sensitivity", "specificity"]
    means = table.groupby(["factor", "value", "set"], sort=False)[measures].mean().unstack("set")
    means.columns = [f"{name}_{measure}" for measure, name in means.columns]
    ordered = [f"{name}_{measure}" for name in ("validation", "test") for measure in measures]
    return means[ordered].reset_index()


def read_plan(out: Path) -> Plan:
    """Return the plan of the study in a folder.

    Raises
    ------
    NothingSelectedError
        If there is none.
    UnreadableDataError
        If it cannot be read.
    """
    path = out / _PLAN
    if not path.is_file():
        raise NothingSelectedError(f"no study in {out}", "start one with mbseg study run --out")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["plan"]
        return Plan(**content | {"values": {k: tuple(v) for k, v in content["values"].items()}})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableDataError(f"cannot read {path}: {error}", "start the study in another folder") from error


def _check(plan: Plan, runs: list[Run], sets: Sets) -> None:
    """Raise the error that any of the runs would raise, before the first is begun."""
    for run in runs:
        settings = plan.settings(run)
        if run.freeze > 177:
            raise UsageError(f"freeze {run.freeze}: the network has 177 layers", "give 0 to 177")
        narrow(sets.training, run.patch, turned=settings.augmentation != NONE)
        Batches(sets.training.kinds, settings)
        check_sets(sets, settings)


def _claim(out: Path, plan: Plan, sets: Sets) -> None:
    """Write the plan into the folder, or see that the one in it is the same."""
    counts = [[len(s), len(np.unique(s.participants))] for s in (sets.training, sets.validation, sets.test)]
    content: dict[str, Any] = {"plan": asdict(plan), "patches_and_participants": counts}
    text = json.dumps(content, indent=2) + "\n"
    path = out / _PLAN
    if not path.is_file():
        write_whole(path, text)
        return
    read_plan(out)
    theirs, ours = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
    flat = [{**c["plan"], "patches": c.get("patches_and_participants")} for c in (theirs, ours)]
    differing = [key for key in flat[1] if flat[0].get(key) != flat[1][key]]
    if differing:
        raise UsageError(f"{out} holds a study with other {', '.join(differing)}", "give another folder to --out")


def _few(patches: PatchSet, most: int | None) -> PatchSet:
    """Thin each kind out evenly."""
    if most is None:
        return patches
    members = [np.flatnonzero(patches.kinds == number) for number in KINDS.values()]
    thinned = [m[np.linspace(0, len(m) - 1, most).astype(int)] if len(m) > most else m for m in members]
    return patches.select(np.sort(np.concatenate(thinned)))


def _result_path(out: Path, run: Run) -> Path:
    return out / _RUNS / f"{run.name}.json"


def _read_result(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return {"scores": result["scores"], "seconds": float(result["seconds"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableDataError(f"cannot read {path}: {error}", "delete it, and run the study again") from error
