"""One simulated participant: head, vessels, microbleeds, three images, and the truth on the T2* grid."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.worlds import acquire, susceptibility, vessels
from benchmarks.worlds.grids import Box, FloatArray, resample, rotation, smooth_noise
from benchmarks.worlds.heads import Anatomy, Labels, brain_of, deform, place_landmarks
from benchmarks.worlds.lesions import Microbleed, draw_microbleeds
from benchmarks.worlds.protocol import Protocol, draw_protocol
from benchmarks.worlds.tissue import Mixture, classes_of, draw_t1w, draw_t2star, draw_t2w, iron, weighted

FINE = 0.7
"""mm: grid of the signal maps."""
VISIBLE = 0.7
"""A voxel belongs to a lesion if its noise-free signal is below this share of that without the lesion."""
IRON_DEPHASING, REFOCUSED = 0.6, 0.03
"""Share of the static dephasing rate that finely spread iron reaches (Langkammer 2010,
doi:10.1148/radiol.10100495, against Hallgren and Sourander), and share of R2' that a train of spin echoes leaves."""
T1W_ECHO_TIME, T2W_ECHO_TIME = 0.003, 0.095


@dataclass(frozen=True, eq=False)
class Image:
    """A stored image: data, index-to-world affine in mm."""

    data: npt.NDArray
    affine: FloatArray


@dataclass(frozen=True, eq=False)
class Scan:
    """What a participant's session holds.

    Attributes
    ----------
    t1w, t2w, t2star
        Images as a scanner stores them, int16.
    truth
        On the grid of ``t2star``: the number of the visible lesion of each voxel, from 1.
    lesions
        The visible lesions in that order.
    hidden
        Those that were there but leave no voxel dark enough.
    to_world
        4 x 4: mm of the scan frame (in which lesions are given) to world mm of the T2* image.
    """

    protocol: Protocol
    head: str
    t1w: Image
    t2w: Image
    t2star: Image
    truth: Image
    lesions: list[Microbleed]
    hidden: list[Microbleed]
    to_world: FloatArray


@dataclass(frozen=True, eq=False)
class _Head:
    """A deformed head in the scan frame, with what is in it."""

    labels: Labels
    coarse: Box
    fine: Box
    tubes: npt.NDArray[np.float32]
    calcium: npt.NDArray[np.float32]
    sheets: npt.NDArray[np.float32]
    iron: npt.NDArray[np.float32]
    sulci: float


def simulate(anatomy: Anatomy, seed: np.random.SeedSequence, n_lesions: int, thick: bool) -> Scan:
    """Simulate one participant.

    Parameters
    ----------
    anatomy
        Labelled head.
    seed
        The same seed gives the same scan.
    n_lesions
        Microbleeds to plant.
    thick
        T2* slices of 4 to 6 mm.
    """
    rng_protocol, rng_head, rng_tissue, rng_lesions, rng_noise = (np.random.default_rng(s) for s in seed.spawn(5))
    protocol = draw_protocol(rng_protocol, thick)
    turn = rotation(protocol.tilt)
    direction = turn.T @ np.array([0.0, 0.0, 1.0])
    head, extent = build_head(anatomy, turn, rng_head)
    background = background_field(head, protocol.b0, direction)
    lesions = draw_microbleeds(
        head.labels, head.coarse, rng_lesions, n_lesions, _unfit(head, background, protocol)
    ) if n_lesions else []  # fmt: skip
    t1_map, t2_map, amplitude = signal_maps(head, protocol, rng_tissue, lesions)
    frequency = local_field(head, protocol.b0, direction)
    frequency += resample(background, head.coarse, head.fine)
    stack = acquire.Stack.place(
        protocol.t2star, (extent[0] + 36, extent[1] + 40, extent[2] + 8), rng_protocol.uniform(-2, 2)
    )
    image, quotient = acquire.gradient_echo(
        amplitude, frequency, head.fine, stack, protocol.echo_time, lesions, protocol.b0, direction, rng_noise
    )
    del frequency, amplitude
    truth, visible = find_truth(quotient, stack, lesions)
    to_world = np.eye(4)
    to_world[:3, :3] = turn
    to_world[:3, 3] = rng_protocol.uniform(-25, 25, 3)
    stored = [
        acquire.store(data, to_world @ stack.affine, protocol.orientations[0])
        for data in (_as_integers(image, rng_tissue), truth)
    ]
    t1w, t2w = (
        _structural(which, amplitude, head.fine, extent, protocol, to_world, rng_protocol, rng_noise)
        for which, amplitude in (("t1w", t1_map), ("t2w", t2_map))
    )
    return Scan(
        protocol, anatomy.name, t1w, t2w, Image(*stored[0]), Image(*stored[1]),
        [lesions[i] for i in visible], [m for i, m in enumerate(lesions) if i not in visible], to_world,
    )  # fmt: skip


