"""One visit to the scanner: T1w, T2w and T2* of a head, each on its own grid, with the truth on the T2* grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.geometry import small_move
from mbseg_bids.simulation.phase import calcification_truth, signal_phase
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.scan import acquire, paint_contrasts, render_features, white_matter_mean
from mbseg_bids.simulation.susceptibility import Feature
from mbseg_bids.simulation.truth import Rendering, keep_labels, lesion_table

SCANNER_UNITS = 600.0
"""Signal of white matter in the stored images: of the order that scanners write."""


@dataclass(frozen=True, eq=False)
class SessionPhase:
    """Phase of a visit, and what calcium it shows.

    Attributes
    ----------
    radians
        Float32, on the grid of T2starw, a stronger field turning it forwards; not wrapped.
    calcifications
        Truth on the same grid: one integer per visible calcification.
    calcification_table
        Its rows, with the columns of the table of microbleeds.
    """

    radians: Volume
    calcifications: Volume
    calcification_table: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Session:
    """What a visit leaves.

    Attributes
    ----------
    images
        By BIDS suffix: T2starw, T2w, T1w; float32, each on its own grid.
    lesions, mimics, regions, brain
        Truth on the grid of T2starw.
    lesion_table
        One row a visible microbleed, `index` as in `lesions`.
    features
        For each row of the table, the position of its microbleed in the list that was scanned; in a dataset, its
        number.
    phase
        None where it was not asked for.
    """

    images: dict[str, Volume]
    lesions: Volume
    mimics: Volume
    regions: Volume
    brain: Volume
    lesion_table: pd.DataFrame
    features: list[int]
    phase: SessionPhase | None = None


def stored(volume: Volume, axes: Sequence[int], flips: Sequence[bool]) -> Volume:
    """The same image with its array axes permuted, then flipped: how a scanner's software happened to store it."""
    data, affine = volume.data.transpose(axes), volume.affine.copy()
    affine[:, :3] = affine[:, list(axes)]
    for axis, flip in enumerate(flips):
        if flip:
            data = np.flip(data, axis)
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(np.ascontiguousarray(data), affine)


def move_head(anatomy: Anatomy, features: Sequence[Feature], move: npt.NDArray) -> tuple[Anatomy, list[Feature]]:
    """The head and its features after a rigid motion (4 x 4, old world to new world)."""
    labels = Volume(anatomy.labels.data, move @ anatomy.labels.affine)
    return replace(anatomy, labels=labels), [feature.moved(move) for feature in features]


def simulate_session(
    anatomy: Anatomy,
    features: Sequence[Feature],
    protocol: Protocol,
    rng: np.random.Generator,
    *,
    person_seed: int,
    head_motion: tuple[float, float] = (1.0, 0.015),
    with_phase: bool = False,
) -> Session:
    """Scan a head.

    Parameters
    ----------
    anatomy, features
        In the scanner's world at the time of the T2*-weighted scan.
    protocol
        How to scan.
    rng
        Noise, bias, position between contrasts.
    person_seed
        Relaxation and texture of the tissue: the same number at every visit of a person.
    head_motion
        Standard deviation of the shift (mm) and the rotation (radians) between contrasts.
    with_phase
        Whether the phase of the T2*-weighted scan is kept. All else is the same either way.
    """
    contrasts = paint_contrasts(anatomy, protocol, features, np.random.default_rng(person_seed))
    source = anatomy.labels.affine
    centre = (source @ np.array([*(np.array(anatomy.labels.shape) / 2), 1]))[:3]
    names = ("T2starw", "T2w", "T1w")
    spacings = (protocol.spacing, protocol.t2w_spacing, protocol.t1w_spacing)
    noise = [white_matter_mean(image, anatomy) for image in contrasts]
    scans: dict[str, Volume] = {}
    for number, (name, image, spacing) in enumerate(zip(names, contrasts, spacings, strict=True)):
        first = number == 0
        tilt = list(protocol.tilt if first else rng.normal(0, 0.03, 3))
        affine, shape = acq.scan_grid(
            anatomy, spacing, tilt, whole_head=True, cover_neck=spacing[2] <= 1.5 and not first
        )
        modulation = turn = None
        if first:
            rendering = render_features(features, image, affine, shape, protocol)
            gradients = acq.air_dephasing(anatomy, protocol)
            modulation = rendering.ratio * acq.dropout_factor(gradients, affine, shape, protocol.echo_time)
            t2star_affine, t2star_shape = affine, shape
            if with_phase:
                offset = np.random.default_rng([person_seed, 1])  # none of the numbers of the magnitude
                turn = signal_phase(anatomy, features, image, affine, shape, protocol, offset)
        scan = acquire(
            image,
            affine,
            shape,
            rng,
            sigma=noise[number] / protocol.snr[number],
            bias=protocol.bias[number],
            ringing=protocol.ringing,
            kept=protocol.kept,
            motion=protocol.motion[number],
            modulation=modulation,
            move=None if first else small_move(rng, *head_motion, centre),
            turn=turn,
        )
        if turn is not None:
            # As far as the noise-free signal, and on from there by noise and blur: no wraps.
            radians = turn + np.angle(scan * np.exp(-1j * turn)).astype(np.float32)
            scan = np.abs(scan)
        scans[name] = Volume(scan * np.float32(SCANNER_UNITS / noise[number]), affine)

    brain, regions = acq.map_votes((anatomy.brain, anatomy.regions), source, t2star_affine, t2star_shape)
    regions = regions * brain
    rendering = _within(rendering, brain)

    # Axial scans come with x to the left, the sagittal T1w with its slices along x.
    axial = ((0, 1, 2), (True, False, False))

    def truth(data: npt.NDArray) -> Volume:
        return stored(Volume(data, t2star_affine), *axial)

    def table(of: Rendering, features: Sequence[Feature]) -> tuple[Volume, pd.DataFrame]:
        labels = truth(of.lesions)
        rows = lesion_table(replace(of, lesions=labels.data), features, truth(regions).data, labels.affine)
        return labels, rows

    phase = None
    if with_phase:
        found, calcium = calcification_truth(features, contrasts[0], t2star_affine, t2star_shape, protocol)
        calcifications, rows = table(_within(found, brain), calcium)
        names_of_rows = [f"CALC-{index:03d}" for index in rows["index"]]
        phase = SessionPhase(truth(radians), calcifications, rows.assign(name=names_of_rows))
    lesions, lesion_rows = table(rendering, features)
    ordering = {"T2starw": axial, "T2w": axial, "T1w": ((1, 2, 0), (False, False, False))}
    return Session(
        images={name: stored(scan, *ordering[name]) for name, scan in scans.items()},
        lesions=lesions,
        mimics=truth(rendering.mimics),
        regions=truth(regions),
        brain=truth(brain),
        lesion_table=lesion_rows,
        features=rendering.numbers,
        phase=phase,
    )


def _within(rendering: Rendering, brain: npt.NDArray) -> Rendering:
    """What lies in the brain, its lesions renumbered."""
    rendering.lesions[brain == 0] = 0
    rendering.mimics[brain == 0] = 0
    kept = [label for label in range(1, len(rendering.numbers) + 1) if (rendering.lesions == label).any()]
    return keep_labels(rendering, kept)
