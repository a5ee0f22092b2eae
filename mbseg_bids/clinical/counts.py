"""Counts and volumes of a session from its lesion table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mbseg_bids.clinical.burden import burden_class
from mbseg_bids.clinical.pattern import distribution_pattern
from mbseg_bids.clinical.size import SIZE_CLASSES, size_class
from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED

REGION_NAMES: tuple[str, ...] = (*REGIONS.values(), UNASSIGNED)
"""Every region a lesion table may name, in the order of tables and reports."""

CERTAINTIES = ("definite", "possible")
"""What the candidate classifier says of a lesion that it keeps."""

TOO_LARGE = "above_maximum_size"
TOO_SMALL = "below_minimum_size"


@dataclass(frozen=True)
class LesionCounts:
    """Microbleeds of one session.

    Attributes
    ----------
    total, by_region, by_size
        Numbers of microbleeds: lesions larger than the upper size limit are not among them.
    volume, volume_by_region
        Volumes of the same lesions, mm3.
    macrohaemorrhages
        Lesions or candidates above the upper size limit (diameter 10 mm): possible macrohaemorrhages,
        listed apart and never counted as microbleeds.
    below_minimum
        Counted lesions that are smaller than 2 mm (flag ``below_minimum_size``).
    by_certainty
        Numbers of definite and possible microbleeds; empty where no candidate classifier was taken.
    """

    total: int = 0
    by_region: Mapping[str, int] = field(default_factory=dict)
    by_size: Mapping[str, int] = field(default_factory=dict)
    volume: float = 0.0
    volume_by_region: Mapping[str, float] = field(default_factory=dict)
    macrohaemorrhages: int = 0
    below_minimum: int = 0
    by_certainty: Mapping[str, int] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        """Distribution pattern, see :func:`mbseg_bids.clinical.pattern.distribution_pattern`."""
        return distribution_pattern(self.by_region)

    @property
    def burden(self) -> str:
        """Burden class, see :func:`mbseg_bids.clinical.burden.burden_class`."""
        return burden_class(self.total)


def split_flags(flags: str) -> tuple[str, ...]:
    """Return the single flags of a comma-separated cell; none for ``n/a``."""
    return tuple(flag for flag in (part.strip() for part in flags.split(",")) if flag and flag != "n/a")


def count_lesions(lesions: Iterable[Mapping[str, str]], candidates: Iterable[Mapping[str, str]] = ()) -> LesionCounts:
    """Count the lesions of one session.

    Parameters
    ----------
    lesions
        One mapping a lesion with at least ``region`` and ``volume_mm3``; ``size_class``, ``flags`` and ``certainty``
        where known. Values are text, as in the file.
    candidates
        Rows of the table of candidates, which lists those rejected for being too large.

    Raises
    ------
    ValueError
        If a volume is not a positive number.
    """
    by_region = dict.fromkeys(REGION_NAMES, 0)
    volume_by_region = dict.fromkeys(REGION_NAMES, 0.0)
    by_size = dict.fromkeys(SIZE_CLASSES, 0)
    macrohaemorrhages = sum(row.get("status") == "rejected" and row.get("reason") == TOO_LARGE for row in candidates)
    below_minimum = 0
    certainties = []
    for lesion in lesions:
        volume = float(lesion["volume_mm3"])
        if not 0 < volume < float("inf"):
            raise ValueError(f"a lesion of {lesion['volume_mm3']} mm3")
        flags = split_flags(lesion.get("flags", ""))
        if TOO_LARGE in flags:
            macrohaemorrhages += 1
            continue
        region = lesion["region"] if lesion["region"] in by_region else UNASSIGNED
        by_region[region] += 1
        volume_by_region[region] += volume
        size = lesion.get("size_class", "")
        by_size[size if size in by_size else size_class(volume)] += 1
        below_minimum += TOO_SMALL in flags
        certainties.append(lesion.get("certainty", ""))
    return LesionCounts(
        total=sum(by_region.values()),
        by_region=by_region,
        by_size=by_size,
        volume=sum(volume_by_region.values()),
        volume_by_region=volume_by_region,
        macrohaemorrhages=macrohaemorrhages,
        below_minimum=below_minimum,
        by_certainty={c: certainties.count(c) for c in CERTAINTIES} if set(certainties) & set(CERTAINTIES) else {},
    )
