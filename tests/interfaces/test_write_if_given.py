"""A file that not every session turns out to have: written where it is, missed by nothing where it is not."""

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.utility import Function, Merge
from nipype.pipeline import Node, Workflow

from mbseg_bids.interfaces.bids import WriteDerivative, WriteIfGiven


def maybe(path, there):
    """Give the path, or nothing."""
    from nipype.interfaces.base import Undefined

    return path if there else Undefined


@pytest.mark.parametrize("there", [True, False])
def test_it_is_written_where_it_is(tmp_path, there):
    source, out = tmp_path / "in.nii.gz", tmp_path / "out"
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.float32), np.eye(4)), source)
    workflow = Workflow(name="wf", base_dir=str(tmp_path))
    function = Function(function=maybe, input_names=["path", "there"], output_names=["path"])
    give = Node(function, name="give")
    give.inputs.path, give.inputs.there = str(source), there
    common = {"output_dir": str(out), "metadata": {"Units": "rad"}}
    always = Node(WriteDerivative(in_file=str(source), path="always.nii.gz", **common), name="always")
    sometimes = Node(WriteIfGiven(path="sometimes.nii.gz", **common), name="sometimes")
    written = Node(Merge(2), name="written")
    workflow.connect(
        [
            (give, sometimes, [("path", "in_file")]),
            (always, written, [("out_file", "in1")]),
            (sometimes, written, [("out_file", "in2")]),
        ]
    )
    graph = workflow.run()
    (node,) = (node for node in graph.nodes() if node.name == "written")
    expected = ["always", "sometimes"] if there else ["always"]
    assert node.result.outputs.out == [str(out / f"{name}.nii.gz") for name in expected]
    files = sorted(f"{name}.{end}" for name in expected for end in ("json", "nii.gz"))
    assert sorted(path.name for path in out.iterdir()) == files
