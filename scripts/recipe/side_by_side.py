"""The whole training on a machine with a GPU that is at hand for minutes: simulating and learning at the same time.

Processes simulate scan after scan and cut examples out of them; meanwhile the network learns, round by round, from the
scans there are when a round begins. When it has learned, the same processes ask it about the scans that the candidate
classifier is fitted to and those that are measured, while the networks of the candidate classifier are trained. What is
written is written whole, and what is there is not made again: a run that was cut off goes on where it was.
"""

import time
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from mbseg_bids.detection.candidates.classifier import NETWORK_FILE
from recipe import candidates, fit, network, real
from recipe.plans import Scale, ScanPlan, make_scan, plans, scan_file

ROUNDS = ("first", "second", "third")


@dataclass(frozen=True)
class Schedule:
    """When what begins and ends, seconds from the start.

    Attributes
    ----------
    csf, learn
        The first stage begins, once there is a scan to validate on; all rounds of the second have ended.
    simulate
        No further training scan is begun.
    end
        Nothing further is begun.
    """

    csf: float
    learn: float
    simulate: float
    end: float

    @classmethod
    def within(cls, seconds: float) -> "Schedule":
        """Divide the time there is."""
        return cls(*(seconds * share for share in (0.155, 0.5, 0.47, 0.97)))


def run(work: Path, labelmaps: Path, scale: Scale, device: torch.device, jobs: int, seconds: float) -> None:
    """Do all steps from simulating to asking, in so many seconds.

    Parameters
    ----------
    work
        Folder of the recipe; ``backgrounds`` in it holds real scans to plant microbleeds in, if any.
    labelmaps
        Folder of the label maps.
    scale
        The most scans that are made.
    device
        Where the networks learn.
    jobs
        Processes that simulate and ask.
    seconds
        Time there is.
    """
    start, wall = time.monotonic(), time.time()
    schedule = Schedule.within(seconds)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        until = wall + schedule.simulate
        planted = list(real.plantings(work, scale, "train"))
        examples = [pool.submit(_make_examples, labelmaps, work, plan, until) for plan in _ordered(scale, "val")]
        examples += [pool.submit(_plant_examples, work, background, name, until) for background, name in planted]
        examples += [pool.submit(_make_examples, labelmaps, work, plan, until) for plan in plans(scale, "train")]
        made = {plan.name: pool.submit(make_scan, labelmaps, work, plan) for plan in _asked_about(scale)}
        for background, name in real.plantings(work, scale, "look"):
            made[name] = pool.submit(real.plant_scan, work, background, name)
        learned = _learn(work, device, schedule, start)
        for future in wait(examples).done:
            _show_failure(future)
        candidates.choose_examples(work, learned, device)
        _say(start, "examples of the candidate classifier chosen")
        asked = [pool.submit(_ask, learned, work, name, wall + schedule.end, device.type) for name in made]
        _train_members(work, device, start)
        for future in [*made.values(), *asked]:
            _show_failure(future)
    _say(start, f"{len(list((work / 'probability').glob('*.npz')))} of {len(made)} scans asked about")


def _learn(work: Path, device: torch.device, schedule: Schedule, start: float) -> Path:
    """Both stages of the network, each round as long as there is time for; return its file."""
    while not (network.validation_scans(work) and list((work / "sets").glob("train_*_microbleed.npz"))):
        time.sleep(0.5)
    time.sleep(max(0.0, start + schedule.csf - time.monotonic()))
    _say(start, f"CSF, on {_training_scans(work)} scans")
    begun, share = time.monotonic(), 1.0 if device.type == "cuda" else 0.001
    network.train_csf(work, device, share)
    rate = network.CSF_PATCHES * share / (time.monotonic() - begun)
    before = work / "csf.safetensors"
    for number, name in enumerate(ROUNDS):
        left = (start + schedule.learn - time.monotonic()) / (len(ROUNDS) - number)
        shown = max(2000.0, rate * left) if device.type == "cuda" else 500.0
        _say(start, f"{name} round, {rate:.0f} patches a second, on {_training_scans(work)} scans")
        begun = time.monotonic()
        network.train_round(work, name, before, device, shown / network.ROUNDS[name].patches)
        rate = shown / (time.monotonic() - begun)
        before = work / f"{name}.safetensors"
    _say(start, "the network has learned")
    return before


def _train_members(work: Path, device: torch.device, start: float) -> None:
    """Train the networks of the candidate classifier side by side: each is too small to fill a GPU."""
    if (work / NETWORK_FILE).is_file():
        return
    share = 1.0 if device.type == "cuda" else 0.01
    with ProcessPoolExecutor(len(candidates.MEMBERS), mp_context=get_context("spawn")) as pool:
        for future in [
            pool.submit(candidates.train_member, work, seed, None, device, share) for seed in candidates.MEMBERS
        ]:
            future.result()
    candidates.put_together(work, None)
    _say(start, "the networks of the candidate classifier have learned")


def _make_examples(labelmaps: Path, work: Path, plan: ScanPlan, until: float) -> None:
    torch.set_num_threads(1)
    if time.time() > until or candidates.is_proposed(work, plan):
        return
    make_scan(labelmaps, work, plan)
    network.cut_plan(work, plan)
    if plan.part == "train":
        candidates.propose_plan(work, plan)
        plan.path(work).unlink()


def _plant_examples(work: Path, background: Path, name: str, until: float) -> None:
    torch.set_num_threads(1)
    if time.time() > until or network.patch_file(work, name, "microbleed").is_file():
        return
    real.plant_scan(work, background, name)
    candidates.propose_planting(work, name)
    network.cut_planting(work, name)
    scan_file(work, name).unlink()


def _ask(learned: Path, work: Path, name: str, until: float, device: str) -> None:
    while not scan_file(work, name).is_file() and time.time() < until:
        time.sleep(0.2)  # another process is making it
    if time.time() < until:
        fit.detect(learned, work, name, "cuda" if device == "cuda" else "cpu")


def _asked_about(scale: Scale) -> list[ScanPlan]:
    """Return the scans of the candidate classifier and the measured ones, some of each kind first."""
    fitted = _ordered(scale, "look")
    half = len(fitted) // 2
    return [*plans(scale, "val"), *fitted[:half], *plans(scale, "test", "free"), *fitted[half:]]


def _ordered(scale: Scale, part: str) -> list[ScanPlan]:
    """Return the scans of a part, those of the whole and of the narrow breadth in turn."""
    return sorted(plans(scale, part), key=lambda plan: (plan.seed % 100, plan.narrow, plan.anatomy))


def _training_scans(work: Path) -> int:
    return sum(1 for path in (work / "sets").glob("*_microbleed.npz") if path.name.startswith(("train", "real")))


def _show_failure(future: Future) -> None:
    error = future.exception()
    if error is not None:
        print("failed:", repr(error), flush=True)


def _say(start: float, what: str) -> None:
    print(f"[{time.monotonic() - start:6.1f} s] {what}", flush=True)
