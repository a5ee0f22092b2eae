"""Scan a head: sequences, geometry, partial volume, bias, noise, ringing and field dropout."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.anatomy import _N_LABELS, AIR_TABLE, Anatomy, rotation, smooth_field
from mbseg_bids.simulation.relaxation import (
    Relaxation,
    mprage,
    spoiled_gradient_echo,
    tissue_of,
    turbo_spin_echo,
)
from mbseg_bids.simulation.susceptibility import GYROMAGNETIC_RATIO

T2STAR_GEOMETRIES: tuple[tuple[tuple[float, float, float], float], ...] = (
    ((0.5, 0.5, 0.8), 0.26),
    ((1.0, 1.0, 1.0), 0.12),
    ((1.0, 1.0, 2.0), 0.10),
    ((1.0, 1.0, 3.0), 0.22),
    ((0.5, 0.5, 4.0), 0.14),
    ((0.9, 0.9, 5.0), 0.16),
)
"""Voxel sizes (mm, slice last) met in cohorts, and how often each is drawn."""


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
    dropout
        Scale of the field of the air about the brain that shimming leaves.
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
    dropout: float = 0.7
    tilt: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))


def draw_protocol(rng: np.random.Generator) -> Protocol:
    """A protocol from the range met in cohorts."""
    weights = np.array([weight for _, weight in T2STAR_GEOMETRIES])
    spacing = T2STAR_GEOMETRIES[rng.choice(len(weights), p=weights / weights.sum())][0]
    field_strength = 3.0 if rng.random() < 0.65 else 1.5
    echo_time = rng.uniform(15, 32) if field_strength == 3.0 else rng.uniform(20, 40)
    three_d = spacing[2] <= 2
    snr = np.exp(rng.uniform(np.log((12, 15, 14)), np.log((60, 70, 60))))
    return Protocol(
        field_strength=field_strength,
        spacing=spacing,
        echo_time=float(echo_time),
        repetition_time=float(rng.uniform(30, 60) if three_d else rng.uniform(450, 1200)),
        flip_angle=float(rng.uniform(10, 20) if three_d else rng.uniform(15, 30)),
        t1w="mprage" if rng.random() < 0.8 else "gradient_echo",
        t2w_spacing=(1.0, 1.0, 1.0) if rng.random() < 0.5 else (0.9, 0.9, float(rng.choice([2.0, 3.0, 4.0, 5.0]))),
        t2w_echo_time=float(rng.uniform(70, 115)),
        t2w_repetition_time=float(rng.uniform(3200, 8000)),
        snr=tuple(float(s) for s in snr),
        bias=tuple(float(b) for b in rng.uniform(0.02, 0.2, 3)),
        ringing=float(rng.uniform(0, 0.6)),
        dropout=float(rng.uniform(0.2, 1.0)),
        tilt=tuple(float(t) for t in rng.normal(0, (0.18, 0.05, 0.05))),
    )


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


def paint(anatomy: Anatomy, signals: dict[str, float], texture: npt.NDArray[np.float32] | None = None) -> Volume:
    """Signal on the anatomy's grid: each label its tissue's, borders softened by half a voxel of blur."""
    table = np.array([signals[tissue_of(label)] for label in range(_N_LABELS)], dtype=np.float32)
    image = table[anatomy.labels.data]
    if texture is not None:
        image *= texture
    ndimage.gaussian_filter(image, 0.5, output=image, truncate=3.0)
    return Volume(image, anatomy.labels.affine)


def scan_grid(
    anatomy: Anatomy, spacing: Sequence[float], tilt: Sequence[float] = (0, 0, 0), *, whole_head: bool = False
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Affine and shape of an axial scan about the brain (or the head), tilted by angles in radians."""
    mask = anatomy.labels.data > 0 if whole_head else anatomy.brain
    axes = rotation(tilt)
    where = np.argwhere(mask[::2, ::2, ::2]) * 2
    world = where @ anatomy.labels.affine[:3, :3].T + anatomy.labels.affine[:3, 3]
    along = world @ axes
    low, high = along.min(axis=0) - 3, along.max(axis=0) + 3
    shape = tuple(int(n) for n in np.ceil((high - low) / np.asarray(spacing)))
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(spacing)
    affine[:3, 3] = axes @ (low + np.asarray(spacing) / 2)
    return affine, shape


