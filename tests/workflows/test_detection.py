"""The detection workflow from files to files, with an untrained network on a small phantom."""

import itertools
import json
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.data.columns import describe_columns
from mbseg_bids.detection.rules.criteria import Criteria
from mbseg_bids.imaging.grids import detection_grid, to_detection_grid
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.detection import ClassifyCandidates, WriteLesions, on_grid_of
from mbseg_bids.settings import Settings
from mbseg_bids.workflows.detection import OUTPUTS, init_detection_wf

SPOTS = {"first": np.s_[14:16, 22:24, 3], "second": np.s_[26:29, 12:14, 6:8]}


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """A T2* scan stored right to left, posterior, oblique, with differing sform and qform codes and an extension."""
    rng = np.random.default_rng(1)
    i, j = np.indices((40, 44)) - np.array([20, 22])[:, None, None]
    brain = np.repeat((np.hypot(i, j) < 17)[:, :, None], 10, axis=2)
    t2star = np.where(brain, 60 + rng.normal(0, 0.5, brain.shape), 0)
    for spot in SPOTS.values():
        t2star[spot] = 20.0
    c, s = np.cos(0.2), np.sin(0.2)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.98, 1.01, 3.0])
    affine[:3, 3] = [17.3, -21.9, -14.1]
    image = nib.Nifti1Image(t2star.astype(np.int16), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 2)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"John Doe"))
    image.header["cal_max"] = 800
    path = tmp_path_factory.mktemp("native") / "native.nii.gz"
    nib.save(image, path)
    return path, t2star.astype(np.float32), brain


@pytest.fixture(scope="module")
def inputs(native):
    """What the anatomy workflow hands over."""
    path, t2star, brain = native
    affine = nib.load(path).affine
    grid = detection_grid(t2star.shape, affine)

    def on_detection_grid(data, name, order):
        volume = to_detection_grid(Volume(data, affine), grid, order=order)
        nib.save(nib.Nifti1Image(volume.data, volume.affine), path.with_name(f"{name}.nii.gz"))
        return str(path.with_name(f"{name}.nii.gz"))

    contrasts = {f"{name}_det": on_detection_grid(t2star, name, 1) for name in ("t2star", "t2w", "t1w")}
    labels = {"brain": brain.astype(np.uint8), "tissue": brain * np.uint8(3), "regions": brain * np.uint8(3)}
    masks = {f"{name}_det": on_detection_grid(data, name, 0) for name, data in labels.items()}
    return contrasts | masks | {"t2star": str(path)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from mbseg_bids.detection.network.resnet import build_network
    from mbseg_bids.detection.network.weights import WeightsMetadata, save_weights

    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_weights(path, build_network(2, seed=3), WeightsMetadata(name="untrained", input_size=32))
    return str(path)


def run(inputs, weights, folder, n_threads=1):
    # The untrained network says about a half everywhere: these thresholds make a lesion of whatever is dark enough.
    settings = Settings().override(
        detection={"weights": weights, "probability_threshold": 1e-6, "second_look_threshold": 1e-6},
        execution={"device": "cpu", "omp_nthreads": n_threads, "batch_size": 16},
    )
    workflow = init_detection_wf(settings=settings)
    workflow.base_dir = str(folder)
    workflow.config["execution"]["crashdump_dir"] = str(folder)
    workflow.inputs.inputnode.trait_set(**inputs)
    graph = workflow.run()
    node = next(node for node in graph.nodes() if node.name == "write_lesions")
    return {name: Path(getattr(node.result.outputs, name)) for name in OUTPUTS}


@pytest.fixture(scope="module")
def results(inputs, weights, tmp_path_factory):
    return run(inputs, weights, tmp_path_factory.mktemp("work"))


def test_finds_the_spots_and_writes_them_where_they_are(results, inputs, native):
    _, t2star, _ = native
    spots = t2star == 20.0
    dseg = np.asanyarray(nib.load(results["cmb_dseg"]).dataobj)
    mask = np.asanyarray(nib.load(results["cmb_mask"]).dataobj)
    np.testing.assert_array_equal(mask > 0, spots)
    np.testing.assert_array_equal(dseg > 0, spots)
    table = pd.read_csv(results["cmb_dseg_tsv"], sep="\t", keep_default_na=False)
    assert list(table.columns) == list(describe_columns("lesions"))
    assert table["n_voxels"].tolist() == [4, 12]
    assert table["n_slices"].tolist() == [1, 2]
    for label, spot in enumerate(SPOTS.values(), start=1):
        assert (dseg[spot] == label).all()
        centre = np.argwhere(dseg == label).mean(axis=0)
        place = nib.affines.apply_affine(nib.load(inputs["t2star"]).affine, centre)
        np.testing.assert_allclose(table.loc[label - 1, ["x_mm", "y_mm", "z_mm"]].astype(float), place, atol=0.006)
    candidates = pd.read_csv(results["candidates_tsv"], sep="\t", keep_default_na=False)
    assert list(candidates.columns) == list(describe_columns("candidates"))
    assert set(candidates["status"]) <= {"kept", "rejected"}
    result = json.loads(results["result_json"].read_text())
    assert result["n_lesions"] == 2
    assert result["weights"]["input_size"] == 32
    assert result["search"]["n_searched_voxels"] >= 16
    probability = nib.load(results["cmb_probseg"]).get_fdata()
    assert 0 < probability[spots].min() <= probability.max() <= 1


def test_geometry_of_every_image_is_that_of_the_input_to_the_bit(results, inputs):
    reference = nib.load(inputs["t2star"])
    geometry = ["pixdim", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"]
    geometry += ["quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"]
    for name in ("cmb_mask", "cmb_probseg", "cmb_dseg", "candidates_dseg"):
        image = nib.load(results[name])
        assert image.affine.tobytes() == reference.affine.tobytes()
        for field in geometry:
            assert image.header[field].tobytes() == reference.header[field].tobytes(), field
        assert image.header["cal_max"] == 0
        assert not image.header.extensions


def test_same_bytes_on_one_thread_and_on_two(results, inputs, weights, tmp_path):
    two = run(inputs, weights, tmp_path, n_threads=2)
    for name in set(OUTPUTS) - {"result_json"}:  # which holds seconds
        assert results[name].read_bytes() == two[name].read_bytes(), name


def test_empty_brain_mask_is_an_error_with_its_name(inputs, weights, tmp_path):
    image = nib.load(inputs["brain_det"])
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), tmp_path / "empty.nii.gz")
    with pytest.raises(Exception, match="brain mask is empty"):
        run(inputs | {"brain_det": str(tmp_path / "empty.nii.gz")}, weights, tmp_path / "work")


