"""A small scan of known content as an output folder, and a network that calls dark what is dark."""

import json

import numpy as np
import pytest
from planting_phantom import make_phantom, write_session

from mbseg_bids.planting import detect


@pytest.fixture
def phantom():
    """A scan whose content is known."""
    return make_phantom()


@pytest.fixture
def output_dir(tmp_path, phantom):
    """An output folder with two finished participants."""
    root = tmp_path / "out"
    for label in ("01", "02"):
        write_session(root, label, phantom)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    (root / ".bidsignore").write_text("figures\n*.html\nphenotype\n")
    return root


@pytest.fixture
def stand_in(monkeypatch):
    """Put in place a network that gives 0.9 to every voxel that it is asked about and is darker than 40, else 0.1."""

    def classifier(model, metadata, stack, **options):
        return lambda voxels: np.where(stack[0][tuple(np.asarray(voxels).T)] < 40, 0.9, 0.1).astype(np.float32)

    monkeypatch.setattr(detect, "classifier", classifier)
    monkeypatch.setattr(detect, "load_weights", lambda *args, **options: (None, None))
