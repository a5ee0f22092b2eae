"""Scan a head: partial volume, bias, noise, ringing and field dropout."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.anatomy import AIR_TABLE, N_LABELS, Anatomy
from mbseg_bids.simulation.geometry import rotation, smooth_field
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.relaxation import tissue_of


def paint(anatomy: Anatomy, signals: dict[str, float], texture: npt.NDArray[np.float32] | None = None) -> Volume:
    """Signal on the anatomy's grid: each label its tissue's, borders softened by half a voxel of blur."""
    table = np.array([signals[tissue_of(label)] for label in range(N_LABELS)], dtype=np.float32)
    image = table[anatomy.labels.data]
    if texture is not None:
        image *= texture
    ndimage.gaussian_filter(image, 0.5, output=image, truncate=3.0)
    return Volume(image, anatomy.labels.affine)


def scan_grid(
    anatomy: Anatomy,
    spacing: Sequence[float],
    tilt: Sequence[float] = (0, 0, 0),
    *,
    whole_head: bool = False,
    cover_neck: bool = False,
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Affine and shape of an axial scan, its slices tilted by angles in radians.

    In plane it holds the brain, or the whole head with a margin; across slices the brain, or all of head and neck.
    """
    axes = rotation(tilt)

    def extent(mask: npt.NDArray[np.bool_], margin: float) -> tuple[npt.NDArray, npt.NDArray]:
        where = np.argwhere(mask[::2, ::2, ::2]) * 2
        along = (where @ anatomy.labels.affine[:3, :3].T + anatomy.labels.affine[:3, 3]) @ axes
        return along.min(axis=0) - margin, along.max(axis=0) + margin

    low, high = extent(anatomy.brain, 3)
    if whole_head:
        low, high = low - 2, high + 2
        head_low, head_high = extent(anatomy.labels.data > 0, 8)
        sides = slice(0, 3 if cover_neck else 2)
        low[sides], high[sides] = head_low[sides], head_high[sides]
    i, j, k = (int(n) for n in np.ceil((high - low) / np.asarray(spacing)))
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing)
    affine[:3, 3] = axes @ (low + np.asarray(spacing) / 2)
    return affine, (i, j, k)


def resample(
    image: npt.NDArray,
    source: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    order: int = 1,
    move: npt.NDArray[np.float64] | None = None,
    mode: str = "constant",
) -> npt.NDArray:
    """Values of an image on another grid; `move` maps target world to source world (4 x 4), identity by default.

    Beyond the image 0, or with `mode` "nearest" its edge.
    """
    mapping = np.linalg.inv(source) @ (np.eye(4) if move is None else move) @ target
    return ndimage.affine_transform(
        image, mapping[:3, :3], mapping[:3, 3], output_shape=tuple(shape), order=order, mode=mode, cval=0
    )


