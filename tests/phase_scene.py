"""Complex signal about known sources of susceptibility, by the dipole in Fourier space, unlike what is tested."""

from dataclasses import dataclass

import numpy as np

FINE = 0.5
"""Edge (mm) of the cubes that the susceptibility is laid out on."""
GAMMA = 2.6752218744e8


@dataclass
class Scene:
    """``signal``: complex, one array for each echo, on the voxel grid of ``affine``."""

    signal: list
    affine: np.ndarray

    @property
    def centre(self):
        """World millimetres of the middle of the cube that the signal fills."""
        return self.affine[:3, :3] @ ((np.array(self.signal[0].shape) - 1) / 2) + self.affine[:3, 3]


def turn(degrees_x, degrees_y):
    """Rotation about x, then y."""
    a, b = np.deg2rad((degrees_x, degrees_y))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return about_y @ about_x


def scene(
    spheres=(), veins=(), *, voxel=(1, 1, 1), field=3.0, times=(0.02,), noise=0.03, rotation=None, size=40, seed=0,
    slope=3.0, flip=False,
):  # fmt: skip
    """Return the signal about ``spheres`` (offset mm from the middle, in axes of the array; diameter; dChi ppm).

    ``veins``: (point, direction, diameter, dChi), in the same axes. ``rotation``: array axes to world. ``slope``: rad
    across the cube, with a bowl, as background for each 20 ms. ``noise``: deviation of each part, tissue being 1.
    ``flip``: the other convention of sign.
    """
    rng = np.random.default_rng(seed)
    rotation = np.eye(3) if rotation is None else rotation
    n = round(size / FINE)
    line = (np.arange(n) + 0.5) * FINE - size / 2
    x, y, z = np.meshgrid(line, line, line, indexing="ij", sparse=True)
    chi, void = np.zeros((n,) * 3), np.zeros((n,) * 3)
    for (a, b, c), diameter, dchi in spheres:
        distance = np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2)
        inside = np.clip((diameter / 2 - distance) / FINE + 0.5, 0, 1)
        # The voxelised sphere has exactly the volume of the round one.
        chi += dchi * inside * (np.pi / 6 * diameter**3) / (inside.sum() * FINE**3)
        void = np.maximum(void, inside)
    for point, direction, diameter, dchi in veins:
        d = np.asarray(direction, float) / np.linalg.norm(direction)
        px, py, pz = x - point[0], y - point[1], z - point[2]
        along = px * d[0] + py * d[1] + pz * d[2]
        distance = np.sqrt(np.maximum(px**2 + py**2 + pz**2 - along**2, 0))
        inside = np.clip((diameter / 2 - distance) / FINE + 0.5, 0, 1)
        chi += dchi * inside
        void = np.maximum(void, 0.6 * inside)
    k = np.fft.fftfreq(n)
    kx, ky, kz = np.meshgrid(k, k, k, indexing="ij", sparse=True)
    b0 = rotation.T @ np.array([0.0, 0.0, 1.0])
    squared = kx**2 + ky**2 + kz**2
    with np.errstate(invalid="ignore", divide="ignore"):
        dipole = 1 / 3 - (kx * b0[0] + ky * b0[1] + kz * b0[2]) ** 2 / squared
    dipole[0, 0, 0] = 0
    ppm = np.fft.ifftn(np.fft.fftn(chi) * dipole).real
    bowl = slope * (x / size + 0.7 * z / size - 0.5 * (y / size) ** 2)
    signals = []
    for time in times:
        phase = (-1 if flip else 1) * GAMMA * field * 1e-6 * ppm * time + bowl * time / 0.02
        fine = (1 - 0.9 * void) * np.exp(1j * phase)
        signals.append(_averaged(fine, voxel))
    noise_of = [noise * (rng.normal(size=s.shape) + 1j * rng.normal(size=s.shape)) for s in signals]
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.asarray(voxel, float)
    affine[:3, 3] = (7.0, -3.0, 11.0)
    return Scene([s + e for s, e in zip(signals, noise_of, strict=True)], affine)


def _averaged(fine, voxel):
    steps = [round(v / FINE) for v in voxel]
    cut = fine[tuple(slice(0, len(fine) // s * s) for s in steps)]
    shape = [m for n, s in zip(cut.shape, steps, strict=True) for m in (n // s, s)]
    return cut.reshape(shape).mean(axis=(1, 3, 5))
