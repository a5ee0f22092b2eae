"""What the package carries: template, region atlas, brain networks."""

import json
from importlib import resources

import numpy as np
import pytest

from mbseg_bids.errors import UsageError
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.regions import FREESURFER_CSF, FREESURFER_REGIONS
from mbseg_bids.imaging.template import load_region_atlas, load_template, region_atlas_provenance


def test_atlas_lies_on_the_template():
    atlas, brain = load_region_atlas(), load_template().brain
    assert atlas.shape == brain.shape
    np.testing.assert_array_equal(atlas.affine, brain.affine)
    named = np.isin(atlas.data, [*FREESURFER_REGIONS, *FREESURFER_CSF])
    assert named[brain.data > 0].mean() > 0.98


def test_atlas_has_all_regions_on_both_sides():
    atlas = load_region_atlas()
    present = np.unique(atlas.data)
    assert {FREESURFER_REGIONS[n] for n in present.tolist() if n in FREESURFER_REGIONS} == set(REGIONS)
    for left, right in ((2, 41), (3, 42), (10, 49), (11, 50), (12, 51), (13, 52), (7, 46), (8, 47)):
        sizes = [np.count_nonzero(atlas.data == n) for n in (left, right)]
        assert 0.85 < sizes[0] / sizes[1] < 1.18
        x = [atlas.affine[0] @ [*np.argwhere(atlas.data == n).mean(axis=0), 1] for n in (left, right)]
        assert x[0] < 0 < x[1]


def test_atlas_says_where_it_is_from():
    record = region_atlas_provenance()
    assert record["License"] == "Apache-2.0"
    assert min(entry["mean"] for entry in record["LeaveOneOutDice"].values()) > 0.65


def test_unknown_template_is_an_error():
    with pytest.raises(UsageError, match="unknown template"):
        load_template("Talairach")


def test_weights_are_those_of_the_record():
    import hashlib

    folder = resources.files("mbseg_bids.data").joinpath("brain")
    record = json.loads(folder.joinpath("provenance.json").read_text(encoding="utf-8"))
    for name, digest in record["SHA256"].items():
        assert hashlib.sha256(folder.joinpath(f"{name}.safetensors").read_bytes()).hexdigest() == digest
    assert min(record["DiceWithOriginal"].values()) >= 0.999