def box_average(
    volume: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    pitch: Sequence[float] = (1.65, 1.65, 1.0),
    move: npt.NDArray[np.float64] | None = None,
    gap: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Mean of a volume over every voxel of a grid, from samples at most `pitch` mm apart: what partial volume does.

    `gap`: share of the slice axis that lies between slices and gives no signal.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    counts = np.maximum(1, np.ceil(spacing / np.asarray(pitch) - 1e-3)).astype(int)
    total = np.zeros(tuple(shape), dtype=np.float32)
    for index in np.ndindex(*counts):
        shift = (np.array(index) + 0.5) / counts - 0.5
        shifted = affine.copy()
        shifted[:3, 3] += affine[:3, :3] @ (shift * (1, 1, 1 - gap))
        total += resample(volume.data, volume.affine, shifted, shape, move=move)
    return total / np.prod(counts)


def label_votes(
    labels: npt.NDArray[np.uint8], source: npt.NDArray, affine: npt.NDArray, shape: Sequence[int]
) -> npt.NDArray[np.uint8]:
    """The label that most of each voxel holds, see `map_votes`."""
    return map_votes((labels,), source, affine, shape)[0]


def map_votes(
    maps: Sequence[npt.NDArray], source: npt.NDArray, affine: npt.NDArray, shape: Sequence[int]
) -> list[npt.NDArray[np.uint8]]:
    """For each of several label maps, the label that most of each voxel holds.

    Voxels are sampled once per mm along the slice axis; of labels with as many votes the lowest wins.

    Parameters
    ----------
    maps
        Of small integers or bool, all on one grid; the products of their numbers of labels must stay below 256.
    source, affine, shape
        Affine of the maps; the grid of the result.
    """
    sizes = [int(labels.max()) + 1 for labels in maps]
    coded = np.zeros(maps[0].shape, dtype=np.uint8)
    for labels, size in zip(maps, sizes, strict=True):
        coded *= np.uint8(size)
        coded += labels.astype(np.uint8)
    thickness = float(np.linalg.norm(affine[:3, 2]))
    counts = max(1, round(thickness))
    drawn = []
    for step in range(counts):
        shifted = affine.copy()
        shifted[:3, 3] += affine[:3, 2] * ((step + 0.5) / counts - 0.5)
        drawn.append(resample(coded, source, shifted, shape, order=0))
    winners = []
    for size in reversed(sizes):
        winners.append(_most_frequent([codes % np.uint8(size) for codes in drawn], size))
        drawn = [codes // np.uint8(size) for codes in drawn]
    return winners[::-1]


def _most_frequent(drawn: Sequence[npt.NDArray[np.uint8]], n_classes: int) -> npt.NDArray[np.uint8]:
    if len(drawn) == 1:
        return drawn[0]
    best, most = np.zeros(drawn[0].shape, dtype=np.uint8), np.zeros(drawn[0].shape, dtype=np.uint8)
    for label in range(n_classes):
        votes = sum((codes == label).view(np.uint8) for codes in drawn)
        best[votes > most] = label
        np.maximum(most, votes, out=most)
    return best


AIR, BONE, VENOUS_SINUS = 9.4e-6, -2.2e-6, 0.35e-6
"""Susceptibility (SI) relative to tissue: Schenck, Med Phys 1996, 23:815; Haacke 1999."""


def head_field(anatomy: Anatomy, protocol: Protocol, *, grid_step: int = 3) -> Volume:
    """Change (T) of the main field that air, bone and venous sinuses cause in the head, after shimming.

    The field of any distribution of susceptibility is its convolution with that of a dipole, (1/3 - kz^2 / k^2) in
    k-space (Marques & Bowtell, Concepts Magn Reson B 2005, 25:65). Shims remove its second-order
    polynomial over the brain.
    """
    step = grid_step
    labels = anatomy.labels.data[::step, ::step, ::step]
    brain = anatomy.brain[::step, ::step, ::step]
    pad = 12
    table = np.where(AIR_TABLE, AIR, 0.0)
    table[515], table[514] = BONE, VENOUS_SINUS
    # Tissue continues below the cut at the neck; elsewhere the head is surrounded by air.
    chi = np.pad(table[labels], pad, constant_values=AIR)
    chi[..., :pad] = chi[..., pad : pad + 1]
    chi = ndimage.gaussian_filter(chi, 0.7)
    frequencies = np.meshgrid(*[fft.fftfreq(n) for n in chi.shape[:2]], fft.rfftfreq(chi.shape[2]), indexing="ij")
    squared = sum(f**2 for f in frequencies)
    axes = anatomy.labels.affine[:3, :3] / np.linalg.norm(anatomy.labels.affine[:3, :3], axis=0)
    along = sum(a * f for a, f in zip(axes[2], frequencies, strict=True))  # of B0, the scanner's z
    kernel = 1 / 3 - along**2 / np.where(squared > 0, squared, 1)
    kernel[0, 0, 0] = 0
    shift = fft.irfftn(fft.rfftn(chi) * kernel, s=chi.shape)[pad:-pad, pad:-pad, pad:-pad]
    shift = shift * protocol.field_strength * protocol.dropout
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in shift.shape], indexing="ij")
    terms = np.stack([np.ones_like(i), i, j, k, i * i, j * j, k * k, i * j, i * k, j * k], axis=-1)
    weights, *_ = np.linalg.lstsq(terms[brain], shift[brain], rcond=None)
    shift -= terms @ weights
    affine = anatomy.labels.affine.copy()
    affine[:3, :3] *= step
    return Volume(shift, affine)


