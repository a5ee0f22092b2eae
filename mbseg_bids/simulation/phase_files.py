"""The phase of a simulated dataset as scanners store it: scale, sign, wraps; and the truth about calcium."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.errors import UsageError
from mbseg_bids.imaging.phase import FULL_TURNS, wrapped
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.files import LESION_COLUMNS, described, save_image, sidecar, write_json
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.session import SessionPhase

SCALES: dict[str, str] = {
    "radians": "radians",
    "siemens": "13 bits",
    "siemens-unsigned": "12 bits",
    "milliradians": "thousandths of a radian",
    "half-turns": "parts of half a turn",
    "16-bit": "16 bits",
}
"""Names of the command line, and those of `imaging.phase.FULL_TURNS`."""

CALCIUM_COLUMNS = {
    name: text.replace("microbleed", "calcification") if isinstance(text, str) else text
    for name, text in LESION_COLUMNS.items()
    if name not in ("source", "radius_mm", "dchi_ppm")
} | {
    "radius_mm": ("Radius of the sphere of calcium of the same volume", "mm"),
    "dchi_ppm": "Susceptibility of the calcium relative to tissue (ppm, SI); below 0: diamagnetic",
}


@dataclass(frozen=True)
class PhaseFormat:
    """How a scanner stores a phase.

    Attributes
    ----------
    scale
        A key of `SCALES`.
    sign
        1: a stronger field turns it forwards; -1: backwards.
    unwrapped
        Whether it goes on beyond half a turn; radians only.
    """

    scale: str = "siemens"
    sign: int = 1
    unwrapped: bool = False

    def __post_init__(self) -> None:
        """Refuse what no file can hold."""
        if self.scale not in SCALES:
            raise UsageError(f"unknown scale of phase: {self.scale}", f"one of: {', '.join(SCALES)}")
        if self.sign not in (1, -1):
            raise UsageError("the sign of a phase is 1 or -1", "give one of these")
        if self.unwrapped and self.scale != "radians":
            raise UsageError("an unwrapped phase does not fit into the range of integers", "take the scale radians")

    @property
    def units(self) -> str:
        """`Units` of the sidecar."""
        return "rad" if self.scale == "radians" else "arbitrary"


def encoded(radians: npt.NDArray[np.floating], how: PhaseFormat) -> npt.NDArray[np.float32] | npt.NDArray[np.int16]:
    """Values as they are stored: float32 for radians and half turns, else int16.

    Parameters
    ----------
    radians
        Any shape, wrapped or not, a stronger field turning it forwards.
    """
    turned = how.sign * radians
    if how.unwrapped:
        return turned.astype(np.float32)
    turn = FULL_TURNS[SCALES[how.scale]]
    values = wrapped(turned.astype(np.float64)) * (turn / (2 * math.pi))
    if how.scale in ("radians", "half-turns"):
        return values.astype(np.float32)
    low = 0 if how.scale == "siemens-unsigned" else -turn / 2
    values = np.rint(values + (turn / 2 if low == 0 else 0))
    return np.clip(values, math.ceil(low), math.floor(low + turn - 1)).astype(np.int16)


def write_phase(
    raw: Path, truth: Path, entities: str, source: dict[str, Any], made: SessionPhase, protocol: Protocol,
    how: PhaseFormat,
) -> None:  # fmt: skip
    """Write phase and truth about calcium of one session.

    Parameters
    ----------
    raw, truth
        Its folders in the dataset and in `derivatives/truth`.
    entities
        With which names begin: sub-X[_ses-Y].
    source
        Fields of sidecars of the truth that say where it comes from.
    """
    values = encoded(made.radians.data, how)
    stem = raw / f"{entities}_part-phase_T2starw"
    save_image(stem.with_suffix(".nii.gz"), Volume(values, made.radians.affine), values.dtype.type)
    write_json(stem.with_suffix(".json"), sidecar("T2starw", protocol) | {"Units": how.units})
    stem = truth / f"{entities}_space-T2starw_seg-calcification_dseg"
    save_image(stem.with_suffix(".nii.gz"), made.calcifications, np.int16)
    write_json(stem.with_suffix(".json"), source | described(CALCIUM_COLUMNS))
    made.calcification_table.to_csv(stem.with_suffix(".tsv"), sep="\t", index=False, na_rep="n/a", float_format="%.6g")
