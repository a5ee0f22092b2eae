"""Rigid registration of T1w and T2w to T2*, affine and deformable registration of T1w to the template.

Greedy (Yushkevich et al. 2016, PyPI ``picsl-greedy``) does the work; SimpleITK's multi-start takes over where it is
wanted: thin slabs, and pairs whose first registration failed its check. Everything runs on one thread wherever the
number of threads would change the last digits.
"""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.intensity import single_itk_thread
from mbseg_bids.imaging.transforms import PointField, bounding_grid, compose_field
from mbseg_bids.imaging.volume import Volume

SLAB_THICKNESS = 45.0
"""A field of view (mm, across the slices) below which Greedy's image-centre start cannot be relied on."""
FIELD_SPACING = 2.0
"""Grid spacing at which deformations are kept, mm: they are smoother than that."""
MULTISTART_SPACING = 2.0
MULTISTART_KEPT = 3
"""Starts that are followed."""
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class DeformablePreset:
    """Schedule of the deformable registration."""

    spacing: float
    """Voxel size of both images, mm."""
    radius: int
    """Of the neighbourhood of the cross-correlation, voxels."""
    iterations: str
    smoothing: tuple[float, float]
    """Of the update and of the whole deformation, standard deviations in voxels."""


PRESETS = {
    "default": DeformablePreset(1.0, 4, "100x50x10", (3.0, 1.0)),
    "coarse": DeformablePreset(2.0, 2, "100x50x20", (3.0, 1.0)),
}


@dataclass(frozen=True, eq=False)
class TemplateTransforms:
    """Both ways between T1w space and the template, for points in RAS+ mm."""

    template_to_t1w: PointField
    """Takes template points to T1w points: brings a T1w image onto the template grid."""
    t1w_to_template: PointField
    """Takes T1w points to template points: brings a template image onto a T1w grid."""
    affine: npt.NDArray[np.float64]
    """Template points to T1w points, without the deformation."""
    folded: float
    """Part of the template brain's voxels with a negative Jacobian determinant."""


def is_slab(volume: Volume) -> bool:
    """Return whether the field of view is too thin for the usual start."""
    return min(n * s for n, s in zip(volume.shape, volume.spacing, strict=True)) < SLAB_THICKNESS


def register_rigid(
    fixed: Volume,
    moving: Volume,
    *,
    fixed_mask: npt.NDArray | None = None,
    start: npt.NDArray | None = None,
) -> npt.NDArray[np.float64]:
    """Register ``moving`` to ``fixed`` with six parameters by Greedy, on normalised mutual information.

    Parameters
    ----------
    fixed, moving
        The T2* image, and the T1w or T2w image.
    fixed_mask
        Voxels of ``fixed`` that count; all where None.
    start
        Takes points of ``moving`` roughly to points of ``fixed``; None matches the image centres.

    Returns
    -------
    Shape (4, 4): takes points of ``moving`` to points of ``fixed``, RAS+ mm ("T2* <- moving").
    """
    images = {"fixed_image": _to_itk(fixed), "moving_image": _to_itk(moving)}
    origin = "-ia-image-centers" if start is None else "-ia {start}"
    command = f"-d 3 -i fixed_image moving_image -a -dof 6 -m NMI {origin} -n 100x50x20 -o matrix"
    if fixed_mask is not None:
        images["mask_image"] = _to_itk(Volume(fixed_mask.astype(np.float32), fixed.affine))
        command += " -gm mask_image"
    initial = None if start is None else np.linalg.inv(start)
    found = _greedy(command, "matrix", start=initial, **images)["matrix"]
    return np.linalg.inv(_nearest_rotation(found))


