"""Whole scans of the second simulator, from a small head of shells."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from benchmarks.worlds import __main__ as command
from benchmarks.worlds import dataset, scan
from benchmarks.worlds.grids import Box
from benchmarks.worlds.heads import CSF, Anatomy, build_skull, deform, load_freesurfer, load_icbm, load_labelmap


@pytest.fixture(scope="module")
def small_head():
    """A brain of 44 x 52 x 40 mm: two hemispheres of shells, nuclei at the places that landmarks need."""
    box = Box((100, 104, 96), 1.0)
    x, y, z = np.meshgrid(*(box.axis(i) for i in range(3)), indexing="ij")
    radius = np.sqrt((x / 22) ** 2 + (y / 26) ** 2 + (z / 20) ** 2)
    labels = np.select([radius < 0.75, radius < 1], [np.where(x < 0, 2, 41), np.where(x < 0, 3, 42)], 0)
    labels[(np.abs(x) < 1) & (radius > 0.5) & (radius < 1)] = CSF
    places = {10: (-4, -6, 2), 49: (4, -6, 2), 11: (-5, 3, 3), 50: (5, 3, 3), 12: (-9, 1, 0), 51: (9, 1, 0),
              17: (-9, -8, -5), 53: (9, -8, -5), 8: (-9, -18, -10), 47: (9, -18, -10)}  # fmt: skip
    for label, (a, b, c) in places.items():
        labels[(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < 9] = label
    labels[(np.abs(np.abs(x) - 3) < 1) & (np.abs(y + 1) < 8) & (np.abs(z - 6) < 2)] = 4
    affine = np.eye(4)
    affine[:3, 3] = -box.middle
    return Anatomy("small", build_skull(labels.astype(np.int16)), affine)


@pytest.fixture(scope="module")
def small_scan(small_head):
    return scan.simulate(small_head, np.random.SeedSequence(5), 4, thick=False)


def test_a_scan_has_its_truth_on_the_t2star_grid(small_scan):
    assert small_scan.truth.data.shape == small_scan.t2star.data.shape
    np.testing.assert_array_equal(small_scan.truth.affine, small_scan.t2star.affine)
    assert set(np.unique(small_scan.truth.data)) == set(range(len(small_scan.lesions) + 1))
    assert len(small_scan.lesions) + len(small_scan.hidden) > 0


def test_true_voxels_are_darker_than_the_tissue_around_them(small_scan):
    image, truth = small_scan.t2star.data, small_scan.truth.data
    tissue = np.median(image[image > np.percentile(image, 80)])
    assert small_scan.lesions
    for number in range(1, len(small_scan.lesions) + 1):
        assert image[truth == number].min() < 0.75 * tissue


def test_truth_lies_at_the_place_of_the_lesion(small_scan):
    for number, lesion in enumerate(small_scan.lesions, start=1):
        voxels = np.argwhere(small_scan.truth.data == number).mean(axis=0)
        seen = (small_scan.truth.affine @ [*voxels, 1.0])[:3]
        planted = (small_scan.to_world @ [*lesion.centre, 1.0])[:3]
        assert np.linalg.norm(seen - planted) < 1.5 + small_scan.protocol.t2star.thickness / 2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_scan(small_head, small_scan):
    again = scan.simulate(small_head, np.random.SeedSequence(5), 4, thick=False)
    for name in ("t1w", "t2w", "t2star", "truth"):
        np.testing.assert_array_equal(getattr(again, name).data, getattr(small_scan, name).data)
        np.testing.assert_array_equal(getattr(again, name).affine, getattr(small_scan, name).affine)


def test_without_strength_a_head_is_not_deformed(small_head, rng):
    box = Box((60, 64, 56), 1.0)
    labels = deform(small_head, box, np.eye(3), rng, strength=0.0)
    assert np.bincount((labels == 12).ravel())[1] == np.bincount((small_head.labels == 12).ravel())[1]
    assert (deform(small_head, box, np.eye(3), rng) != labels).any()


def test_dataset_and_truth_are_read_by_evaluate(small_scan, tmp_path):
    from mbseg_bids.evaluation.trees import score_trees

    dataset.write_descriptions(tmp_path)
    dataset.write_scan(tmp_path, "world01", small_scan)
    truth = tmp_path / dataset.TRUTH
    scores = score_trees(truth, truth).pooled()
    regions = scores.query("match == 'overlap' and scans == 'all' and spacing == 'all' and size == 'any'")
    row = regions.query("region == 'all'")
    assert row["n_truth"].item() == len(small_scan.lesions) == row["n_detected"].item()
    assert regions.query("region == 'unassigned'")["n_truth"].sum() == 0
    image = nib.load(tmp_path / "sub-world01" / "anat" / "sub-world01_T2starw.nii.gz")
    metadata = json.loads((tmp_path / "sub-world01" / "anat" / "sub-world01_T2starw.json").read_text())
    assert metadata["EchoTime"] == pytest.approx(small_scan.protocol.echo_time, abs=1e-5)
    assert metadata["SpacingBetweenSlices"] == pytest.approx(max(image.header.get_zooms()), abs=1e-3)


def test_plans_are_balanced_and_a_locked_set_shares_no_seed():
    plans = dataset.plan_scans(12, 1, 5)
    assert sum(p.n_lesions > 0 for p in plans) == 6
    assert sum(p.thick for p in plans) == 4
    assert sum(p.thick and p.n_lesions > 0 for p in plans) == 2
    assert all(5 <= p.n_lesions <= 25 for p in plans if p.n_lesions)
    assert len({p.head for p in plans}) == 5
    keys = {tuple(p.seed.generate_state(4)) for p in plans}
    locked = {tuple(p.seed.generate_state(4)) for p in dataset.plan_scans(12, 1, 5, locked=True)}
    assert len(keys) == 12
    assert not keys & locked
    assert [p.seed.entropy for p in plans] == [p.seed.entropy for p in dataset.plan_scans(12, 1, 5)]


def test_what_is_there_is_left_and_checksums_name_every_file(small_head, small_scan, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(dataset, "simulate", lambda *_: calls.append(1) or small_scan)
    plans = dataset.plan_scans(2, 1, 1)
    dataset.write_dataset(tmp_path, [lambda: small_head], plans)
    dataset.write_dataset(tmp_path, [lambda: small_head], plans)
    assert len(calls) == 2
    lines = dataset.write_checksums(tmp_path).read_text().splitlines()
    assert len(lines) == len([p for p in tmp_path.rglob("*") if p.is_file()]) - 1


@pytest.mark.parametrize("wrong", [["--scans", "0"], ["--freesurfer", "/nowhere"], ["--seed", "-1"]])
def test_wrong_arguments_are_named(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([str(tmp_path / "out"), "--freesurfer", str(tmp_path), "--labelmaps", str(tmp_path), *wrong])
    assert stop.value.code == 2
    assert wrong[0] in capsys.readouterr().err or wrong[1] in capsys.readouterr().err


def test_a_locked_set_is_not_written_over(tmp_path, capsys):
    (tmp_path / "checksums.sha256").write_text("")
    with pytest.raises(SystemExit):
        command.main([str(tmp_path), "--freesurfer", str(tmp_path), "--labelmaps", str(tmp_path), "--locked"])
    assert "another folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["freesurfer", "labelmap", "icbm"])
def test_heads_of_all_sources_have_what_the_simulator_needs(name, shared_data):
    wanted = {
        "freesurfer": shared_data / "freesurfer/subjA/mri",
        "labelmap": shared_data / "labelmaps/labelmap_13.nii.gz",
        "icbm": shared_data / "atlases/ICBM2009_CerebrA.nii.gz",
    }[name]
    if not wanted.exists():
        pytest.skip(f"{wanted} is not there")
    loader = {"freesurfer": load_freesurfer, "labelmap": load_labelmap, "icbm": load_icbm}[name]
    head = loader(wanted)
    present = set(np.unique(head.labels))
    assert {2, 3, 41, 42, 10, 49, 12, 51, 13, 52, 8, 47, 7, 46, 16, 4, 43, 24, 515, 511, 0} <= present
    left = np.argwhere(head.labels == 2).mean(axis=0)
    right = np.argwhere(head.labels == 41).mean(axis=0)
    assert left[0] < right[0]
    assert replace(head, name="x").labels is head.labels
