"""Phase of a T2*-weighted scan: how far the fields of all sources turn the signal, and which of them are calcium.

The fields are those that make the magnitude dark: of microbleeds, vessels and calcium (`susceptibility`), of air, bone
and venous sinuses (`acquisition.head_field`). Iron of the deep nuclei, which acts on the magnitude by its T2*, sheds
one too, and the receiver adds a smooth offset.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.dipole_field import field_of
from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.geometry import smooth_field
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.relaxation import iron_content, tissue_of
from mbseg_bids.simulation.rendering import render
from mbseg_bids.simulation.scan import IRON_TISSUES, render_features
from mbseg_bids.simulation.susceptibility import Feature, Sphere
from mbseg_bids.simulation.truth import Rendering

IRON_PPM = 0.009
"""Susceptibility (ppm) of 1 mg iron in 100 g: the pallidum of old people then has 0.2 ppm."""
SPHERE_REACH, VESSEL_REACH = 4.0, 2.5
"""The phase about a source is followed this many times as far as its dephasing: to a hundredth of a radian, and to
where `Vessel` ends its field."""
FAR_PITCH = 0.7
"""mm: sub-voxels beyond the reach of dephasing, where the field is nearly even across a voxel."""
OFFSET = 1.0
"""Standard deviation (rad) of the receiver's offset over the head, smooth over 80 mm."""


def signal_phase(
    anatomy: Anatomy,
    features: Sequence[Feature],
    background: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    protocol: Protocol,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Phase of the noise-free signal, a stronger field turning it forwards.

    Parameters
    ----------
    anatomy, features
        In the scanner's world at the time of the scan.
    background
        Noise-free T2* signal of the tissue.
    affine, shape
        Of the grid; voxel indices to scanner RAS+ mm.
    rng
        Of the receiver's offset.

    Returns
    -------
    Shape (I, J, K), radians, without wraps but those of voxels that a source turns by more than half a turn.
    """
    per_tesla = GYROMAGNETIC_RATIO * protocol.echo_time * 1e-3
    phase = np.zeros(tuple(shape), dtype=np.float32)
    for field in (acq.head_field(anatomy, protocol), iron_field(anatomy, protocol)):
        phase += acq.resample(np.float32(per_tesla) * field.data, field.affine, affine, shape, mode="nearest")
    phase += feature_phase(features, background, affine, shape, protocol)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return phase + OFFSET * smooth_field(shape, 80 / spacing, rng) + np.float32(rng.uniform(-np.pi, np.pi))


def iron_field(anatomy: Anatomy, protocol: Protocol) -> Volume:
    """Change (T) of the main field by the iron of the deep nuclei, on the grid of the anatomy."""
    table = np.zeros(int(anatomy.labels.data.max()) + 1, dtype=np.float32)
    for label in np.unique(anatomy.labels.data):
        if (tissue := tissue_of(int(label))) in IRON_TISSUES:
            table[label] = IRON_PPM * iron_content(tissue, anatomy.age)
    chi = table[anatomy.labels.data]
    affine = anatomy.labels.affine
    if not chi.any():
        return Volume(chi, affine)
    # The field falls with the third power: 20 mm about the nuclei hold what is to be seen of it.
    (box,) = ndimage.find_objects((chi > 0).astype(np.uint8))
    wide = tuple(slice(max(0, side.start - 20), side.stop + 20) for side in box)
    field = np.zeros(chi.shape, dtype=np.float32)
    field[wide] = field_of(ndimage.gaussian_filter(chi[wide], 0.5), affine) * np.float32(1e-6 * protocol.field_strength)
    return Volume(field, affine)


def feature_phase(
    features: Sequence[Feature],
    background: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    protocol: Protocol,
) -> npt.NDArray[np.float32]:
    """Phase (rad) that features add, each that of the complex mean over a voxel, as its dephasing is."""
    phase = np.zeros(tuple(shape), dtype=np.float32)
    for feature in features:
        if all(source.dchi == 0 for source in feature.sources):
            continue
        spheres = isinstance(feature.sources[0], Sphere)
        far = render(
            feature.sources, affine, shape,
            echo_time=protocol.echo_time, field_strength=protocol.field_strength, gap=protocol.gap,
            pitch=FAR_PITCH, reach=SPHERE_REACH if spheres else VESSEL_REACH,
        )  # fmt: skip
        near = render(
            feature.sources, affine, shape,
            echo_time=protocol.echo_time, field_strength=protocol.field_strength, gap=protocol.gap,
            background=background, tissue_t2star=feature.tissue_t2star,
            pitch=0.25 if feature.kind == "microbleed" else 0.4,
        )  # fmt: skip
        if far is None:
            continue
        turned = np.zeros_like(phase[far.box])
        turned[...] = np.angle(far.ratio)
        if near is not None:
            inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(near.box, far.box, strict=True))
            turned[inner] = np.where(near.ratio == 1, turned[inner], np.angle(near.ratio))
        phase[far.box] += turned
    return phase


def calcification_truth(
    features: Sequence[Feature],
    background: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    protocol: Protocol,
) -> tuple[Rendering, list[Feature]]:
    """Where calcifications are seen, by the rule for microbleeds; and the features, as the numbers count them."""
    calcium = [replace(feature, kind="microbleed") for feature in features if feature.kind == "calcification"]
    return render_features(calcium, background, affine, shape, protocol), calcium
