"""One simulated scan, ready to train on: all contrasts on the detection grid, with its truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED, WM
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation.anatomy import TISSUE_TABLE, Anatomy, make_anatomy, rotation, smooth_field
from mbseg_bids.simulation.lesions import REGION_SHARES, block_ratio, block_truth, draw_microbleeds
from mbseg_bids.simulation.mimics import MIMIC_NUMBERS, draw_mimics
from mbseg_bids.simulation.relaxation import tissue_relaxation
from mbseg_bids.simulation.susceptibility import Feature, occupancy, render

MIMIC_RATIO = 0.85
"""A voxel is labelled as a mimic where that leaves less than this share of its signal."""


@dataclass(frozen=True, eq=False)
class Case:
    """A simulated scan on the detection grid: axes 0 and 1 in plane (1 mm), axis 2 across slices.

    Attributes
    ----------
    stack
        Shape (3, I, J, K), float32, 0-100: T2*, T2w, T1w.
    lesions
        Shape (I, J, K), int32: one integer per visible microbleed, 0 elsewhere.
    lesion_table
        One row a microbleed, `index` as in `lesions`.
    mimics
        Shape (I, J, K), uint8: keys of `mimics.MIMICS`.
    tissue, regions, brain
        Shape (I, J, K): uint8 classes of imaging.labels, bool.
    spacing
        mm.
    affine
        Voxel indices to scanner RAS+ mm.
    protocol
        What the scan was made with.
    """

    stack: npt.NDArray[np.float32]
    lesions: npt.NDArray[np.int32]
    lesion_table: pd.DataFrame
    mimics: npt.NDArray[np.uint8]
    tissue: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8]
    brain: npt.NDArray[np.bool_]
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    protocol: acq.Protocol


def paint_contrasts(
    anatomy: Anatomy, protocol: acq.Protocol, features: Sequence[Feature], rng: np.random.Generator
) -> tuple[Volume, Volume, Volume]:
    """Noise-free signal of T2*, T2w, T1w on the anatomy's grid.

    Features are in the last two already, by the share of each voxel that they fill; on T2* they act through `render`.
    """
    tissues = tissue_relaxation(protocol.field_strength, anatomy.age, rng)
    signals = acq.label_signals(protocol, tissues)
    shape = anatomy.labels.shape
    fine = smooth_field(shape, 2.5, rng)
    coarse = smooth_field(shape, 9.0, rng)
    images = []
    for table in signals:
        amount = rng.uniform(0.01, 0.04, 2) * rng.choice([-1, 1], 2)
        images.append(acq.paint(anatomy, table, np.exp(amount[0] * fine + amount[1] * coarse)))
    for feature in features:
        found = occupancy(feature.sources, anatomy.labels.affine, shape)
        if found is not None:
            box, share = found
            images[1].data[box] *= 1 - share * (1 - feature.t2w)
            images[2].data[box] *= 1 - share * (1 - feature.t1w)
    return tuple(images)


@dataclass(frozen=True, eq=False)
class Rendering:
    """What all features together do to the voxels of a grid.

    Attributes
    ----------
    ratio
        Float32: T2* signal with the features / without.
    lesions
        Int32 labels of the visible microbleeds, 1 to n.
    mimics
        Uint8 keys of `mimics.MIMICS`.
    numbers
        For each lesion label in turn, the position of its feature in the list.
    darkest
        For each lesion label, the lowest ratio.
    """

    ratio: npt.NDArray[np.float32]
    lesions: npt.NDArray[np.int32]
    mimics: npt.NDArray[np.uint8]
    numbers: list[int]
    darkest: list[float]


def render_features(
    features: Sequence[Feature],
    background: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    protocol: acq.Protocol,
    *,
    factor: int = 1,
) -> Rendering:
    """T2* signal ratio and truth of features on a grid.

    Parameters
    ----------
    background
        Noise-free T2* signal of the tissue.
    affine, shape
        Of the grid of the result.
    factor
        The scanner's in-plane voxels are this many times smaller than those of the grid.
    """
    native = affine.copy()
    native[:3, :2] /= factor
    native[:3, 3] += (native[:3, :2] - affine[:3, :2]).sum(axis=1) / 2
    native_shape = (shape[0] * factor, shape[1] * factor, shape[2])
    ratio = np.ones(tuple(shape), dtype=np.float32)
    lesions = np.zeros(tuple(shape), dtype=np.int32)
    mimics = np.zeros(tuple(shape), dtype=np.uint8)
    numbers, darkest = [], []
    for number, feature in enumerate(features):
        patch = render(
            feature.sources,
            native,
            native_shape,
            background=background,
            echo_time=protocol.echo_time,
            field_strength=protocol.field_strength,
            pitch=0.25 if feature.kind == "microbleed" else 0.4,
            multiple=(factor, factor, 1),
        )
        if patch is None:
            continue
        box = tuple(
            slice(side.start // f, side.stop // f) for side, f in zip(patch.box, (factor, factor, 1), strict=True)
        )
        local = block_ratio(patch, factor)
        ratio[box] *= local
        if feature.kind != "microbleed":
            part = mimics[box]
            part[local < MIMIC_RATIO] = MIMIC_NUMBERS[feature.kind]
            continue
        truth = block_truth(patch, factor) & (lesions[box] == 0)
        if truth.any():
            numbers.append(number)
            darkest.append(float(local.min()))
            lesions[box][truth] = len(numbers)
    mimics[lesions > 0] = 0
    return Rendering(ratio, lesions, mimics, numbers, darkest)


def acquire(
    image: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    sigma: float,
    bias: float,
    ringing: float,
    modulation: npt.NDArray[np.float32] | None = None,
    move: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float32]:
    """Scan an image on a grid: partial volume, then modulation and receive field, ringing, Rician noise.

    Parameters
    ----------
    sigma
        Of the noise, in the units of the image.
    bias, ringing
        See `acquisition.Protocol`.
    modulation
        On the grid; multiplies the signal (`Rendering.ratio`, dropout).
    move
        World of this scan to world of the image, 4 x 4.
    """
    scan = acq.box_average(image, affine, shape, move=move)
    if modulation is not None:
        scan *= modulation
    scan *= acq.bias_field(shape, affine, rng, bias)
    scan = np.abs(acq.add_ringing(scan, ringing))
    return acq.add_rician_noise(scan, sigma, rng)


def small_move(
    rng: np.random.Generator, translation: float, angle: float, centre: npt.NDArray
) -> npt.NDArray[np.float64]:
    """Rigid motion (4 x 4) about a point: standard deviations in mm along, and radians about, each axis."""
    move = np.eye(4)
    move[:3, :3] = rotation(rng.normal(0, angle, 3))
    move[:3, 3] = centre - move[:3, :3] @ centre + rng.normal(0, translation, 3)
    return move


def standardise(image: npt.NDArray[np.float32], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Scale through the origin so that the brain's 99.5th percentile is 100, and clip to 0-100."""
    top = float(np.percentile(image[brain], 99.5))
    return np.clip(image * (100 / max(top, 1e-6)), 0, 100).astype(np.float32)


