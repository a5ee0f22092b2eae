"""Readings of a session's summary, and the verdict a reader sees first. Pure: mappings in, plain values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.contrasts import CHANNELS
from mbseg_bids.imaging import registration_check, template_registration
from mbseg_bids.reports.session_files import number

FAILED, ATTENTION, PASSED = "failed", "attention", "passed"
"""Levels of a verdict, worst first."""


@dataclass(frozen=True)
class RegistrationCheck:
    """Outcome of one registration check; ``None`` where the run did not record it."""

    name: str
    similarity: float | None
    overlap: float | None
    passed: bool | None
    retried: bool
    reasons: tuple[str, ...] = ()
    transform: npt.NDArray[np.float64] | None = None
    """Rigid, 4 x 4: points of the moving image to points of T2*, RAS+ mm."""
    advantage: float | None = None
    """Part by which the similarity falls when the image is moved; only rigid registrations have one."""

    @property
    def measures(self) -> tuple[str, ...]:
        """What was measured, each with the mark from which it passes."""
        if self.title.endswith("template"):
            return (
                _marked("similarity", self.similarity, template_registration.MINIMUM_CORRELATION),
                _marked("brain overlap", self.overlap, template_registration.MINIMUM_OVERLAP),
            )
        said = [f"similarity {_figure(self.similarity)}"]
        if self.advantage is not None:
            least = registration_check.MINIMUM_ADVANTAGE
            said = [f"{said[0]}, {100 * self.advantage:.0f} % better than moved (passes from {100 * least:.0f} %)"]
        return (*said, _marked("brain overlap", self.overlap, registration_check.MINIMUM_OVERLAP))

    @property
    def turn(self) -> float | None:
        """Angle that the image was turned by, degrees."""
        if self.transform is None:
            return None
        return float(np.degrees(np.arccos(np.clip((np.trace(self.transform[:3, :3]) - 1) / 2, -1, 1))))

    @property
    def moving(self) -> str:
        """The contrast that was moved (``T1w``), or the check's own name."""
        start = self.name.lower().replace("_", "").split("to")[0]
        return {"t1w": "T1w", "t1": "T1w", "t2w": "T2w", "t2": "T2w", "t2star": "T2*"}.get(start, self.name)

    @property
    def title(self) -> str:
        """The registration in words: ``T1w to T2*``."""
        target = self.name.lower().replace("_", "").partition("to")[2]
        names = {"t2star": "T2*", "t2starw": "T2*", "template": "template", "t1w": "T1w", "t1": "T1w"}
        return f"{self.moving} to {names[target]}" if target in names else self.name


@dataclass(frozen=True)
class Verdict:
    """Whether a session can be believed.

    Attributes
    ----------
    level
        ``failed`` (do not use), ``attention`` (read the warnings first) or ``passed``.
    failures, warnings
        Sentences, most important first.
    crashed
        Whether the run failed and left no results.
    """

    level: str
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    crashed: bool = False

    @property
    def headline(self) -> str:
        """One sentence for the strip."""
        if self.crashed:
            return "This session failed: it has no results"
        if self.level == FAILED:
            return "Do not use this session: a check failed"
        if self.level == ATTENTION:
            n = len(self.warnings)
            return f"Look before use: {n} warning{'s' if n > 1 else ''}"
        return "Registration checks passed"


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts from a list, a single text or nothing."""
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    if isinstance(value, Sequence):
        return tuple(str(item) for item in value)
    return tuple(f"{key}: {item}" for key, item in mapping(value).items())


def registration_checks(summary: Mapping[str, Any]) -> tuple[RegistrationCheck, ...]:
    """Return the registration checks of a summary, in the order they were written."""
    anatomy = mapping(summary.get("anatomy"))
    checks = mapping(anatomy.get("registration") or anatomy.get("registration_checks"))
    return tuple(
        RegistrationCheck(
            str(name),
            number(check.get("similarity")),
            number(check.get("overlap")),
            check["passed"] if isinstance(check.get("passed"), bool) else None,
            bool(check.get("retried")),
            texts(check.get("reasons")),
            _matrix(check.get("transform")),
            number(check.get("advantage")),
        )
        for name, check in ((name, mapping(check)) for name, check in checks.items())
    )


def _matrix(value: Any) -> npt.NDArray[np.float64] | None:
    """Return a rigid 4 x 4 matrix, or nothing for anything else."""
    try:
        matrix = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return None
    rigid = np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-3)
    return matrix if rigid and np.linalg.det(matrix) > 0 else None


def all_warnings(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every warning of the run, each once."""
    anatomy, detection = mapping(summary.get("anatomy")), mapping(summary.get("detection"))
    found = texts(summary.get("warnings")) + texts(anatomy.get("warnings")) + texts(detection.get("warnings"))
    return tuple(dict.fromkeys(found))