def register_rigid_multistart(fixed: Volume, moving: Volume, *, angle: float = 25.0) -> npt.NDArray[np.float64]:
    """Register ``moving`` to ``fixed`` with six parameters by SimpleITK, from several starts, the best one refined.

    Less exact than :func:`register_rigid`, but unharmed by thin slabs and poor starts: image centres, centres of mass
    and the headers' own positions, each with rotations of plus and minus ``angle`` degrees about each axis. The starts
    of highest mutual information are followed, on images reduced to 2 mm.

    Returns
    -------
    Shape (4, 4): takes points of ``moving`` to points of ``fixed``, RAS+ mm.
    """
    with single_itk_thread():
        fixed_image = _with_spacing(fixed, MULTISTART_SPACING, only_finer=True)
        moving_image = _with_spacing(moving, MULTISTART_SPACING, only_finer=True)
        starts = _starts(fixed_image, moving_image, np.deg2rad(angle))
        ranked = sorted((_similarity(fixed_image, moving_image, start), number) for number, start in enumerate(starts))
        coarse = [_optimise(fixed_image, moving_image, starts[n], ((2, 4.0),), 40) for _, n in ranked[:MULTISTART_KEPT]]
        best, _ = min(coarse, key=lambda entry: entry[1])
        best, _ = _optimise(fixed_image, moving_image, best, ((2, 2.0), (1, 0.0)), 60)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(best.GetMatrix()).reshape(3, 3)
    centre = np.array(best.GetCenter())
    matrix[:3, 3] = np.array(best.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return np.asarray(np.linalg.inv(_LPS @ matrix @ _LPS), np.float64)


def register_template(
    t1w_brain: Volume, template_brain: Volume, *, preset: str = "default", start: npt.NDArray | None = None
) -> TemplateTransforms:
    """Register a T1w image to the template, affine and then deformable.

    Parameters
    ----------
    t1w_brain
        The T1w image, zero outside the brain, bias corrected.
    template_brain
        The T1w template, zero outside the brain.
    preset
        A key of :data:`PRESETS`.
    start
        Takes template points to T1w points, roughly; None matches the centres of mass.

    Notes
    -----
    Fixed image is the template. Deformable metric: normalised cross-correlation. Both fields hold the affine part too.
    """
    schedule = PRESETS[preset]
    template = _with_spacing(template_brain, max(schedule.spacing, 1.0))
    moving = _with_spacing(t1w_brain, schedule.spacing, only_finer=True)
    coarse, coarse_moving = _with_spacing(template_brain, 2.0), _with_spacing(t1w_brain, 2.0, only_finer=True)
    command = "-d 3 -i fixed_image moving_image -a -dof 12 -m NCC 2x2x2 -ia {start} -n 100x50 -o matrix"
    if start is None:
        start = np.eye(4)
        start[:3, 3] = t1w_brain.centre_of(t1w_brain.data > 0) - template_brain.centre_of(template_brain.data > 0)
    affine = _greedy(command, "matrix", start=start, fixed_image=coarse, moving_image=coarse_moving)["matrix"]
    warp, inverse = _deform(template, moving, affine, schedule)
    template_grid = bounding_grid(template_brain, FIELD_SPACING)
    t1w_grid = bounding_grid(t1w_brain, FIELD_SPACING)
    return TemplateTransforms(
        compose_field(template_grid, [warp, affine]),
        compose_field(t1w_grid, [np.linalg.inv(affine), inverse]),
        affine,
        folded_fraction(warp, template_brain),
    )


def folded_fraction(warp: PointField, brain: Volume) -> float:
    """Return the part of the non-zero voxels of ``brain`` where the deformation turns space inside out."""
    step = np.linalg.norm(warp.affine[:3, :3], axis=0)
    gradients = [np.stack([*np.gradient(warp.displacement[..., axis])], axis=-1) / step for axis in range(3)]
    jacobian = np.stack(gradients, axis=-2) + np.eye(3, dtype=np.float32)
    determinant = np.linalg.det(jacobian)
    stride = np.rint(np.array(brain.shape) / np.array(determinant.shape)).astype(int)
    inside = brain.data[:: max(stride[0], 1), :: max(stride[1], 1), :: max(stride[2], 1)] > 0
    if inside.shape != determinant.shape:
        inside = np.ones(determinant.shape, bool)
    return float((determinant[inside] < 0).mean())


def _deform(fixed, moving, affine: npt.NDArray, schedule: DeformablePreset) -> tuple[PointField, PointField]:
    """Return the deformation that follows an affine transform, and its inverse; both on the fixed grid."""
    first, second = schedule.smoothing
    radius = "x".join([str(schedule.radius)] * 3)
    command = (
        f"-d 3 -i fixed_image moving_image -it {{start}} -m NCC {radius} -n {schedule.iterations} "
        f"-s {first}vox {second}vox -o warp -oinv inverse"
    )
    found = _greedy(command, "warp", "inverse", start=affine, fixed_image=fixed, moving_image=moving)
    return _from_itk_field(found["warp"]), _from_itk_field(found["inverse"])


def _greedy(command: str, *outputs: str, start: npt.NDArray | None = None, **images) -> dict:
    """Run Greedy on images in memory, silently, on one thread (its affine metric sums over threads)."""
    from picsl_greedy import Greedy3D

    greedy, talk = Greedy3D(), io.StringIO()
    with tempfile.TemporaryDirectory(prefix="mbseg_") as folder:
        if start is not None:  # Greedy takes a matrix to start from only as a file
            path = Path(folder) / "start.mat"
            np.savetxt(path, start)
            command = command.format(start=path)
        try:
            with _native_output_discarded():
                greedy.execute(
                    f"{command} -seed 1 -threads 1 -V 0", out=talk, err=talk, **images, **dict.fromkeys(outputs)
                )
        except RuntimeError as error:
            raise RuntimeError(f"Greedy failed: {error}; {talk.getvalue()[-500:]}") from error
    return {name: greedy[name] for name in outputs}


@contextmanager
def _native_output_discarded() -> Iterator[None]:
    """Send what compiled code prints to nowhere: Greedy's optimiser reports on every ended line search, unasked."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _starts(fixed, moving, angle: float) -> list:
    import SimpleITK as sitk  # noqa: N813

    kinds = sitk.CenteredTransformInitializerFilter
    placed = [
        sitk.Euler3DTransform(sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), kind))
        for kind in (kinds.GEOMETRY, kinds.MOMENTS)
    ]
    as_it_is = sitk.Euler3DTransform()
    as_it_is.SetCenter(placed[0].GetCenter())
    starts = []
    for base in (*placed, as_it_is):
        turns = [(0.0, 0.0, 0.0)] + [
            tuple(s * angle * (a == axis) for a in range(3)) for axis in range(3) for s in (1, -1)
        ]
        for turn in turns:
            start = sitk.Euler3DTransform(base)
            start.SetRotation(*turn)
            starts.append(start)
    return starts


def _similarity(fixed, moving, start) -> float:
    """Return Mattes' mutual information of a start without optimising it (smaller is better)."""
    method = _method(2, 4.0)
    method.SetInitialTransform(start)
    try:
        return method.MetricEvaluate(fixed, moving)
    except RuntimeError:  # a start without overlap
        return float("inf")


def _optimise(fixed, moving, start, levels: tuple[tuple[int, float], ...], iterations: int):
    """Refine a rigid transform on Mattes' mutual information; return it and the metric (smaller is better)."""
    import SimpleITK as sitk  # noqa: N813

    method = _method(*levels[0])
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, iterations, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([level[0] for level in levels])
    method.SetSmoothingSigmasPerLevel([level[1] for level in levels])
    transform = sitk.Euler3DTransform(start)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return transform, float("inf")
    return transform, method.GetMetricValue()


def _method(shrink: int, smoothing: float):
    import SimpleITK as sitk  # noqa: N813

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.1, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([smoothing])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _to_itk(volume: Volume):
    """Return a SimpleITK image in the same place; a shear, which ITK cannot hold, is rounded off."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.ascontiguousarray(_plain(volume.data).T))
    affine = _LPS @ volume.affine
    image.SetSpacing(volume.spacing)
    image.SetDirection(_nearest_orthogonal(affine[:3, :3] / np.asarray(volume.spacing)).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _plain(data: npt.NDArray) -> npt.NDArray:
    if data.dtype == np.uint8:
        return data
    return np.nan_to_num(np.asarray(data, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _from_itk_field(image) -> PointField:
    """Read a displacement field of LPS vectors on an LPS grid."""
    import SimpleITK as sitk  # noqa: N813

    vectors = sitk.GetArrayFromImage(image).transpose(2, 1, 0, 3).astype(np.float32)
    vectors[..., :2] *= -1
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return PointField(vectors, _LPS @ affine)


def _with_spacing(volume: Volume, spacing: float, only_finer: bool = False):
    """Return the image as SimpleITK holds it, smoothed and resampled to about ``spacing`` mm where it is finer."""
    from mbseg_bids.imaging.transforms import resample

    if all(abs(s / spacing - 1) < 0.05 or (only_finer and s > spacing) for s in volume.spacing):
        return _to_itk(volume)
    target = [s if only_finer and s > spacing else spacing for s in volume.spacing]
    counts = [
        max(1, int(np.ceil(n * s / t - 1e-6))) for n, s, t in zip(volume.shape, volume.spacing, target, strict=True)
    ]
    affine = volume.affine.copy()
    scale = np.array(target) / np.array(volume.spacing)
    affine[:3, :3] = affine[:3, :3] * scale
    middle = volume.affine[:3, :3] @ ((np.array(volume.shape) - 1) / 2)
    affine[:3, 3] += middle - affine[:3, :3] @ ((np.array(counts) - 1) / 2)
    i, j, k = counts
    return _to_itk(resample(volume, Grid((i, j, k), affine)))


def _nearest_orthogonal(matrix: npt.NDArray) -> npt.NDArray:
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _nearest_rotation(matrix: npt.NDArray) -> npt.NDArray:
    rigid = np.array(matrix, np.float64)
    rigid[:3, :3] = _nearest_orthogonal(rigid[:3, :3])
    return rigid
