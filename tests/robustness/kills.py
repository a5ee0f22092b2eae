"""Kill a small run at random moments, resume it every time, and compare what it ends with to an undisturbed run.

    python tests/robustness/kills.py --kills 200
    python tests/robustness/kills.py --kills 20 --real

Everything of the app runs as it is (queries, checks, locks, nipype with its cache, derivatives, marks, tables) but the
steps that compute on images and the report, which are stand-ins that take milliseconds: kills then fall between and
into the writing of files, where they do harm, and not into minutes of registration, where they do none. With
``--real`` nothing is a stand-in: one simulated participant, minutes a run.

The process group gets SIGKILL. With two processes, every second kill hits the main process alone, whose workers must
end by themselves.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trials import REAL, STAND_INS, Trial

LONGEST_RUN = 1800.0
KILLS_OF_A_RUN = 10
"""After so many, a run is left in peace, so that its end can be compared."""
LONGEST_ORPHAN = 60.0


@dataclass
class Result:
    """What the kills came to."""

    kills: int = 0
    runs_finished: int = 0
    """Chains of kills and resumes that came to their end and were compared."""
    moments: Counter = field(default_factory=Counter)
    """How far the run had come when it was killed."""
    faults: list[str] = field(default_factory=list)
    """What was not as it should be."""

    def text(self) -> str:
        """Return one line for each fact."""
        moments = ", ".join(f"{count} {moment}" for moment, count in sorted(self.moments.items()))
        lines = [
            f"kills, each followed by a resume: {self.kills} ({moments})",
            f"runs brought to their end and compared with the undisturbed one: {self.runs_finished}",
            f"faults: {len(self.faults)}",
            *self.faults,
        ]
        return "\n".join(lines)


def start(run: Callable[[list[str]], int], arguments: list[str], log: Path) -> int:
    """Start the app in a process, and a process session, of its own; return its number."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 99
        try:
            os.setsid()
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            code = run(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return process


def members(session: int) -> list[int]:
    """Return the living processes of a process session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, owner = path.read_text().rpartition(")")[2].split()[:4]
            if int(owner) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def wait_for(done: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; return whether it came to that."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def leftovers(out: Path) -> list[str]:
    """Return the files that a finished run must not leave."""
    names = [p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()]
    return sorted(n for n in names if n.endswith((".part", ".tmp", "_incomplete.txt")) or "/.sub" in n)


def check_killed(trial: Trial, out: Path, reference: dict[str, str]) -> tuple[str, list[str]]:
    """Return how far a killed run had come, and what it says of itself that is not true."""
    faults, states = [], []
    now = trial.digests(out)
    for participant in trial.participants:
        label = f"sub-{participant}"
        whole = {name: digest for name, digest in reference.items() if name.startswith(f"{label}/")}
        here = {name: digest for name, digest in now.items() if name.startswith(f"{label}/")}
        here = {name: digest for name, digest in here.items() if not name.endswith(".part")}
        if (out / "logs" / f"{label}_done.json").exists():
            states.append("finished")
            if here != whole:
                faults.append(f"{label} is marked as done, and is not")
        elif here:
            states.append("partly written")
            if not (out / "logs" / f"{label}_incomplete.txt").exists():
                faults.append(f"{label} is partly written, and not marked")
        else:
            states.append("not begun")
    moment = "partly written" if "partly written" in states else "between" if len(set(states)) > 1 else states[0]
    return {"not begun": "before the first file", "finished": "after the last mark", "between": "between sessions",
            "partly written": "with a session partly written"}[moment], faults  # fmt: skip


def kill_and_resume(
    folder: Path, n_kills: int, seed: int, say: Callable[[str], None] = print, trial: Trial = STAND_INS
) -> Result:
    """Kill and resume runs until there were ``n_kills`` kills and the last run came to its end."""
    chance, result = random.Random(seed), Result()
    raw = trial.make_dataset(folder / "raw")
    _import_all(raw)
    plugin = folder / "plugin.json"
    plugin.write_text(json.dumps({"plugin": "MultiProc", "plugin_args": {"n_procs": 2, "mp_context": "fork"}}))

    def arguments(name: str, parallel: bool) -> list[str]:
        words = [raw, folder / name / "out", "participant", "-w", folder / name / "work", "--n-cpus", "1"]
        words += trial.options
        return [str(word) for word in words + (["--nipype-plugin-file", plugin] if parallel else [])]

    begun = time.monotonic()
    code = os.waitstatus_to_exitcode(
        os.waitpid(start(trial.run, arguments("whole", False), folder / "whole.log"), 0)[1]
    )
    length = time.monotonic() - begun
    if code != 0:
        result.faults.append(f"the undisturbed run ended with {code}")
        return result
    reference = trial.digests(folder / "whole" / "out")
    say(f"undisturbed run: {length:.1f} s, {len(reference)} files to compare")
    chain = 0
    while result.kills < n_kills and len(result.faults) < 10:
        chain += 1
        parallel, name = chain % 2 == 0, f"chain{chain}"
        to_the_end = one_chain(trial, functools.partial(arguments, name, parallel), folder / name, length, chance,
                               result, n_kills, parallel, reference)  # fmt: skip
        if trial is STAND_INS:
            length = (length + to_the_end) / 2  # the machine may have become slower, or faster
        say(f"{result.kills} kills, {result.runs_finished} runs finished, {len(result.faults)} faults")
    return result


def _import_all(raw: Path) -> None:
    """Import here what each run would import anew, and spend most of its time on."""
    import mbseg_bids.bids.boilerplate
    import mbseg_bids.cli.participant
    import mbseg_bids.workflows.base
    import mbseg_bids.workflows.execution
    import mbseg_bids.workflows.multiproc  # noqa: F401
    from mbseg_bids.bids.inputs import find_sessions

    find_sessions(raw)


def one_chain(trial, arguments, place, length, chance, result, n_kills, parallel, reference) -> float:
    """Start a run, kill it and start it again until it comes to its end; then compare. Return what its end took, s."""
    log = place.with_suffix(".log")
    last = min(n_kills, result.kills + KILLS_OF_A_RUN)
    while True:
        begun = time.monotonic()
        process = start(trial.run, arguments(), log)
        # Exponential: no moment is out of reach, also where the machine is slower now than it was.
        until = time.monotonic() + (
            chance.expovariate(trial.kills_in_a_length / length) if result.kills < last else LONGEST_RUN
        )
        status = 0

        def ended(process=process) -> bool:
            nonlocal status
            number, status = os.waitpid(process, os.WNOHANG)
            return number == process

        if wait_for(ended, until - time.monotonic()):
            break
        alone = parallel and result.kills % 2 == 0
        if alone:
            os.kill(process, signal.SIGKILL)
        else:
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        result.kills += 1
        if not wait_for(lambda process=process: not members(process), LONGEST_ORPHAN):
            result.faults.append(f"{log.stem}: orphans {members(process)}")
            os.killpg(process, signal.SIGKILL)
        moment, faults = check_killed(trial, place / "out", reference)
        result.moments[moment] += 1
        result.faults += [f"{log.stem}: {fault}" for fault in faults]
    to_the_end = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    result.runs_finished += 1
    if code != 0:
        result.faults.append(f"{log.stem}: the resumed run ended with {code}")
    found = trial.digests(place / "out")
    different = sorted(n for n in found.keys() | reference.keys() if found.get(n) != reference.get(n))
    result.faults += [f"{log.stem}: {name} differs" for name in different[:3]]
    result.faults += [f"{log.stem}: {name} is left" for name in leftovers(place / "out")]
    if not wait_for(lambda: not members(process), LONGEST_ORPHAN):
        result.faults.append(f"{log.stem}: orphans {members(process)} of a run that ended")
    if not result.faults:
        shutil.rmtree(place)
        log.unlink()
    return to_the_end


def main() -> int:
    """Run from the command line; the exit code is 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2022)
    parser.add_argument(
        "--real", action="store_true", help="no stand-ins: computation on images and report as they are"
    )
    parser.add_argument("--folder", type=Path, help="where to run; default: a temporary folder")
    args = parser.parse_args()
    os.environ["NO_ET"] = "1"
    folder = args.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    result = kill_and_resume(folder, args.kills, args.seed, trial=REAL if args.real else STAND_INS)
    print(result.text())
    if not result.faults:
        shutil.rmtree(folder)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
