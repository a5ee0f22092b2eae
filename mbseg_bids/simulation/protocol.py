"""How a session is scanned: sequences and geometry, and the signal they give each tissue."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mbseg_bids.simulation.relaxation import Relaxation, mprage, spoiled_gradient_echo, turbo_spin_echo

T2STAR_GEOMETRIES: tuple[tuple[tuple[float, float, float], float], ...] = (
    ((0.5, 0.5, 0.8), 0.26),
    ((1.0, 1.0, 1.0), 0.12),
    ((1.0, 1.0, 2.0), 0.10),
    ((1.0, 1.0, 3.0), 0.22),
    ((0.5, 0.5, 4.0), 0.14),
    ((0.9, 0.9, 5.0), 0.16),
)
"""Voxel sizes (mm, slice last) met in cohorts, and how often each is drawn."""

COHORT_GEOMETRIES: tuple[tuple[tuple[float, float, float], float], ...] = (
    ((0.5, 0.5, 0.8), 34 / 72),
    ((1.0, 1.0, 3.0), 14 / 72),
    ((1.0, 1.0, 4.0), 13 / 72),
    ((0.45, 0.45, 4.0), 11 / 72),
)
"""Those of VALDO, as often as there."""


EPI_LINE = 0.6
"""ms from one line of an echo-planar k-space to the next."""


@dataclass(frozen=True)
class Protocol:
    """How a session is scanned. Times in ms, angles in degrees, lengths in mm.

    Attributes
    ----------
    field_strength
        T.
    spacing
        Of the T2*-weighted scan, in plane twice, then slice.
    echo_time, repetition_time, flip_angle
        Of the T2*-weighted spoiled gradient echo.
    t1w
        "mprage" or "gradient_echo".
    t1w_spacing, t2w_spacing
        Own grids of the other two.
    t2w_echo_time, t2w_repetition_time
        Effective echo time of the turbo spin echo.
    snr
        Mean signal of white matter over the noise's standard deviation, for each contrast (T2*, T2w, T1w).
    bias
        Standard deviation of the log of the receive field, for each contrast.
    ringing
        Share (0-1) of the signal seen through a sharply cut k-space.
    kept
        Width of that k-space in plane, relative to what the voxels need: below 1, they are interpolated.
    motion
        Amplitude (mm) of a periodic motion along the phase axis, for each contrast: ghosts.
    swi
        Whether the T2*-weighted magnitude is multiplied by a phase mask, as in susceptibility-weighted images.
    dropout
        Scale of the field of the air about the brain that shimming leaves.
    tilt
        Of the T2*-weighted slices, radians about x, y, z.
    gap
        Between T2*-weighted slices, as a share of their distance `spacing[2]`: no signal comes from there.
    white_noise
        Whether noise is added to the finished image; else to k-space, before it is cut and filled with zeros: noise of
        neighbouring voxels is then alike.
    epi
        Lines of k-space read after one excitation, each `EPI_LINE` ms after the one before: the image is displaced
        where the field is off, and blurred by decay. 0 and 1: none.
    misregistration
        Standard deviation (mm) of the shift of T2w and T1w that registration leaves, along each axis.
    """

    field_strength: float = 3.0
    spacing: tuple[float, float, float] = (1.0, 1.0, 3.0)
    echo_time: float = 22.0
    repetition_time: float = 650.0
    flip_angle: float = 20.0
    t1w: str = "mprage"
    t1w_spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    t2w_spacing: tuple[float, float, float] = (0.9, 0.9, 3.0)
    t2w_echo_time: float = 95.0
    t2w_repetition_time: float = 5500.0
    snr: tuple[float, float, float] = (35.0, 40.0, 35.0)
    bias: tuple[float, float, float] = (0.12, 0.12, 0.12)
    ringing: float = 0.3
    kept: float = 0.8
    motion: tuple[float, float, float] = (0.0, 0.0, 0.0)
    swi: bool = False
    dropout: float = 0.7
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gap: float = 0.0
    white_noise: bool = True
    epi: int = 0
    misregistration: float = 0.4


def draw_protocol(
    rng: np.random.Generator,
    *,
    geometries: Sequence[tuple[tuple[float, float, float], float]] = T2STAR_GEOMETRIES,
    swi_share: float = 0.1,
    wide: bool = False,
) -> Protocol:
    """A protocol from the range met in cohorts, and beyond it: noisier, more blurred, with ghosts.

    Parameters
    ----------
    geometries
        T2* voxels (mm) and their weights. Slices of 2 mm and more get a thickness between 0.85 and 1.2 of these.
    swi_share
        Share of susceptibility-weighted scans; these have voxels and echo times of their own.
    wide
        Whether half of the protocols go beyond `geometries`, and all beyond the rest: see `widen`.
    """
    weights = np.array([weight for _, weight in geometries])
    spacing = geometries[rng.choice(len(weights), p=weights / weights.sum())][0]
    field_strength = 3.0 if rng.random() < 0.65 else 1.5
    echo_time = rng.uniform(15, 32) if field_strength == 3.0 else rng.uniform(20, 40)
    three_d = spacing[2] <= 2
    snr = np.exp(rng.uniform(np.log((9, 11, 10)), np.log((75, 85, 75))))
    protocol = Protocol(
        field_strength=field_strength,
        spacing=spacing,
        echo_time=float(echo_time),
        repetition_time=float(rng.uniform(30, 60) if three_d else rng.uniform(450, 1200)),
        flip_angle=float(rng.uniform(10, 20) if three_d else rng.uniform(15, 30)),
        t1w="mprage" if rng.random() < 0.8 else "gradient_echo",
        t2w_spacing=(1.0, 1.0, 1.0) if rng.random() < 0.5 else (0.9, 0.9, float(rng.choice([2.0, 3.0, 4.0, 5.0]))),
        t2w_echo_time=float(rng.uniform(70, 115)),
        t2w_repetition_time=float(rng.uniform(3200, 8000)),
        snr=_triple(snr),
        bias=_triple(rng.uniform(0.02, 0.2, 3)),
        ringing=float(rng.uniform(0, 0.6)),
        dropout=float(rng.uniform(0.2, 1.0)),
        tilt=_triple(rng.normal(0, (0.18, 0.05, 0.05))),
    )
    kept, stretch = float(rng.uniform(0.65, 1.0)), float(rng.uniform(0.85, 1.2))
    amplitude = rng.exponential(0.25, 3) * (rng.random(3) < 0.25)
    thickness = spacing[2] * stretch if spacing[2] >= 2 and geometries is T2STAR_GEOMETRIES else spacing[2]
    protocol = replace(
        protocol,
        kept=kept,
        motion=tuple(np.minimum(amplitude, 1.0).tolist()),
        spacing=(*spacing[:2], thickness),
    )
    if rng.random() < swi_share:
        protocol = replace(
            protocol,
            swi=True,
            spacing=(0.5, 0.5, float(rng.choice([0.8, 1.2, 2.0]))),
            echo_time=float(rng.uniform(18, 25) if field_strength == 3.0 else rng.uniform(32, 40)),
            repetition_time=float(rng.uniform(26, 50)),
            flip_angle=float(rng.uniform(10, 20)),
        )
    return widen(protocol, rng) if wide else protocol


def widen(protocol: Protocol, rng: np.random.Generator) -> Protocol:
    """The protocol made less like the others.

    Half of those that are not susceptibility-weighted get voxels of 0.4 to 2.4 mm in plane and 0.8 to 7 mm across;
    slices of 2.5 mm and more a gap of up to a quarter, in half of scans; T2w and T1w coarser voxels and 2D slices.
    Noise is that of a k-space in nine of ten and more. A twelfth of scans are echo-planar. In three of ten, T2w and T1w
    are out of register by up to 3 mm.
    """
    spacing = protocol.spacing
    if not protocol.swi and rng.random() < 0.5:
        in_plane = _log_uniform(rng, 0.4, 2.4)
        across = float(rng.uniform(2.5, 7)) if rng.random() < 0.7 else float(rng.uniform(0.8, 2.5))
        spacing = (in_plane, in_plane, across)
    epi = not protocol.swi and rng.random() < 1 / 12
    if epi:
        in_plane = float(rng.uniform(1.5, 2.4))
        spacing = (in_plane, in_plane, float(rng.uniform(2, 5)))
    gapped = spacing[2] >= 2.5 and rng.random() < 0.5
    misaligned = rng.random() < 0.3
    return replace(
        protocol,
        spacing=spacing,
        gap=float(rng.uniform(0.05, 0.25)) if gapped else 0.0,
        white_noise=bool(rng.random() < 0.1) and not epi and spacing[0] <= 1,
        epi=int(rng.integers(40, 100)) if epi else 0,
        t1w_spacing=_anatomical_voxels(rng, protocol.t1w_spacing, two_d=0.3),
        t2w_spacing=_anatomical_voxels(rng, protocol.t2w_spacing, two_d=0.6),
        misregistration=float(rng.uniform(0.4, 1.3)) if misaligned else protocol.misregistration,
    )


def _anatomical_voxels(
    rng: np.random.Generator, usual: tuple[float, float, float], *, two_d: float
) -> tuple[float, float, float]:
    """Voxels of T1w or T2w: as usual in half of scans, else coarser, a share of these in thick slices."""
    if rng.random() < 0.5:
        return usual
    in_plane = float(rng.uniform(0.8, 1.6))
    return (in_plane, in_plane, float(rng.uniform(3, 7)) if rng.random() < two_d else in_plane)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def label_signals(
    protocol: Protocol, tissues: dict[str, Relaxation]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Noise-free signal of each tissue on T2*, T2w and T1w."""
    t2star, t2w, t1w = {}, {}, {}
    for name, tissue in tissues.items():
        t2star[name] = spoiled_gradient_echo(
            tissue,
            repetition_time=protocol.repetition_time,
            echo_time=protocol.echo_time,
            flip_angle=protocol.flip_angle,
        )
        t2w[name] = turbo_spin_echo(
            tissue, repetition_time=protocol.t2w_repetition_time, echo_time=protocol.t2w_echo_time
        )
        if protocol.t1w == "mprage":
            t1w[name] = mprage(tissue, repetition_time=2300, inversion_time=950, echo_time=3, flip_angle=9)
        else:
            t1w[name] = spoiled_gradient_echo(tissue, repetition_time=20, echo_time=4, flip_angle=25)
    return t2star, t2w, t1w


def _triple(values: npt.NDArray[np.floating]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