def contrast(summary: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what the summary says of one input; keys ``T2starw``, ``t2star`` and the like are one."""
    wanted = _plain(name)
    for key, value in mapping(summary.get("inputs")).items():
        if _plain(str(key)) == wanted:
            return mapping(value)
    return {}


def missing_contrasts(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return T2w, T1w or both where the run recorded that the session does not have them."""
    recorded = texts(summary.get("missing_contrasts"))
    return tuple(name for name in CHANNELS[1:] if name in recorded)


def contrasts_used(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the contrasts of a session in the order of the network's channels; empty where no input was recorded."""
    return tuple(name for name in CHANNELS if contrast(summary, name))


def _plain(name: str) -> str:
    return name.lower().removesuffix("w").replace("*", "star")


def criteria_notes(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return sentences on what the reader's criteria could not tell on a scan; none where they were not asked."""
    found = mapping(mapping(summary.get("detection")).get("criteria"))
    notes = []
    if found.get("t2star_tells_fluid") is False:
        quotient = number(found.get("fluid_to_tissue"))
        known = "" if quotient is None else f" ({quotient:.2f} times as bright)"
        notes.append(
            f"Fluid is not clearly brighter than brain tissue on this T2*{known}: whether a candidate lies in fluid "
            "was judged by the tissue map alone, which rejects less."
        )
    if found.get("slices_tell_vessels") is False:
        notes.append(
            "The slices are too thick to follow a vessel from one to the next: a vein that crosses the slice looks "
            "like a microbleed here."
        )
    phase = mapping(mapping(summary.get("detection")).get("phase"))
    if phase.get("used") is True:
        calcium, blood = (number(phase.get(f"n_sure_{kind}magnetic")) or 0 for kind in ("dia", "para"))
        notes.append(
            f"By the phase, {blood:.0f} of what passed the ratio rule are surely paramagnetic as blood is, "
            f"{calcium:.0f} surely diamagnetic as calcium is."
        )
    return tuple(notes)


def judge(summary: Mapping[str, Any], problems: Sequence[str], *, table_found: bool) -> Verdict:
    """Weigh checks, warnings and missing files into one verdict.

    A registration that failed, or a lesion table that cannot be read, means that the session is not to be used. A
    registration without a recorded check is never taken as passed.
    """
    failures, warnings = [], []
    checks = registration_checks(summary)
    for check in checks:
        figures = f"similarity {_figure(check.similarity)}, brain overlap {_figure(check.overlap)}"
        if check.passed is False:
            lesions = check.title.endswith("to T2*")
            wrong = (
                "lesions, regions and counts may be wrong"
                if lesions
                else "its regions, sides and template positions may be wrong"
            )
            why = f" Reason: {'; '.join(check.reasons)}." if check.reasons else ""
            failures.append(f"{check.title} registration failed its check ({figures}): {wrong}.{why}")
        elif check.passed is None:
            warnings.append(f"{check.title} registration has no recorded outcome ({figures}).")
        elif check.retried:
            warnings.append(f"{check.title} registration passed only from a second start ({figures}).")
    checked = {check.moving for check in checks}
    for name in CHANNELS[1:]:
        if name not in checked and name not in missing_contrasts(summary):
            warnings.append(f"No registration check of {name} was recorded: look at the alignment pictures.")
    if not table_found:
        failures.append("There is no readable lesion table: nothing can be said about microbleeds.")
    failures += texts(summary.get("errors"))
    said = {f"{check.name}: {reason}" for check in checks if check.passed is False for reason in check.reasons}
    warnings += [*(w for w in all_warnings(summary) if w not in said), *problems]
    level = FAILED if failures else ATTENTION if warnings else PASSED
    return Verdict(level, tuple(dict.fromkeys(failures)), tuple(dict.fromkeys(warnings)))


def judge_failure(failure: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a session whose run failed and left no results."""
    step = str(failure.get("step") or "")
    error = str(failure.get("error") or "the reason was not recorded").rstrip(".")
    said = [f"Failed at step {step}: {error}." if step else f"Failed before the first step: {error}."]
    if remedy := str(failure.get("remedy") or ""):
        said.append(f"What to do: {remedy.rstrip('.')}.")
    return Verdict(FAILED, tuple(said), (), crashed=True)


def _figure(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


def _marked(name: str, value: float | None, least: float) -> str:
    return f"{name} {_figure(value)} (passes from {least:.2f})"


def anatomy_source(summary: Mapping[str, Any]) -> str:
    """Return where the anatomy came from, in a few words: computed, or what was reused."""
    for found in (summary.get("reused"), mapping(summary.get("anatomy")).get("reuse")):
        if isinstance(found, Mapping):
            found = [f"{key}: {short_path(value)}" for key, value in found.items() if value]
        if reused := texts(found):
            return "; ".join(reused)
    anatomy = mapping(summary.get("anatomy"))
    on = texts(anatomy.get("anatomical_contrast"))
    if on and on[0] != "T1w":
        return f"computed on {on[0].replace('T2starw', 'T2*')}, regions from the template"
    return "computed" if anatomy else "n/a"


def short_path(value: Any) -> str:
    """Return a text without the folders of the host: an absolute path from its participant's folder on, or its name."""
    text = str(value)
    if not PurePosixPath(text).is_absolute():
        return text
    parts = PurePosixPath(text).parts
    start = next((n for n, part in enumerate(parts) if part.startswith("sub-")), len(parts) - 1)
    return "/".join(parts[start:])
