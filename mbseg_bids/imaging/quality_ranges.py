"""How a T2*-weighted scan compares with the scans that the network learned from, and when that makes counts unreliable.

The network answers on any scan. What its answer is worth on scans unlike those it learned from is not known, so what
lies outside their range is said before any count.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from mbseg_bids.data import QUALITY_RANGES

LOW, HIGH = "low", "high"

PROBABILITY_EDGES = (0.0, 0.05, 0.2, 0.5, 0.8, 1.0)
"""Of the bins of the network's probabilities: what it says no to, where its search goes on growing (0.2), a candidate
(0.5), and above."""
LEAST_COVERAGE = 0.9
"""Part of the brain that T2* must show. Every training scan shows the whole of it, but in people the lowest slices of
the cerebellum are often left out; where more is missing, the counts are not those of a brain."""
TOLERANCE = 0.01
"""Part of a limit that is none: headers say 1.494 T and 0.3996 mm."""


@dataclass(frozen=True)
class Measure:
    """One thing that is compared.

    Attributes
    ----------
    title, unit
        For reading.
    sides
        On which sides of the range of the training scans counts are unreliable.
    factor
        From the unit of the column to that of reading.
    """

    title: str
    unit: str = ""
    sides: tuple[str, ...] = (LOW, HIGH)
    factor: float = 1.0


_PERCENT = 100.0
MEASURES: dict[str, Measure] = {
    "t2star_snr": Measure("Signal-to-noise ratio of white matter", sides=(LOW,)),
    "t2star_ghosting": Measure("Ghosts of motion in white matter", sides=(HIGH,)),
    "t2star_cnr": Measure("Contrast-to-noise ratio of grey and white matter"),
    "t2star_coverage": Measure("Brain in the field of view", "%", sides=(LOW,), factor=_PERCENT),
    "t2star_voxel_size_in_plane": Measure("Voxel size in plane", "mm"),
    "t2star_slice_spacing": Measure("Distance of slices", "mm"),
    "t2star_echo_time": Measure("Echo time", "ms", factor=1000.0),
    "t2star_field_strength": Measure("Field strength", "T"),
    "dark_share": Measure("Brain in the search mask", "%", sides=(HIGH,), factor=_PERCENT),
    "asked_share": Measure("Brain that the network was asked about", "%", sides=(HIGH,), factor=_PERCENT),
    "probability_below_5": Measure("Of that, probability below 5 %", "%", sides=(), factor=_PERCENT),
    "probability_5_to_20": Measure("Of that, probability 5 to 20 %", "%", sides=(HIGH,), factor=_PERCENT),
    "probability_20_to_50": Measure("Of that, probability 20 to 50 %", "%", sides=(HIGH,), factor=_PERCENT),
    "probability_50_to_80": Measure("Of that, probability 50 to 80 %", "%", sides=(), factor=_PERCENT),
    "probability_from_80": Measure("Of that, probability 80 % and more", "%", sides=(), factor=_PERCENT),
}
"""By the column of a table. The share of sure answers is no quality: it is the result. Little to search is none either:
training scans hold more microbleeds and vessels than people."""
PROBABILITIES = tuple(name for name in MEASURES if name.startswith("probability_"))
OF_SEARCH = ("dark_share", "asked_share", *PROBABILITIES)


@dataclass(frozen=True)
class Compared:
    """A measure beside the range of the training scans; None for what is not known."""

    value: float | None
    low: float | None
    median: float | None
    high: float | None
    outside: bool | None
    """None where it is not judged."""


@dataclass(frozen=True)
class Quality:
    """What is known about a scan.

    Attributes
    ----------
    measures
        By the names of :data:`MEASURES`, in their order.
    reasons
        Why counts are unreliable, one phrase a measure that lies outside.
    judged
        Whether the ranges are those of the weights that were used.
    """

    measures: dict[str, Compared]
    reasons: tuple[str, ...]
    judged: bool

    @property
    def sentence(self) -> str:
        """For the first screen; empty where nothing lies outside."""
        return f"Counts unreliable because {'; '.join(self.reasons)}." if self.reasons else ""

    def as_dict(self) -> dict[str, Any]:
        """Return what the summary of a session holds."""
        return {
            "measures": {name: asdict(compared) for name, compared in self.measures.items()},
            "unreliable": bool(self.reasons) if self.judged or self.reasons else None,
            "reasons": list(self.reasons),
            "judged": self.judged,
            "warnings": [self.sentence] if self.reasons else [],
        }

    def as_table(self, filename: str) -> str:
        """Return the table of the session, columns ``quality`` of ``data/columns.json``, as TSV text of one row."""
        cells = {"filename": filename}
        for name, compared in self.measures.items():
            cells[name] = "n/a" if compared.value is None else f"{compared.value:.6g}"
        cells["counts_unreliable"] = str(bool(self.reasons)).lower() if self.judged or self.reasons else "n/a"
        cells["unreliable_because"] = "; ".join(self.reasons) or "n/a"
        return "\t".join(cells) + "\n" + "\t".join(cells.values()) + "\n"


@cache
def training_ranges() -> dict[str, Any]:
    """Return the ranges measured on training scans, as ``scripts/quality_ranges.py`` wrote them."""
    return json.loads(QUALITY_RANGES.read_text(encoding="utf-8"))


def judge_quality(
    measured: Mapping[str, float | None],
    ranges: Mapping[str, Any],
    *,
    weights_sha256: str | None = None,
    exhaustive: bool = False,
) -> Quality:
    """Compare a scan with the training scans.

    Parameters
    ----------
    measured
        By the names of :data:`MEASURES`; a name that is absent is not known.
    ranges
        Of :func:`training_ranges`.
    weights_sha256
        Of the weights that were used. Of others than those of the ranges it is not known what they learned from:
        nothing is judged but the coverage.
    exhaustive
        Whether the whole brain was searched: then the search says nothing about the scan.
    """
    judged = weights_sha256 == ranges["weights"]["sha256"]
    compared, reasons = {}, []
    for name, measure in MEASURES.items():
        value, found = measured.get(name), ranges["measures"].get(name, {})
        low, median, high = (found.get(key) for key in ("low", "median", "high"))
        if name == "t2star_coverage":
            low, median, high = LEAST_COVERAGE, 1.0, 1.0
        known = value is not None and low is not None and measure.sides != ()
        applies = (judged and not (exhaustive and name in OF_SEARCH)) or name == "t2star_coverage"
        outside = None
        if known and applies:
            assert value is not None
            side = LOW if value < low - TOLERANCE * abs(low) else HIGH if value > high + TOLERANCE * abs(high) else ""
            outside = side in measure.sides
            if outside:
                reasons.append(_reason(measure, value, low, high))
        compared[name] = Compared(value, low, median, high, outside)
    return Quality(compared, tuple(reasons), judged)


def in_words(value: float | None, measure: Measure) -> str:
    """Return a value with its unit, three significant digits."""
    if value is None:
        return "not known"
    return f"{value * measure.factor:.3g} {measure.unit}".strip()


def range_in_words(low: float | None, high: float | None, measure: Measure) -> str:
    """Return a range with its unit."""
    if low is None or high is None:
        return "not known"
    return f"{low * measure.factor:.3g} to {high * measure.factor:.3g} {measure.unit}".strip()


def _reason(measure: Measure, value: float, low: float, high: float) -> str:
    title = measure.title[0].lower() + measure.title[1:]
    if measure is MEASURES["t2star_coverage"]:
        return f"only {in_words(value, measure)} of the brain lies in the field of view"
    return f"{title} is {in_words(value, measure)} (training scans: {range_in_words(low, high, measure)})"


def scan_measures(scan: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the measures that a scan's header and sidecar tell; None for what they do not.

    Parameters
    ----------
    scan
        ``spacing`` (mm, any order of axes: slices lie farthest apart), ``metadata`` with ``EchoTime`` (s) and
        ``MagneticFieldStrength`` (T), ``paths`` where it is the mean of several echoes, which has no echo time.
    """
    sides = sorted(float(side) for side in scan.get("spacing") or ())
    known = len(sides) == 3 and sides[0] > 0
    metadata = scan.get("metadata") or {}
    return {
        "t2star_voxel_size_in_plane": math.sqrt(sides[0] * sides[1]) if known else None,
        "t2star_slice_spacing": sides[2] if known else None,
        "t2star_echo_time": None if scan.get("paths") else _number(metadata.get("EchoTime")),
        "t2star_field_strength": _number(metadata.get("MagneticFieldStrength")),
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def search_measures(search: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the measures of :data:`OF_SEARCH` from what a run says of its search; None for what it does not say.

    Parameters
    ----------
    search
        ``n_brain_voxels``, ``n_mask_voxels``, ``n_searched_voxels``, and ``probability_histogram``: voxels asked about
        by the bins of :data:`PROBABILITY_EDGES`.
    """
    brain = search.get("n_brain_voxels")
    counts = search.get("probability_histogram") or []
    asked = sum(counts)
    shares = [n / asked for n in counts] if asked and len(counts) == len(PROBABILITIES) else [None] * len(PROBABILITIES)
    return {
        "dark_share": search["n_mask_voxels"] / brain if brain and "n_mask_voxels" in search else None,
        "asked_share": search["n_searched_voxels"] / brain if brain and "n_searched_voxels" in search else None,
    } | dict(zip(PROBABILITIES, shares, strict=True))