def build_head(anatomy: Anatomy, turn: FloatArray, rng: np.random.Generator) -> tuple[_Head, FloatArray]:
    """Deform a head into the scan frame and furnish it; also return the mm that its brain takes along the axes."""
    sparse = np.argwhere(brain_of(anatomy.labels)[::3, ::3, ::3]) * 3.0
    sparse = (sparse - (sparse.min(axis=0) + sparse.max(axis=0)) / 2) @ turn
    rough = 2.2 * np.abs(sparse).max(axis=0)
    coarse = Box.covering(np.add(rough, [56, 60, 50]), 1.0)
    labels = deform(anatomy, coarse, turn, rng)
    where = (np.argwhere(brain_of(labels)) - coarse.middle) * coarse.spacing
    extent = 2 * np.abs(where).max(axis=0)
    fine = Box.covering(np.add(extent, [36, 40, 26]), FINE)
    landmarks = place_landmarks(labels, coarse)
    tubes = vessels.Tubes()
    density = rng.uniform(0.5, 1.5)
    vessels.medullary_veins(tubes, labels, coarse, rng, int(160 * density))
    vessels.cortical_veins(tubes, labels, coarse, rng, int(150 * density))
    vessels.pial_veins(tubes, labels, coarse, rng, int(170 * density))
    vessels.deep_veins(tubes, landmarks, rng)
    vessels.sinuses(tubes, labels, coarse, landmarks)
    head = _Head(
        labels, coarse, fine, tubes.fractions(fine), vessels.calcifications(labels, coarse, landmarks, rng),
        vessels.dural_sheets(labels, coarse), iron(labels, coarse, landmarks, rng, rng.uniform(0.5, 1.4)),
        float(np.exp(rng.uniform(np.log(0.75), np.log(1.5)))),
    )  # fmt: skip
    return head, extent


def background_field(head: _Head, b0: float, direction: FloatArray) -> npt.NDArray[np.float32]:
    """Return the field of air and bone in Hz on the coarse grid, shimmed over the brain."""
    classes = classes_of(head.labels)
    chi = weighted(classes, {"air": susceptibility.AIR, "bone": susceptibility.BONE, "fat": 0.3})
    field = susceptibility.frequency_map(ndimage.gaussian_filter(chi, 0.5), head.coarse.spacing, b0, direction, pad=24)
    return susceptibility.shim(field, head.coarse.spacing, brain_of(head.labels)).astype(np.float32)


def local_field(head: _Head, b0: float, direction: FloatArray) -> npt.NDArray[np.float32]:
    """Return the field of iron, veins, sinuses and calcium in Hz on the fine grid."""
    chi = resample(
        head.iron + susceptibility.CALCIUM * head.calcium
        + weighted(classes_of(head.labels), {"sinus": susceptibility.VEIN}),
        head.coarse, head.fine,
    )  # fmt: skip
    chi += np.float32(susceptibility.VEIN) * head.tubes
    return susceptibility.frequency_map(chi, head.fine.spacing, b0, direction)