def resample(
    image: npt.NDArray,
    source: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    order: int = 1,
    move: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray:
    """Values of an image on another grid; `move` maps target world to source world (4 x 4), identity by default."""
    mapping = np.linalg.inv(source) @ (np.eye(4) if move is None else move) @ target
    return ndimage.affine_transform(
        image, mapping[:3, :3], mapping[:3, 3], output_shape=tuple(shape), order=order, mode="constant", cval=0
    )


def box_average(
    volume: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    pitch: float = 1.0,
    move: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float32]:
    """Mean of a volume over every voxel of a grid, from samples at most `pitch` mm apart: what partial volume does."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    counts = np.maximum(1, np.ceil(spacing / pitch - 1e-3)).astype(int)
    total = np.zeros(tuple(shape), dtype=np.float32)
    for index in np.ndindex(*counts):
        shift = (np.array(index) + 0.5) / counts - 0.5
        shifted = affine.copy()
        shifted[:3, 3] += affine[:3, :3] @ shift
        total += resample(volume.data, volume.affine, shifted, shape, move=move)
    return total / np.prod(counts)


def label_votes(
    labels: npt.NDArray, source: npt.NDArray, affine: npt.NDArray, shape: Sequence[int], n_classes: int
) -> npt.NDArray[np.uint8]:
    """The class (0 to n_classes - 1) that most of each voxel holds, sampled once per mm along the slice axis."""
    thickness = float(np.linalg.norm(affine[:3, 2]))
    counts = max(1, round(thickness))
    votes = np.zeros((n_classes, *shape), dtype=np.uint8)
    for step in range(counts):
        shifted = affine.copy()
        shifted[:3, 3] += affine[:3, 2] * ((step + 0.5) / counts - 0.5)
        drawn = resample(labels, source, shifted, shape, order=0)
        for label in range(n_classes):
            votes[label] += drawn == label
    return votes.argmax(axis=0).astype(np.uint8)


def air_dephasing(anatomy: Anatomy, protocol: Protocol, *, grid_step: int = 3) -> tuple[Volume, ...]:
    """Gradient (T / m) of the main field along world x, y, z that the air in and about the head causes, after shimming.

    The field of any distribution of susceptibility is its convolution with that of a dipole, (1/3 - kz^2 / k^2) in k-space
    (Marques & Bowtell, Concepts Magn Reson B 2005, 25:65). Shims remove its second-order polynomial over the brain.
    """
    step = grid_step
    labels = anatomy.labels.data[::step, ::step, ::step]
    brain = anatomy.brain[::step, ::step, ::step]
    pad = 12
    # Tissue continues below the cut at the neck; elsewhere the head is surrounded by air.
    chi = np.pad(np.where(AIR_TABLE[labels], 9.4e-6, 0.0), ((pad, pad), (pad, pad), (pad, pad)), constant_values=9.4e-6)
    chi[..., :pad] = chi[..., pad : pad + 1]
    chi = ndimage.gaussian_filter(chi, 0.7)
    frequencies = np.meshgrid(*[np.fft.fftfreq(n) for n in chi.shape[:2]], np.fft.rfftfreq(chi.shape[2]), indexing="ij")
    squared = sum(f**2 for f in frequencies)
    kernel = 1 / 3 - frequencies[2] ** 2 / np.where(squared > 0, squared, 1)
    kernel[0, 0, 0] = 0
    shift = np.fft.irfftn(np.fft.rfftn(chi) * kernel, s=chi.shape, axes=(0, 1, 2))[pad:-pad, pad:-pad, pad:-pad]
    shift = shift * protocol.field_strength * protocol.dropout
    i, j, k = np.meshgrid(*[np.linspace(-1, 1, n) for n in shift.shape], indexing="ij")
    terms = np.stack([np.ones_like(i), i, j, k, i * i, j * j, k * k, i * j, i * k, j * k], axis=-1)
    weights, *_ = np.linalg.lstsq(terms[brain], shift[brain], rcond=None)
    shift -= terms @ weights
    affine = anatomy.labels.affine.copy()
    affine[:3, :3] *= step
    gradients = np.gradient(shift, step * 1e-3)
    return tuple(Volume(g.astype(np.float32), affine) for g in gradients)


def dropout_factor(
    gradients: Sequence[Volume], affine: npt.NDArray[np.float64], shape: Sequence[int], echo_time: float
) -> npt.NDArray[np.float32]:
    """Signal left in voxels across which the field varies linearly: product over axes of sinc(gamma G d TE / 2 pi)."""
    world = [resample(g.data, g.affine, affine, shape) for g in gradients]
    factor = np.ones(tuple(shape), dtype=np.float32)
    for axis in range(3):
        edge = affine[:3, axis] * 1e-3
        across = sum(np.float32(e) * g for e, g in zip(edge, world, strict=True))
        factor *= np.abs(np.sinc(GYROMAGNETIC_RATIO * echo_time * 1e-3 / (2 * np.pi) * across)).astype(np.float32)
    return factor


def bias_field(
    shape: Sequence[int], affine: npt.NDArray, rng: np.random.Generator, log_sd: float
) -> npt.NDArray[np.float32]:
    """Receive field: exp of a smooth random field with a correlation length of about 80 mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    smooth = smooth_field(tuple(int(np.ceil(n * s / 4)) + 1 for n, s in zip(shape, spacing, strict=True)), 20, rng)
    resampled = ndimage.affine_transform(smooth, spacing / 4, output_shape=tuple(shape), order=1, mode="nearest")
    return np.exp(log_sd * resampled)


def add_ringing(image: npt.NDArray[np.float32], share: float, *, kept: float = 0.8) -> npt.NDArray[np.float32]:
    """Mix in the image seen through an in-plane k-space cut at `kept` of its width: Gibbs ringing and its blur."""
    if share <= 0:
        return image
    cut = image
    for axis in (0, 1):
        n = image.shape[axis]
        spectrum = np.fft.rfft(cut, axis=axis)
        window = (np.fft.rfftfreq(n) <= 0.5 * kept).astype(np.float32)
        spectrum *= window.reshape([-1 if a == axis else 1 for a in range(3)])
        cut = np.fft.irfft(spectrum, n=n, axis=axis)
    return (image + share * (cut - image)).astype(np.float32)


def add_rician_noise(image: npt.NDArray, sigma: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Magnitude of the image with complex Gaussian noise of standard deviation `sigma` in each part."""
    real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return np.hypot(real, imaginary).astype(np.float32)
