"""The phase that lies beside a chosen magnitude: same acquisition, run and echo, another ``part``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids.bids.sidecars import echo_time, sidecar

PROTON_MHZ_PER_TESLA = 42.577478518
"""CODATA 2018, for sidecars with ``ImagingFrequency`` only."""


@dataclass(frozen=True)
class EchoFiles:
    """Files of one echo.

    Attributes
    ----------
    magnitude
        The chosen image.
    parts
        Its phase; or real and imaginary part.
    echo_time
        Seconds.
    units
        ``Units`` of the phase's sidecar, empty where it says nothing.
    """

    magnitude: Path
    parts: tuple[Path, ...]
    echo_time: float
    units: str = ""


@dataclass(frozen=True)
class PhaseFiles:
    """The phase of a session, or what is there of it and why it cannot be used.

    Attributes
    ----------
    echoes
        Empty if it cannot be used.
    field_strength
        Tesla.
    problem
        Why it cannot be used, a sentence; empty if it can.
    """

    echoes: tuple[EchoFiles, ...] = ()
    field_strength: float = 0.0
    problem: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of phase."""
        return tuple(path for echo in self.echoes for path in echo.parts)


def find_phase(magnitudes: Sequence[Path], root: Path) -> PhaseFiles | None:
    """Find the phase of the chosen magnitude; None if there is no file of it.

    Of several echoes those that have a phase are taken. A phase comes before real and imaginary part.

    Parameters
    ----------
    magnitudes
        Chosen images of one acquisition, one for each echo.
    root
        Of the dataset, for inherited sidecars.
    """
    beside = [(path, parts) for path in magnitudes if (parts := _parts_of(path))]
    if not beside:
        return None
    names = beside[0][1][0].name
    strength = _field_strength(beside[0][1][0], root) or _field_strength(beside[0][0], root)
    if strength is None:
        return PhaseFiles(problem=f"{names} is not used: no sidecar says MagneticFieldStrength")
    echoes = []
    for path, parts in beside:
        time = echo_time(parts[0], root) or echo_time(path, root)
        if time is None:
            return PhaseFiles(problem=f"{parts[0].name} is not used: no sidecar says EchoTime")
        units = sidecar(parts[0], root).get("Units")
        echoes.append(EchoFiles(path, parts, time, units if isinstance(units, str) else ""))
    return PhaseFiles(tuple(echoes), strength)


def _parts_of(magnitude: Path) -> tuple[Path, ...]:
    """Return the phase, or real and imaginary part, beside an image; empty if there is neither."""
    phase = _beside(magnitude, "phase")
    if phase is not None:
        return (phase,)
    real, imaginary = _beside(magnitude, "real"), _beside(magnitude, "imag")
    return (real, imaginary) if real is not None and imaginary is not None else ()


def _beside(magnitude: Path, part: str) -> Path | None:
    """Return the file with the same entities but ``part``, wherever in its name that stands.

    If there is none, the one without ``rec``: Siemens stores the magnitude with its intensities evened out as well
    (rec-norm), and the phase once.
    """
    suffix, wanted = _entities(magnitude)
    there = {
        _entities(path): path
        for path in sorted(magnitude.parent.glob(f"*_part-{part}_*.nii*"), reverse=True)
        if path.name.endswith((".nii", ".nii.gz")) and path.is_file()
    }
    plain = frozenset(entity for entity in wanted if not entity.startswith("rec-"))
    return there.get((suffix, wanted)) or there.get((suffix, plain))


def _entities(path: Path) -> tuple[str, frozenset[str]]:
    *entities, suffix = path.name.split(".")[0].split("_")
    return suffix, frozenset(entity for entity in entities if not entity.startswith("part-"))


def _field_strength(path: Path, root: Path) -> float | None:
    """Return the main field in tesla from the sidecars of an image; None if unknown or impossible."""
    metadata = sidecar(path, root)
    for name, unit in (("MagneticFieldStrength", 1.0), ("ImagingFrequency", PROTON_MHZ_PER_TESLA)):
        value: Any = metadata.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.1 <= value / unit <= 20:
            return float(value / unit)
    return None