def test_fine_native_grid_gets_every_lesion(tmp_path, monkeypatch):
    """0.5 mm in plane: 4 native voxels for one of the detection grid; sizes are those of the native mask."""
    affine = np.diag([0.5, 0.5, 2.5, 1.0])
    shape = (60, 60, 8)
    nib.save(nib.Nifti1Image(np.ones((*shape, 1), np.float32), affine), tmp_path / "native.nii.gz")
    grid = detection_grid(shape, affine)
    labels = np.zeros(grid.shape, np.int32)
    labels[10, 10, 3], labels[12, 10, 3], labels[20:22, 5, 2:4] = 1, 2, 3
    for name in ("candidates", "survivors"):
        nib.save(nib.Nifti1Image(labels, grid.affine), tmp_path / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image((labels > 0).astype(np.float32), grid.affine), tmp_path / "probability.nii.gz")
    one = {"region": "deep_gm", "probability_mean": 0.9, "probability_max": 0.9, "flags": []}
    one["criteria"] = asdict(Criteria())
    one |= {"contrast_ratio": 2.0, "ratio_threshold": 1.4}
    evidence = {str(label): one | {"candidate": label} for label in (1, 2, 3)}
    content = {"candidates": evidence, "survivors": evidence, "criteria": None}
    (tmp_path / "evidence.json").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    settings = Settings().as_dict()["detection"]
    search = {"n_brain_voxels": 9, "n_searched_voxels": 6, "n_positive_voxels": 6, "highest_probability": 0.9}
    search |= {"n_mask_voxels": 6, "exhaustive": True, "weights": {"patch_size": 28}, "duration_s": 0.0}
    files = {name: str(tmp_path / f"{name}.nii.gz") for name in ("probability", "candidates", "survivors")}
    result = WriteLesions(
        t2star=str(tmp_path / "native.nii.gz"),
        evidence=str(tmp_path / "evidence.json"),
        search=search,
        settings=settings,
        **files,
    ).run()
    dseg = nib.load(result.outputs.cmb_dseg)
    assert dseg.shape == shape
    table = pd.read_csv(result.outputs.cmb_dseg_tsv, sep="\t")
    counts = np.bincount(np.asanyarray(dseg.dataobj).ravel())[1:]
    assert table["n_voxels"].tolist() == counts.tolist() == [16, 4, 4]
    assert table["volume_mm3"].tolist() == [10.0, 2.5, 2.5]
    assert json.loads(Path(result.outputs.result_json).read_text())["n_lesions"] == 3


