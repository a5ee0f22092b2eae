"""How the sessions of a run ended: in a table, in the closing words, and in the exit code."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mbseg_bids.errors import MbsegError, ParticipantFailedError
from mbseg_bids.wording import counted

STOPPED_CODE = 130
"""Exit code of sessions that a run stopped from outside has not finished."""

COLUMNS = ("session", "outcome", "exit_code", "seconds", "warnings", "reason")


@dataclass
class Outcome:
    """How each session ended, by label."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Finished by an earlier run."""
    failed: dict[str, MbsegError] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)
    """Not finished when the run was stopped from outside."""
    incomplete: set[str] = field(default_factory=set)
    """Sessions without T1w or T2w, however they ended."""
    seconds: dict[str, float] = field(default_factory=dict)
    """From the first step of a session to the end of its last, of those computed by this run."""
    warnings: dict[str, int] = field(default_factory=dict)
    """Number of warnings."""
    microbleeds: dict[str, str] = field(default_factory=dict)
    """Number of microbleeds, of those done."""
    reports: dict[str, str] = field(default_factory=dict)
    """Path of the report, where there is one."""
    finished_before: int = 0
    """Of a dry run: sessions that need not run."""

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of each session, as named in :data:`COLUMNS`."""
        ended = [(label, "done", 0, "n/a") for label in self.done]
        ended += [(label, "finished before", 0, "n/a") for label in self.skipped]
        ended += [(label, "failed", error.exit_code, str(error)) for label, error in self.failed.items()]
        ended += [(label, "stopped", STOPPED_CODE, "stopped from outside") for label in self.stopped]
        return [self._row(*row) for row in sorted(ended)]

    def _row(self, label: str, outcome: str, code: int, reason: str) -> tuple[str, ...]:
        seconds = f"{self.seconds[label]:.0f}" if label in self.seconds else "n/a"
        return label, outcome, str(code), seconds, str(self.warnings.get(label, 0)), reason

    def table(self) -> str:
        """Return the rows as text for a terminal: who, how it ended, how long, what was found, where to read."""
        titles = [("session", "outcome", "time", "warnings", "microbleeds", "")]
        cells = [
            (
                label, outcome, _clock(seconds), count, self.microbleeds.get(label, "-"),
                self.reports.get(label, "") if reason == "n/a" else f"exit code {code}: {reason}",
            )
            for label, outcome, code, seconds, count, reason in self.rows()
        ]  # fmt: skip
        widths = [max(len(row[n]) for row in titles + cells) for n in range(5)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[5]]) for row in titles + cells
        ]
        return "\n".join(line.rstrip() for line in lines)


def as_tsv(rows: Iterable[tuple[str, ...]]) -> str:
    """Return the rows of :meth:`Outcome.rows` as the text of a TSV file."""
    return "".join("\t".join(row) + "\n" for row in (COLUMNS, *rows))


def ending(outcome: Outcome, verb: str = "done") -> str:
    """Return the closing words of a run, or raise what it ends with.

    If no session is done, the run ends with the error of the sessions where they share one kind, else as a general
    failure. If some are done, it is a failure of participants (exit code 1).
    """
    n_good = len(outcome.done) + len(outcome.skipped)
    n_finished = outcome.finished_before
    earlier = f", {len(outcome.skipped)} of them by an earlier run" if outcome.skipped else ""
    n_incomplete = len(outcome.incomplete & {*outcome.done, *outcome.skipped})
    earlier += f", {n_incomplete} of them without T1w or T2w" if n_incomplete else ""
    earlier += f", {n_finished} finished already" if n_finished else ""
    if not outcome.failed:
        return f"{counted(n_good, 'session')} {verb}{earlier}"
    first = next(iter(outcome.failed.values()))
    others = len(outcome.failed) - 1
    if n_good + n_finished == 0 and len({type(error) for error in outcome.failed.values()}) == 1:
        what = first.what if others == 0 else f"{first.what}; and {others} more of the kind"
        raise type(first)(what, first.remedy)
    raise ParticipantFailedError(
        f"{counted(len(outcome.failed), 'session')} failed, {n_good} {verb}{earlier}; first failure: {first.what}",
        f"{first.remedy}; all are listed above",
    )


def warnings_of(summary: Mapping) -> int:
    """Return the number of warnings in the summary of a session."""
    warnings = summary.get("warnings")
    return len(warnings) if isinstance(warnings, list) else 0


def microbleeds_of(summary: Mapping) -> str:
    """Return the number of microbleeds in the summary of a session, ``-`` where it has none."""
    detection = summary.get("detection")
    number = detection.get("n_lesions") if isinstance(detection, dict) else None
    return str(number) if isinstance(number, int) else "-"


def _clock(seconds: str) -> str:
    if not seconds.isdecimal():
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
