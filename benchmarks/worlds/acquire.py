"""The scanner: sums complex signal within slices, samples k-space, adds its noise, transforms back.

A voxel's loss of signal is not modelled by a formula: the signal is summed over points finer than the voxel, each with
its own frequency, and what cancels is lost (intravoxel dephasing; Brown et al., Magnetic Resonance Imaging: Physical
Principles and Sequence Design, 2nd ed. 2014, chapter 20).
Coil sensitivities, parallel imaging, distortion along the readout and motion are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from scipy import fft, ndimage, signal

from benchmarks.worlds.grids import Box, FloatArray, interpolate_axis
from benchmarks.worlds.lesions import Microbleed
from benchmarks.worlds.protocol import Slices

OVERSAMPLING = 2
"""Points for each acquired voxel along an in-plane axis."""
SUBSLICE = 0.5
"""mm: largest distance of the points across a slice."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices placed in a frame: stored index ``(i, j, s)`` lies at ``affine``; the in-plane origin is a corner."""

    slices: Slices
    acquired: tuple[int, int]
    stored: tuple[int, int]
    centres: FloatArray
    """mm of the slices along axis 2 of the frame."""

    @classmethod
    def place(cls, slices: Slices, extent: Sequence[float], shift: float = 0.0) -> "Stack":
        """Cover ``extent`` mm (in plane, in plane, across) round the origin of the frame, moved by ``shift`` across."""
        acquired, stored = slices.matrix((extent[0], extent[1]))
        n = max(1, int(np.ceil((extent[2] - slices.thickness) / slices.spacing)) + 1)
        return cls(slices, acquired, stored, (np.arange(n) - (n - 1) / 2) * slices.spacing + shift)

    @property
    def field_of_view(self) -> FloatArray:
        """In-plane extent, mm."""
        return np.array(self.acquired) * self.slices.resolution

    @property
    def affine(self) -> FloatArray:
        """Stored index to mm of the frame."""
        affine = np.diag([*(self.field_of_view / self.stored), self.slices.spacing, 1.0])
        affine[:3, 3] = [*(-self.field_of_view / 2), self.centres[0]]
        return affine

    def fine_axis(self, which: int) -> FloatArray:
        """Return the mm positions of the points along an in-plane axis."""
        n = self.acquired[which] * OVERSAMPLING
        return np.arange(n) * self.slices.resolution / OVERSAMPLING - self.field_of_view[which] / 2

    def subslices(self, centre: float, step: float = SUBSLICE) -> tuple[FloatArray, FloatArray]:
        """Return mm positions and weights of the points across a slice: a trapezoid of the nominal full width."""
        width = self.slices.thickness
        n = max(2, int(np.ceil(1.2 * width / step)))
        offset = (np.arange(n) - (n - 1) / 2) * 1.2 * width / n
        weight = np.clip((0.6 * width - np.abs(offset)) / (0.2 * width), 0, 1)
        return centre + offset, weight / weight.sum()


