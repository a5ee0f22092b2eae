"""Quality of a session's T2*-weighted scan for its report. Pure: the summary in, words and shares of bars out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mbseg_bids.imaging.quality_ranges import (
    HIGH,
    LOW,
    MEASURES,
    PROBABILITIES,
    Measure,
    in_words,
    range_in_words,
)
from mbseg_bids.reports.facts import mapping, texts
from mbseg_bids.reports.session_files import number

INSIDE, OUTSIDE, UNJUDGED, UNKNOWN = "inside", "OUTSIDE", "not judged", "not known"


@dataclass(frozen=True)
class QualityRow:
    """One measure: what it is, what this scan has, what the training scans had, and the verdict."""

    title: str
    here: str
    training: str
    counts_where: str
    """On which side of the range counts are unreliable."""
    verdict: str


@dataclass(frozen=True)
class HistogramBar:
    """One bin of the network's probabilities: shares of the voxels asked, 0 to 1."""

    title: str
    here: float
    training: float | None


@dataclass(frozen=True)
class QualityPanel:
    """What the panel shows."""

    rows: tuple[QualityRow, ...]
    histogram: tuple[HistogramBar, ...]
    reasons: tuple[str, ...]
    judged: bool


def quality_panel(summary: Mapping[str, Any]) -> QualityPanel | None:
    """Return the panel of a session; None where its run measured no quality."""
    found = mapping(summary.get("quality"))
    measures = mapping(found.get("measures"))
    if not measures:
        return None
    rows = tuple(
        _row(measure, mapping(measures.get(name))) for name, measure in MEASURES.items() if name not in PROBABILITIES
    )
    rows += tuple(_row(MEASURES[name], mapping(measures.get(name))) for name in PROBABILITIES if MEASURES[name].sides)
    bars = [(MEASURES[name], mapping(measures.get(name))) for name in PROBABILITIES]
    histogram = tuple(
        HistogramBar(_bin(measure), here, number(bar.get("median")))
        for measure, bar in bars
        if (here := number(bar.get("value"))) is not None
    )
    return QualityPanel(rows, histogram, texts(found.get("reasons")), found.get("judged") is not False)


def unreliable(summary: Mapping[str, Any]) -> str:
    """Return the sentence that counts are unreliable and why; empty where nothing was found against them."""
    reasons = texts(mapping(summary.get("quality")).get("reasons"))
    return f"Counts unreliable because {'; '.join(reasons)}." if reasons else ""


def why_none(summary: Mapping[str, Any]) -> str:
    """Return why a session has no microbleed, as its run recorded it."""
    detection = mapping(summary.get("detection"))
    said = texts(detection.get("why_none"))
    if not said:  # of an earlier version
        said = tuple(text for text in texts(detection.get("warnings")) if text.startswith("No "))
    return said[0] if said else "Why was not recorded: look at T2*, at the brain mask and at the rejected candidates."


def _row(measure: Measure, found: Mapping[str, Any]) -> QualityRow:
    value, low, high = (number(found.get(key)) for key in ("value", LOW, HIGH))
    outside = found.get("outside")
    verdict = UNKNOWN if value is None else UNJUDGED if outside is None else OUTSIDE if outside else INSIDE
    return QualityRow(
        measure.title, in_words(value, measure), range_in_words(low, high, measure), _sides(measure), verdict
    )


def _sides(measure: Measure) -> str:
    return {(LOW,): "below", (HIGH,): "above", (LOW, HIGH): "below or above"}.get(measure.sides, "")


def _bin(measure: Measure) -> str:
    return measure.title.removeprefix("Of that, probability ")