def test_a_seed_in_doubt_is_followed_unless_the_settings_forbid_it(inputs, weights, tmp_path, monkeypatch):
    """The network gives the seeds 0.25 and what lies around them 0.9."""
    images = {name.removesuffix("_det"): path for name, path in inputs.items() if name.endswith("_det")}
    images.pop("regions")
    monkeypatch.chdir(tmp_path)
    t2star = nib.load(images["t2star"])
    intensity = t2star.get_fdata()
    intensity[tuple(np.argwhere(np.isclose(intensity, 20))[0])] = 10  # of its spot, the one seed
    images["t2star"] = str(tmp_path / "t2star.nii.gz")
    nib.save(nib.Nifti1Image(intensity.astype(np.float32), t2star.affine), images["t2star"])
    highest = []
    for settings in ({}, {"follow_threshold": 0.28}):
        answers = itertools.chain([0.25], itertools.repeat(0.9))
        monkeypatch.setattr(
            "mbseg_bids.detection.network.classify.Classifier.__call__",
            lambda _, voxels, answers=answers: np.full(len(voxels), next(answers), np.float32),
        )
        result = ClassifyCandidates(**images, device="cpu", settings={"weights": weights, **settings}).run()
        highest.append(result.outputs.search["highest_probability"])
    assert highest == [0.9, 0.25]
    assert result.outputs.search["device"] == "cpu"
    assert result.outputs.search["runtime"].split()[0] in ("openvino", "pytorch")
    assert result.outputs.search["precision"].endswith("float32")


def test_header_of_the_reference_without_its_intensities():
    reference = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.diag([1, 2, 3, 1.0]))
    reference.header.set_slope_inter(2.0, 7.0)
    reference.header.set_intent("t test", (4,))
    image = on_grid_of(reference, np.full((3, 4, 5), 6, np.uint8))
    image = nib.Nifti1Image.from_bytes(image.to_bytes())
    assert np.asanyarray(image.dataobj).dtype == np.uint8
    assert (image.get_fdata() == 6).all()
    assert image.header.get_intent()[0] == "none"


def test_other_weights_under_the_same_name_are_not_taken_from_the_cache(tmp_path):
    path = tmp_path / "weights.safetensors"
    states = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        workflow = init_detection_wf(settings=Settings().override(detection={"weights": str(path)}))
        states.append(workflow.get_node("classify").inputs.weights_state)
    assert states[0] != states[1]


def test_another_second_look_is_not_taken_from_the_cache(tmp_path, monkeypatch):
    path = tmp_path / "second-look.json"
    monkeypatch.setattr("mbseg_bids.workflows.detection.CANDIDATE_CLASSIFIER", path)
    states = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        states.append(init_detection_wf(settings=Settings()).get_node("find_lesions").inputs.model_state)
    assert states[0] != states[1]


def test_a_contrast_that_is_not_there_is_a_channel_of_zeros(inputs, results, weights, tmp_path):
    others = ("t2w_det", "t1w_det")
    without = run({name: path for name, path in inputs.items() if name not in others}, weights, tmp_path / "a")
    t2star = nib.load(inputs["t2star_det"])
    empty = tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(t2star.shape, np.float32), t2star.affine), empty)
    zeros = run(inputs | dict.fromkeys(others, str(empty)), weights, tmp_path / "b")
    found, expected, whole = (
        np.asanyarray(nib.load(outputs["cmb_probseg"]).dataobj) for outputs in (without, zeros, results)
    )
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, whole)
