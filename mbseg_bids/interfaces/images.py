"""nipype adapters around small operations on images."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, InputMultiObject, SimpleInterface, TraitedSpec

from mbseg_bids.errors import UnreadableDataError


class _MeanOfEchoesInputSpec(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="one image, or the echoes to average")


class _MeanOfEchoesOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="three-dimensional image on the grid of the first")


class MeanOfEchoes(SimpleInterface):
    """Average echoes, and drop trailing axes of length one. A single three-dimensional image passes untouched."""

    input_spec = _MeanOfEchoesInputSpec
    output_spec = _MeanOfEchoesOutputSpec

    def _run_interface(self, runtime):
        paths = [Path(p) for p in self.inputs.in_files]
        images = [nib.load(path) for path in paths]
        if len(images) == 1 and images[0].ndim == 3:
            self._results["out_file"] = str(paths[0])
            return runtime
        first = images[0]
        shape = first.shape[:3]
        total = np.zeros(shape, dtype=np.float64)
        for path, image in zip(paths, images, strict=True):
            if image.shape[:3] != shape or not np.allclose(image.affine, first.affine, atol=1e-3):
                raise UnreadableDataError(f"{path.name} lies on another grid than {paths[0].name}", "take one echo")
            total += np.asarray(image.dataobj, dtype=np.float64).reshape(shape)
        header = first.header.copy()
        header.set_data_shape(shape)
        header.set_data_dtype(np.float32)
        header.set_slope_inter(1, 0)
        mean = nib.Nifti1Image((total / len(images)).astype(np.float32), None, header)
        out_file = Path(runtime.cwd) / (paths[0].name.split(".")[0] + "_mean.nii.gz")
        nib.save(mean, out_file)
        self._results["out_file"] = str(out_file)
        return runtime


class _MaskOfLabelsInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="integer labels")


class _MaskOfLabelsOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="1 where there is any label, else 0; same grid")


class MaskOfLabels(SimpleInterface):
    """Make a mask of all labels."""

    input_spec = _MaskOfLabelsInputSpec
    output_spec = _MaskOfLabelsOutputSpec

    def _run_interface(self, runtime):
        labels = nib.load(self.inputs.in_file)
        header = labels.header.copy()
        header.set_data_dtype(np.uint8)
        mask = nib.Nifti1Image((np.asarray(labels.dataobj) > 0).astype(np.uint8), labels.affine, header)
        out_file = Path(runtime.cwd) / "mask.nii.gz"
        nib.save(mask, out_file)
        self._results["out_file"] = str(out_file)
        return runtime
