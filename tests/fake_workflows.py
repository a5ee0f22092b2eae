"""Stand-ins for anatomy and detection: they take the same inputs and give the same outputs, in milliseconds.

The interfaces are found by name in worker processes, so they live in a module of their own.
"""

import ctypes
import json
import os
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, isdefined
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.transforms import PointField
from mbseg_bids.interfaces.files import write_field, write_matrix
from mbseg_bids.workflows import anatomy, detection

ROW = {
    "index": 1, "name": "CMB-001", "candidate_index": 1, "region": "deep_gm",
    "volume_mm3": 4.0, "n_voxels": 2, "diameter_mm": 1.97, "size_class": "small",
    "i": 2, "j": 3, "k": 1, "x_mm": 2.0, "y_mm": 3.0, "z_mm": 2.0, "n_slices": 1,
    "probability_mean": 0.9, "probability_max": 0.95, "contrast_ratio": 1.6, "ratio_threshold": 1.4, "flags": "n/a",
    "longest_diameter_mm": 2.0, "lesion_probability": 0.9, "certainty": "definite",
}  # fmt: skip
CANDIDATE_ROW = {name: value for name, value in ROW.items() if name != "candidate_index"} | {
    "status": "kept", "reason": "n/a", "lesion_index": "1",
}  # fmt: skip

RESULT = {
    "n_lesions": 1, "warnings": [], "durations": {},
    "search": {"runtime": "none", "device": "cpu", "precision": "float32"},
}  # fmt: skip


def _save_like(path, name, data, folder):
    reference = nib.load(path)
    header = reference.header.copy()
    header.set_data_dtype(data.dtype)
    out = Path(folder) / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(data, reference.affine, header), out)
    return str(out)


class _AnatomyInputs(BaseInterfaceInputSpec):
    t1w = File(exists=True)
    t2w = File(exists=True)
    t2star = File(exists=True, mandatory=True)
    aseg = File(exists=True)


def _outputs(name, files):
    return type(name, (TraitedSpec,), {"__module__": __name__} | {file: File(exists=True) for file in files})


_AnatomyOutputs = _outputs("_AnatomyOutputs", anatomy.OUTPUTS)
_DetectionOutputs = _outputs("_DetectionOutputs", detection.OUTPUTS)


class FakeAnatomy(SimpleInterface):
    """Fail on a T2* brighter than 1000 (as on bad data), 10,000 (as by a bug); be killed on one
    brighter than 100,000. On one brighter than 500 hold the interpreter for 5 s, as Greedy does for minutes."""

    input_spec = _AnatomyInputs
    output_spec = _AnatomyOutputs

    def _run_interface(self, runtime):
        data = np.asarray(nib.load(self.inputs.t2star).dataobj)
        if data.mean() > 100_000:
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does when memory runs out
        if data.mean() > 10_000:
            raise ZeroDivisionError("float division by zero")
        if data.mean() > 1_000:
            raise UnreadableDataError("the T2* image is too bright", "scan again")
        if data.mean() > 500:
            ctypes.PyDLL(None).sleep(5)
        files = {}
        for name in anatomy.OUTPUTS:
            if name.endswith("_to_t2star"):
                files[name] = write_matrix(Path(runtime.cwd) / f"{name}.txt", np.eye(4))
                continue
            if name == "template_to_anat":
                still = PointField(np.zeros((3, 3, 3, 3), np.float32), np.diag([50.0, 50.0, 50.0, 1.0]))
                files[name] = write_field(Path(runtime.cwd) / f"{name}.nii.gz", still)
                continue
            in_t1w = isdefined(self.inputs.t1w) and "t1w" in name and "det" not in name and "native" not in name
            source = self.inputs.t1w if in_t1w else self.inputs.t2star
            kind = np.uint8 if any(word in name for word in ("brain", "tissue", "regions", "places")) else np.float32
            image = nib.load(source)
            files[name] = _save_like(source, name, (np.asarray(image.dataobj) > 90).astype(kind), runtime.cwd)
        reuse = {"aseg": Path(self.inputs.aseg).name} if isdefined(self.inputs.aseg) else {}
        qc = {"registration": {}, "warnings": ["a warning of anatomy"], "reuse": reuse, "durations": {"all": 0.1},
              "work": runtime.cwd}  # fmt: skip
        files["qc_json"] = str(Path(runtime.cwd) / "qc.json")
        Path(files["qc_json"]).write_text(json.dumps(qc))
        self._results.update(files)
        return runtime


class _DetectionInputs(BaseInterfaceInputSpec):
    t2star = File(exists=True, mandatory=True)
    t2star_det = File(exists=True, mandatory=True)


class FakeDetection(SimpleInterface):
    """Find one lesion of two voxels."""

    input_spec = _DetectionInputs
    output_spec = _DetectionOutputs

    def _run_interface(self, runtime):
        shape = nib.load(self.inputs.t2star).shape[:3]
        lesion = np.zeros(shape, np.uint8)
        lesion[2, 3, 1:3] = 1
        kinds = {name: np.float32 if "prob" in name else np.uint8 for name in detection.OUTPUTS}
        files = {n: _save_like(self.inputs.t2star, n, lesion.astype(kind), runtime.cwd) for n, kind in kinds.items()}
        for name, row in (("cmb_dseg_tsv", ROW), ("candidates_tsv", CANDIDATE_ROW)):
            files[name] = str(Path(runtime.cwd) / f"{name}.tsv")
            Path(files[name]).write_text("\t".join(row) + "\n" + "\t".join(map(str, row.values())) + "\n")
        files["result_json"] = str(Path(runtime.cwd) / "result.json")
        Path(files["result_json"]).write_text(json.dumps(RESULT))
        self._results.update(files)
        return runtime


def _workflow(name, interface, inputs, outputs):
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(fields=inputs), name="inputnode")
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    work = Node(interface, name="work")
    used = [field for field in inputs if field in interface.inputs.copyable_trait_names()]
    workflow.connect(
        [
            (inputnode, work, [(field, field) for field in used]),
            (work, outputnode, [(field, field) for field in outputs]),
        ]
    )
    return workflow


def init_anatomy_wf(*, name, settings, omp_nthreads, contrasts, **_):
    """Take the inputs of these contrasts only and give their outputs only, as the real one does."""
    keys = [anatomy.KEYS[contrast] for contrast in contrasts]
    return _workflow(name, FakeAnatomy(), [*keys, *anatomy.INPUTS[3:]], anatomy.outputs_with(contrasts))


def init_detection_wf(*, name, settings, phase=None):
    assert phase is None, "the stand-in knows no phase"
    return _workflow(name, FakeDetection(), list(detection.INPUTS), detection.OUTPUTS)


def init_lesions_in_space_wf(*, name, space):
    """Pass the lesions on as they are."""
    workflow = Workflow(name=name)
    fields = ["labels", *(["anat_to_t2star", "anat_to_template"] if space == "template" else ["t1w", "t1w_to_t2star"])]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["cmb_dseg", "cmb_mask"]), name="outputnode")
    workflow.connect([(inputnode, outputnode, [("labels", "cmb_dseg"), ("labels", "cmb_mask")])])
    return workflow