def read_out(
    image: npt.NDArray[np.complexfloating], stack: Stack, rng: np.random.Generator | None
) -> npt.NDArray[np.complex64]:
    """Return the stored image of a slice given on the fine points; with noise if a generator is given."""
    spectrum = fft.fftshift(fft.fft2(image, norm="forward"))
    a0, a1 = stack.acquired
    low = [(n - a) // 2 for n, a in zip(image.shape, stack.acquired, strict=True)]
    spectrum = spectrum[low[0] : low[0] + a0, low[1] : low[1] + a1]
    roll_off = np.outer(*(signal.windows.tukey(n + 1, stack.slices.filter_width)[:n] for n in stack.acquired))
    if rng is not None and stack.slices.noise > 0:
        level = stack.slices.noise / np.sqrt(a0 * a1) / np.sqrt(np.mean(roll_off**2))
        spectrum = spectrum + level * (rng.standard_normal((a0, a1)) + 1j * rng.standard_normal((a0, a1)))
    spectrum = spectrum * roll_off
    if stack.stored != stack.acquired:
        around = [((s - a) // 2, (s - a) - (s - a) // 2) for s, a in zip(stack.stored, stack.acquired, strict=True)]
        spectrum = np.pad(spectrum, around)
    return fft.ifft2(fft.ifftshift(spectrum), norm="forward").astype(np.complex64)


def gradient_echo(
    amplitude: npt.NDArray[np.float32],
    frequency: npt.NDArray[np.float32],
    box: Box,
    stack: Stack,
    echo_time: float,
    lesions: Sequence[Microbleed],
    b0: float,
    direction: FloatArray,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the T2*-weighted image with lesions and noise, and the noise-free quotient of with and without lesions.

    Parameters
    ----------
    amplitude
        Signal at the echo time before dephasing, on ``box``, without lesions.
    frequency
        Hz, on ``box``, without lesions.
    echo_time
        s.
    lesions
        Microbleeds of the scan frame.
    b0, direction
        T, and unit vector of the field in the scan frame.
    """
    shape = (*stack.stored, len(stack.centres))
    image, quotient = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    for s, centre in enumerate(stack.centres):
        total, change = _excite(amplitude, frequency, box, stack, float(centre), echo_time, lesions, b0, direction)
        if change is None:
            image[:, :, s] = np.abs(read_out(total, stack, rng))
            continue
        without, dark = (np.abs(read_out(part, stack, None)) for part in (total, total + change))
        quotient[:, :, s] = dark / np.maximum(without, 1e-3)
        image[:, :, s] = np.abs(read_out(total + change, stack, rng))
    return image, quotient


def _excite(
    amplitude: FloatArray, frequency: FloatArray, box: Box, stack: Stack, centre: float, echo_time: float,
    lesions: Sequence[Microbleed], b0: float, direction: FloatArray,
) -> tuple[npt.NDArray[np.complex64], npt.NDArray[np.complex64] | None]:  # fmt: skip
    """Return the complex signal of one slice on its fine points, without lesions, and what the lesions change of it."""
    axes = [stack.fine_axis(0), stack.fine_axis(1)]
    positions, weights = stack.subslices(centre)
    total = np.zeros([len(a) for a in axes], np.complex64)
    change = None
    reached = [m for m in lesions if abs(m.centre[2] - centre) < m.reach(b0, echo_time) + stack.slices.thickness]
    outside = [np.abs(a) > n * box.spacing / 2 for a, n in zip(axes, box.shape[:2], strict=True)]
    for position, weight in zip(positions, weights, strict=True):
        size, shift = (_plane(volume, box, position, axes) for volume in (amplitude, frequency))
        size[outside[0]] = 0
        size[:, outside[1]] = 0
        size *= np.float32(weight)
        angle = shift * np.float32(2 * np.pi * echo_time)
        part = np.empty_like(total)
        part.real, part.imag = size * np.cos(angle), size * np.sin(angle)
        total += part
        for lesion in reached:
            reach = lesion.reach(b0, echo_time)
            window = tuple(
                slice(*np.searchsorted(a, [lesion.centre[i] - reach, lesion.centre[i] + reach]))
                for i, a in enumerate(axes)
            )
            points = np.stack(
                np.broadcast_arrays(axes[0][window[0], None], axes[1][None, window[1]], np.float64(position)), axis=-1
            )
            added, rate = lesion.effect(points, b0, direction, stack.slices.resolution / OVERSAMPLING)
            change = np.zeros_like(total) if change is None else change
            factor = np.exp(2j * np.pi * echo_time * added - echo_time * rate) - 1
            # What another lesion has already taken away cannot be taken twice.
            change[window] += factor.astype(np.complex64) * part[window]
            part[window] *= (1 + factor).astype(np.complex64)
    return total, change


def _plane(volume: FloatArray, box: Box, position: float, axes: Sequence[FloatArray]) -> npt.NDArray[np.float32]:
    """Interpolate a plane across axis 2 of a volume at in-plane points."""
    at = np.clip(position / box.spacing + box.middle[2], 0, box.shape[2] - 1)
    low = min(int(at), box.shape[2] - 2)
    plane = volume[:, :, low] * np.float32(1 - (at - low)) + volume[:, :, low + 1] * np.float32(at - low)
    for axis, points in enumerate(axes):
        plane = interpolate_axis(plane, points / box.spacing + box.middle[axis], axis)
    return plane


def magnitude_image(
    amplitude: npt.NDArray[np.float32], box: Box, stack: Stack, to_scan: FloatArray, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return an image whose signal has no phase (short echo time or spin echo), with noise.

    Parameters
    ----------
    amplitude
        Signal on ``box``.
    to_scan
        4 x 4: mm of the stack's frame to mm of the scan frame (orientation and movement).
    """
    image = np.zeros((*stack.stored, len(stack.centres)), np.float32)
    step = stack.slices.resolution
    shape = list(stack.acquired)
    for s, centre in enumerate(stack.centres):
        positions, weights = stack.subslices(float(centre), box.spacing)
        spacing = positions[1] - positions[0]
        start = np.array([*(-stack.field_of_view / 2), positions[0]])
        matrix = to_scan[:3, :3] @ np.diag([step, step, spacing]) / box.spacing
        offset = (to_scan[:3, :3] @ start + to_scan[:3, 3]) / box.spacing + box.middle
        points = ndimage.affine_transform(amplitude, matrix, offset, (*shape, len(positions)), order=1)
        image[:, :, s] = np.abs(read_out(points @ weights.astype(np.float32), stack, rng))
    return image


def store(data: npt.NDArray, affine: FloatArray, codes: str) -> tuple[npt.NDArray, FloatArray]:
    """Return an image and its affine with the axes in the order and direction that ``codes`` (such as LPS) name."""
    change = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(codes)))
    turned = np.ascontiguousarray(apply_orientation(data, change))
    return turned, affine @ inv_ornt_aff(change, data.shape)


def save(path: object, data: npt.NDArray, affine: FloatArray) -> None:
    """Write a NIfTI image with both its affines set."""
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