def lesion_table(
    rendering: Rendering,
    features: Sequence[Feature],
    regions: npt.NDArray[np.uint8],
    affine: npt.NDArray[np.float64],
) -> pd.DataFrame:
    """One row a visible microbleed: index, name, region, size, place, and what it was made of.

    Columns radius_mm (of the sphere of the same volume), dchi_ppm and minimum_ratio are the simulation's own.
    """
    voxel_volume = float(abs(np.linalg.det(affine[:3, :3])))
    rows = []
    for index, (number, darkest) in enumerate(zip(rendering.numbers, rendering.darkest, strict=True), start=1):
        where = np.argwhere(rendering.lesions == index)
        centroid = where.mean(axis=0)
        place = affine[:3, :3] @ centroid + affine[:3, 3]
        counts = np.bincount(regions[tuple(where.T)], minlength=len(REGIONS) + 1)[1:]
        region = REGIONS[int(counts.argmax()) + 1] if counts.any() else UNASSIGNED
        volume = len(where) * voxel_volume
        spheres = features[number].sources
        rows.append(
            {
                "index": index,
                "name": f"CMB-{index:03d}",
                "region": region,
                "volume_mm3": volume,
                "n_voxels": len(where),
                "diameter_mm": (6 * volume / np.pi) ** (1 / 3),
                **dict(zip("ijk", centroid.tolist(), strict=True)),
                **dict(zip(("x_mm", "y_mm", "z_mm"), place.tolist(), strict=True)),
                "n_slices": len(np.unique(where[:, 2])),
                "radius_mm": float(np.cbrt(sum(s.radius**3 for s in spheres))),
                "dchi_ppm": spheres[0].dchi,
                "minimum_ratio": darkest,
            }
        )
    columns = "index name region volume_mm3 n_voxels diameter_mm i j k x_mm y_mm z_mm n_slices radius_mm dchi_ppm minimum_ratio"
    return pd.DataFrame(rows, columns=columns.split())


