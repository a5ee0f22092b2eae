"""Quality from files: masks, what anatomy and detection recorded, a JSON and a table."""

import csv
import json

import numpy as np
import pytest

from mbseg_bids.imaging.labels import CEREBRAL_WM, CORTICAL_GM
from mbseg_bids.imaging.quality_ranges import training_ranges
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.files import write_volume
from mbseg_bids.interfaces.quality import MeasureQuality

SCAN = {"spacing": [1.0, 1.0, 3.0], "metadata": {"EchoTime": 0.02, "MagneticFieldStrength": 3}}


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Run the interface on a round head of known signal-to-noise ratio; return the JSON and the row of the table."""
    monkeypatch.chdir(tmp_path)

    shipped = training_ranges()["weights"]["sha256"]

    def run(noise=2.0, scan=SCAN, coverage=0.97, weights=shipped, tissue=True):
        i, j, _ = np.meshgrid(np.arange(60) - 30, np.arange(60) - 30, np.arange(8), indexing="ij")
        distance = np.hypot(i, j)
        image = np.select([distance < 20, distance < 26], [60.0, 66.0], 5.0).astype(np.float32)
        image += np.random.default_rng(1).normal(0, noise, image.shape).astype(np.float32)
        regions = np.select([distance < 20, distance < 26], [CEREBRAL_WM, CORTICAL_GM], 0).astype(np.uint8) * tissue
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        volumes = {"t2star": image, "brain": (distance < 26).astype(np.uint8), "regions": regions}
        files = {n: write_volume(tmp_path / f"{n}.nii.gz", Volume(data, affine)) for n, data in volumes.items()}
        search = {
            "exhaustive": False, "n_brain_voxels": 1000, "n_mask_voxels": 60, "n_searched_voxels": 10,
            "probability_histogram": [7, 1, 1, 0, 1],
        }  # fmt: skip
        said = {
            "anatomy": {"coverage": {"T2starw": coverage}} if coverage is not None else {},
            "detection": {"search": search, "weights": {"sha256": weights}} if weights else {"weights": "old"},
        }
        for name, content in said.items():
            files[name] = str(tmp_path / f"{name}.json")
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        found = MeasureQuality(**files, scan=scan, filename="anat/x.nii.gz").run().outputs
        with open(found.scans_tsv, newline="") as stream:
            (row,) = csv.DictReader(stream, delimiter="\t")
        with open(found.quality_json) as stream:
            return json.load(stream), row

    return run


def test_json_and_table_say_the_same(measure):
    quality, row = measure()
    values = {name: compared["value"] for name, compared in quality["measures"].items()}
    assert values["t2star_snr"] == pytest.approx(30, rel=0.1)
    assert (values["t2star_coverage"], values["dark_share"], values["probability_from_80"]) == (0.97, 0.06, 0.1)
    assert (values["t2star_echo_time"], values["t2star_slice_spacing"]) == (0.02, 3.0)
    assert row["filename"] == "anat/x.nii.gz"
    assert {name: float(row[name]) for name in values} == pytest.approx(values)


def test_a_noisy_scan_is_called_unreliable(measure):
    quality, row = measure(noise=20.0)
    assert quality["unreliable"] is True
    assert row["counts_unreliable"] == "true"
    (sentence,) = quality["warnings"]
    assert sentence.startswith("Counts unreliable because signal-to-noise ratio of white matter is 3")
    assert row["unreliable_because"] in sentence


def test_what_is_not_known_stops_nothing(measure):
    quality, row = measure(scan={}, coverage=None, weights=None, tissue=False)
    assert all(compared["value"] is None for compared in quality["measures"].values())
    assert (quality["unreliable"], quality["warnings"], row["counts_unreliable"]) == (None, [], "n/a")
    assert set(row.values()) == {"n/a", "anat/x.nii.gz"}