def signal_maps(
    head: _Head, protocol: Protocol, rng: np.random.Generator, lesions: list[Microbleed]
) -> list[npt.NDArray[np.float32]]:
    """Return the signal of T1w, T2w (both with lesions) and T2* (without) before dephasing, on the fine grid."""
    contrasts = [draw_t1w(rng, protocol.b0), draw_t2w(rng, protocol.b0), draw_t2star(rng)]
    maps = Mixture(classes_of(head.labels), head.coarse, head.fine, head.sulci).signal_maps(
        contrasts, [_gain(rng, head.coarse) for _ in contrasts]
    )
    fine = head.fine
    solid = resample(head.calcium, head.coarse, fine)
    sheet = resample(head.sheets, head.coarse, fine)
    iron_rate = resample(head.iron, head.coarse, fine) * np.float32(
        IRON_DEPHASING * susceptibility.static_dephasing_rate(1.0, protocol.b0)
    )
    core = _core_rate(lesions, fine, protocol.b0)
    calcium_rate = susceptibility.static_dephasing_rate(susceptibility.CALCIUM / 2, protocol.b0)
    excess = 8.0 if protocol.b0 < 2 else 35.0  # 1/s by which venous blood decays faster than tissue: Zhao 2007
    blood = (rng.uniform(0.5, 1.1), 0.15, np.exp(-protocol.echo_time * excess) * 1.1)
    dura = (0.6, 0.25, 0.3)
    echo = ((T1W_ECHO_TIME, 1.0), (T2W_ECHO_TIME, REFOCUSED), (protocol.echo_time, 1.0))
    for number, (amplitude, (te, share)) in enumerate(zip(maps, echo, strict=True)):
        amplitude *= np.exp(np.float32(-te * share) * iron_rate)
        amplitude += head.tubes * (np.float32(blood[number]) - amplitude)
        amplitude += sheet * (np.float32(dura[number]) - amplitude)
        amplitude *= 1 - np.float32(0.6 if number < 2 else 1 - 0.4 * np.exp(-te * calcium_rate)) * solid
        if number < 2 and core is not None:
            amplitude *= np.exp(np.float32(-te * share) * core)
    return maps


def _gain(rng: np.random.Generator, coarse: Box) -> npt.NDArray[np.float32]:
    """Return a factor for each voxel: the coil's smooth sensitivity, and tissue that is nowhere quite even."""
    knots = Box.covering(np.array(coarse.shape) * coarse.spacing + 6, 3.0)
    bias = rng.uniform(0.05, 0.16) * smooth_noise(rng, knots.shape, knots.spacing, 130.0)
    uneven = 1 + 0.02 * smooth_noise(rng, knots.shape, knots.spacing, 12.0)
    return resample((np.exp(bias) * uneven).astype(np.float32), knots, coarse)


def _core_rate(lesions: list[Microbleed], fine: Box, b0: float) -> npt.NDArray[np.float32] | None:
    """Return R2' in 1/s within the haemosiderin, on the fine grid."""
    if not lesions:
        return None
    rate = np.zeros(fine.shape, np.float32)
    for lesion in lesions:
        reach = np.abs(lesion.spheres[:, :3]).max() + lesion.spheres[:, 3].max() + fine.spacing
        low = np.maximum(np.floor(fine.indices(lesion.centre - reach)).astype(int), 0)
        high = np.minimum(np.ceil(fine.indices(lesion.centre + reach)).astype(int) + 1, fine.shape)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        points = np.stack(np.meshgrid(*(fine.axis(i)[w] for i, w in enumerate(window)), indexing="ij"), axis=-1)
        rate[window] += lesion.effect(points, b0, np.array([0, 0, 1.0]), fine.spacing)[1]
    return rate