def air_dephasing(
    anatomy: Anatomy, protocol: Protocol, *, grid_step: int = 3, field: Volume | None = None
) -> tuple[Volume, ...]:
    """Gradient (T / m) of the field of `head_field` along world x, y, z; `field` if that is known already."""
    field = head_field(anatomy, protocol, grid_step=grid_step) if field is None else field
    axes = field.affine[:3, :3] / np.linalg.norm(field.affine[:3, :3], axis=0)
    gradients = np.stack(np.gradient(field.data, float(field.spacing[0]) * 1e-3))
    world = np.tensordot(axes, gradients, axes=1).astype(np.float32)
    return tuple(Volume(g, field.affine) for g in world)


def dropout_factor(
    gradients: Sequence[Volume], affine: npt.NDArray[np.float64], shape: Sequence[int], echo_time: float
) -> npt.NDArray[np.float32]:
    """Signal left in voxels across which the field varies linearly: product over axes of sinc(gamma G d TE / 2 pi).

    Computed where the gradients are known and interpolated from there.
    """
    factor = np.ones(gradients[0].shape, dtype=np.float32)
    for axis in range(3):
        edge = affine[:3, axis] * 1e-3
        across = sum(np.float32(e) * g.data for e, g in zip(edge, gradients, strict=True))
        factor *= np.abs(np.sinc(GYROMAGNETIC_RATIO * echo_time * 1e-3 / (2 * np.pi) * across)).astype(np.float32)
    return resample(factor, gradients[0].affine, affine, shape, mode="nearest")


def bias_field(
    shape: Sequence[int], affine: npt.NDArray, rng: np.random.Generator, log_sd: float
) -> npt.NDArray[np.float32]:
    """Receive field: exp of a smooth random field with a correlation length of about 80 mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return np.exp(np.float32(log_sd) * smooth_field(shape, 80 / spacing, rng))


def add_ringing(image: npt.NDArray[np.float32], share: float, *, kept: float = 0.8) -> npt.NDArray[np.float32]:
    """Mix in the image seen through an in-plane k-space cut at `kept` of its width: Gibbs ringing and its blur."""
    if share <= 0:
        return image
    cut = image
    for axis in (0, 1):
        n = image.shape[axis]
        spectrum = fft.rfft(cut, axis=axis)
        window = (fft.rfftfreq(n) <= 0.5 * kept).astype(np.float32)
        spectrum *= window.reshape([-1 if a == axis else 1 for a in range(3)])
        cut = fft.irfft(spectrum, n=n, axis=axis)
    return (image + share * (cut - image)).astype(np.float32)


def add_ghosts(
    image: npt.NDArray[np.float32], amplitude: float, *, period: float, start: float = 0.0, axis: int = 1
) -> npt.NDArray[np.float32]:
    """Magnitude of an image whose head moved to and fro along the phase axis while its lines were acquired.

    Line n of k-space sees the head shifted by `amplitude` (voxels) times sin(2 pi n / period + start), which turns its
    phase; that puts ghosts at multiples of the field of view / period (Wood & Henkelman, Med Phys 1985, 12:143).

    Parameters
    ----------
    period
        Of the motion, in lines (breathing: 4 s over the repetition time).
    axis
        Of the array, along which phase is encoded.
    """
    if amplitude <= 0:
        return image
    n = image.shape[axis]
    frequency = fft.fftfreq(n)  # cycles a voxel; lines are acquired from the lowest to the highest
    shift = amplitude * np.sin(2 * np.pi * np.argsort(np.argsort(frequency)) / period + start)
    turn = np.exp(-2j * np.pi * frequency * shift).astype(np.complex64)
    turn = turn.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.abs(fft.ifft(fft.fft(image, axis=axis) * turn, axis=axis)).astype(np.float32)


def add_rician_noise(image: npt.NDArray, sigma: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Magnitude of the image with complex Gaussian noise of standard deviation `sigma` in each part."""
    return np.hypot(*noisy_parts(image, sigma, rng)).astype(np.float32)


def noisy_parts(image: npt.NDArray, sigma: float, rng: np.random.Generator) -> tuple[npt.NDArray, npt.NDArray]:
    """The part along the signal and the one across it, each with Gaussian noise of standard deviation `sigma`."""
    along = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    across = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return along, across