def _white_matter_mean(image: Volume, anatomy: Anatomy) -> float:
    return float(image.data[TISSUE_TABLE[anatomy.labels.data] == WM].mean())


def simulate_training_case(
    labelmap: Volume,
    rng: np.random.Generator,
    *,
    protocol: acq.Protocol | None = None,
    n_lesions: int | None = None,
    mimic_load: float = 1.0,
    shares: dict[int, float] = REGION_SHARES,
    grey_white: tuple[Volume, Volume] | None = None,
) -> Case:
    """A new head, scanned, on the detection grid.

    Parameters
    ----------
    labelmap
        FreeSurfer-numbered label map, see `anatomy`.
    rng
        Source of everything random: the same generator state gives the same case.
    protocol
        Drawn if not given. T2* in-plane voxels of 0.5 mm are averaged to 1 mm, others taken as 1 mm.
    n_lesions
        Microbleeds to place, some of which may turn out invisible; 40-80 if not given, for many examples per scan.
    mimic_load
        Multiplies the number of vessels.
    shares
        Relative frequency of microbleeds by region.
    grey_white
        See `anatomy.make_anatomy`.
    """
    protocol = acq.draw_protocol(rng) if protocol is None else protocol
    anatomy = make_anatomy(labelmap, rng, grey_white=grey_white)
    n_lesions = int(rng.integers(40, 81)) if n_lesions is None else n_lesions
    features = draw_microbleeds(anatomy, n_lesions, rng, shares=shares) + draw_mimics(anatomy, rng, load=mimic_load)
    t2star, t2w, t1w = paint_contrasts(anatomy, protocol, features, rng)

    factor = max(1, round(1 / protocol.spacing[0]))
    spacing = (1.0, 1.0, protocol.spacing[2])
    affine, shape = acq.scan_grid(anatomy, spacing, protocol.tilt)
    source = anatomy.labels.affine
    brain = acq.label_votes(anatomy.brain.astype(np.uint8), source, affine, shape, 2) > 0
    regions = acq.label_votes(anatomy.regions, source, affine, shape, len(REGIONS) + 1) * brain
    tissue = acq.label_votes(anatomy.tissue, source, affine, shape, 4) * brain
    rendering = render_features(features, t2star, affine, shape, protocol, factor=factor)
    rendering.lesions[~brain] = 0
    rendering.mimics[~brain] = 0
    kept = [label for label in range(1, len(rendering.numbers) + 1) if (rendering.lesions == label).any()]
    rendering = keep_labels(rendering, kept)

    dropout = acq.dropout_factor(acq.air_dephasing(anatomy, protocol), affine, shape, protocol.echo_time)
    # After bias correction a part of the receive field remains.
    left = float(rng.uniform(0.1, 0.6))
    channels = [
        acquire(
            t2star, affine, shape, rng,
            sigma=_white_matter_mean(t2star, anatomy) / protocol.snr[0] / factor,
            bias=protocol.bias[0] * left, ringing=protocol.ringing, modulation=rendering.ratio * dropout,
        )
    ]  # fmt: skip
    centre = source[:3, 3] + np.array(anatomy.labels.shape) / 2
    for number, (image, own) in enumerate(((t2w, protocol.t2w_spacing), (t1w, protocol.t1w_spacing)), start=1):
        tilt = rng.normal(0, 0.06, 3)
        own_affine, own_shape = acq.scan_grid(anatomy, own, tilt)
        scan = acquire(
            image, own_affine, own_shape, rng,
            sigma=_white_matter_mean(image, anatomy) / protocol.snr[number],
            bias=protocol.bias[number] * left, ringing=protocol.ringing * float(rng.uniform(0, 1)),
        )  # fmt: skip
        # What registration leaves: about 0.4 mm.
        error = small_move(rng, 0.4, 0.004, centre)
        channels.append(acq.resample(scan, own_affine, affine, shape, move=error))
    stack = np.stack([standardise(channel, brain) for channel in channels])
    table = lesion_table(rendering, features, regions, affine)
    return Case(stack, rendering.lesions, table, rendering.mimics, tissue, regions, brain, spacing, affine, protocol)


def keep_labels(rendering: Rendering, kept: Sequence[int]) -> Rendering:
    """Only some lesion labels, renumbered from 1."""
    new = np.zeros(len(rendering.numbers) + 1, dtype=np.int32)
    new[list(kept)] = np.arange(1, len(kept) + 1)
    return Rendering(
        rendering.ratio,
        new[rendering.lesions],
        rendering.mimics,
        [rendering.numbers[label - 1] for label in kept],
        [rendering.darkest[label - 1] for label in kept],
    )
