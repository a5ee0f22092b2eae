"""Sheets from files: places on the grid of the anatomical image, lesions on that of T2*."""

import numpy as np
import pandas as pd
import pytest
from place_phantom import SHAPE, SPACING, place_phantom

from mbseg_bids.imaging.rating_places import places_from_atlas
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.files import read_volume, write_matrix, write_volume
from mbseg_bids.interfaces.sheets import RateLesions

COLUMNS = "index name status reason longest_diameter_mm lesion_probability certainty"


@pytest.mark.parametrize("moved", [False, True])
def test_places_come_to_the_lesions(tmp_path, monkeypatch, moved):
    monkeypatch.chdir(tmp_path)
    phantom = place_phantom()
    places = places_from_atlas(phantom.atlas, phantom.regions, phantom.ventricles, SPACING)
    anatomical, native = np.diag([*SPACING, 1.0]), np.diag([*SPACING, 1.0])
    shift = np.eye(4)
    if moved:
        shift[:3, 3] = 10.0, -6.0, 4.0
        native[:3, 3] = 10.0, -6.0, 4.0  # the same grid over the same head, which has moved
    lesions = np.zeros(SHAPE, np.uint8)
    lesions[3, 3, 18], lesions[35, 17, 2], lesions[19, 25, 8] = 1, 2, 3
    table = pd.DataFrame(
        [[n, f"CMB-{n:03d}", "kept", "n/a", 3.0, 0.9, "definite"] for n in (1, 2, 3)], columns=COLUMNS.split()
    )
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    files = {
        "places": write_volume(tmp_path / "places.nii.gz", Volume(places, anatomical)),
        "regions": write_volume(tmp_path / "regions.nii.gz", Volume(phantom.regions, native)),
        "cmb_dseg": write_volume(tmp_path / "lesions.nii.gz", Volume(lesions, native)),
        "cmb_dseg_tsv": str(tmp_path / "t.tsv"),
    }
    files |= {"candidates_dseg": files["cmb_dseg"], "candidates_tsv": files["cmb_dseg_tsv"]}
    if moved:
        files["anat_to_t2star"] = write_matrix(tmp_path / "m.txt", shift)
    found = RateLesions(**files).run().outputs
    image = read_volume(found.mars_dseg)
    np.testing.assert_array_equal(image.affine, native)
    np.testing.assert_array_equal(image.data, places)
    sheet = pd.read_csv(found.mars_tsv, sep="\t", keep_default_na=False)
    here = sheet[sheet["total"] > 0].set_index("name")["lesions"].to_dict()
    assert here == {
        "left_frontal": "CMB-001",
        "right_thalamus": "CMB-002",
        "midline_corpus_callosum": "CMB-003",
    }
    assert pd.read_csv(found.bombs_tsv, sep="\t")["total"].sum() == 3