def _unfit(head: _Head, background: FloatArray, protocol: Protocol) -> npt.NDArray[np.bool_]:
    """Return where no reader would look for a lesion: dropout, larger vessels, calcium, dura."""
    steep = np.zeros(background.shape, np.float32)
    sides = (protocol.t2star.resolution, protocol.t2star.resolution, protocol.t2star.thickness)
    for axis, side in enumerate(sides):
        steep = np.maximum(steep, np.abs(np.gradient(background, axis=axis)) * np.float32(side * protocol.echo_time))
    tubes = resample(head.tubes, head.fine, head.coarse)
    return (steep > 0.4) | (tubes > 0.2) | (head.calcium > 0.1) | (head.sheets > 0.1)


def find_truth(
    quotient: npt.NDArray[np.float32], stack: acquire.Stack, lesions: list[Microbleed]
) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Return the lesions' voxels on the stored grid, numbered from 1, and which lesions (by index) those are."""
    dark, _ = ndimage.label(quotient < VISIBLE, np.ones((3, 3, 3)))
    truth = np.zeros(quotient.shape, np.uint8)
    visible: list[int] = []
    spacing = np.diag(stack.affine)[:3]
    half = np.array([spacing[0], spacing[1], stack.slices.thickness / 2])
    for number, lesion in enumerate(lesions):
        edge = (3 * lesion.volume / (4 * np.pi)) ** (1 / 3)
        start = (lesion.centre - stack.affine[:3, 3] - edge - half) / spacing
        stop = (lesion.centre - stack.affine[:3, 3] + edge + half) / spacing
        window = tuple(
            slice(max(0, int(np.ceil(a))), max(0, int(np.floor(b)) + 1)) for a, b in zip(start, stop, strict=True)
        )
        counts = np.bincount(dark[window].ravel())
        counts[:1] = 0
        if not len(counts) or counts.max() == 0:
            continue
        part = (dark == counts.argmax()) & (truth == 0)
        if part.any():
            visible.append(number)
            truth[part] = len(visible)
    return truth, visible


def _structural(
    which: str, amplitude: FloatArray, fine: Box, extent: FloatArray, protocol: Protocol, to_world: FloatArray,
    rng: np.random.Generator, rng_noise: np.random.Generator,
) -> Image:  # fmt: skip
    """Take the T1w (sagittal slices) or T2w (near axial) image of a head that has moved since the T2* scan."""
    slices = getattr(protocol, which)
    axes = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]]) if which == "t1w" else np.eye(3)
    frame = np.eye(4)
    frame[:3, :3] = rotation(np.clip(rng.normal(0, 2, 3), -5, 5)) @ axes
    frame[:3, 3] = to_world[:3, 3]
    moved = np.eye(4)
    moved[:3, :3] = rotation(np.clip(rng.normal(0, 1.5, 3), -4, 4))
    moved[:3, 3] = np.clip(rng.normal(0, 1.5, 3), -4, 4)
    around = np.eye(4)
    around[:3, 3] = -to_world[:3, 3]
    moved = np.linalg.inv(around) @ moved @ around
    in_world = to_world[:3, :3] @ np.diag(extent)
    size = np.abs(frame[:3, :3].T @ in_world).max(axis=1)
    size = np.maximum(size, np.abs(np.linalg.norm(frame[:3, :3].T @ in_world, axis=1)) * 0.98)
    stack = acquire.Stack.place(slices, size + np.array([40, 38, 30.0]))
    to_scan = np.linalg.inv(to_world) @ np.linalg.inv(moved) @ frame
    image = acquire.magnitude_image(amplitude, fine, stack, to_scan, rng_noise)
    code = protocol.orientations[1 if which == "t1w" else 2]
    return Image(*acquire.store(_as_integers(image, rng), frame @ stack.affine, code))


def _as_integers(image: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Scale to the units of a scanner, which mean nothing."""
    return np.clip(np.rint(image * rng.uniform(150, 900)), 0, 32767).astype(np.int16)
