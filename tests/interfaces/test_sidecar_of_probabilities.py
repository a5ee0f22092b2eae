import json

import nibabel as nib
import numpy as np

from mbseg_bids.interfaces.bids import WriteDerivative


def test_the_sidecar_names_what_computed_the_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.eye(4)), "in.nii.gz")
    computed = {"runtime": "openvino 1.2", "device": "cpu", "precision": "float32"}
    (tmp_path / "result.json").write_text(json.dumps({"search": {"n_mask_voxels": 1, **computed}}))
    common = {"in_file": str(tmp_path / "in.nii.gz"), "output_dir": str(tmp_path), "metadata": {"Description": "p"}}
    WriteDerivative(**common, path="a/with.nii.gz", computed=str(tmp_path / "result.json")).run()
    WriteDerivative(**common, path="a/without.nii.gz").run()
    expected = {"Description": "p", "Runtime": "openvino 1.2", "Device": "cpu", "Precision": "float32"}
    assert json.loads((tmp_path / "a" / "with.json").read_text()) == expected
    assert json.loads((tmp_path / "a" / "without.json").read_text()) == {"Description": "p"}
