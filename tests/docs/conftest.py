"""A folder with small things under the names that the pages use."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from derivative_trees import write_image, write_lesions, write_table
from labelled_tree import LabelledTree
from toy_head import make_toy_head

CONTRASTS = ("T1w", "T2w", "T2starw")
LESION, FALSE = (20, 20, 3), (30, 30, 3)


@pytest.fixture
def sandbox(tmp_path, make_dataset, rng, monkeypatch):
    """Return a folder to work in, made the current one."""
    from mbseg_bids.detection.network.resnet import build_network
    from mbseg_bids.detection.network.weights import WeightsMetadata, save_weights

    for name in ("BIDS", "BIDS_DIR"):
        make_dataset(*(f"sub-10/anat/sub-10_{c}.nii.gz" for c in CONTRASTS), root=tmp_path / name)
    _prepared_and_labelled(tmp_path, rng)
    _patches(tmp_path / "patches", rng)
    for name, results in (("TRUTH", False), ("RESULT", True), ("READER1", False), ("READER2", True)):
        _segmentation(tmp_path / name, results=results)
    for name in ("truth", "result"):
        (tmp_path / name).symlink_to(tmp_path / name.upper())
    (tmp_path / "DIR").mkdir()
    head = make_toy_head()
    nib.save(nib.Nifti1Image(head.data, head.affine), tmp_path / "DIR" / "head.nii.gz")
    for task, path in (("csf", "csf/csf"), ("microbleed", "mine/microbleed")):
        (tmp_path / path).parent.mkdir()
        metadata = WeightsMetadata(name=task, task=task, patch_size=28, input_size=32)
        save_weights(tmp_path / f"{path}.safetensors", build_network(seed=1), metadata)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _prepared_and_labelled(folder, rng) -> None:
    """Make OUT, the output of a run, and MASKS."""
    tree = LabelledTree(folder, rng)
    for number in range(1, 3):
        tree.add(f"0{number}", [np.s_[40:46, 40:46, 2:4]])
    tree.output.rename(folder / "OUT")
    tree.labels.rename(folder / "MASKS")
    description = {"Name": "prepared", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
    (folder / "OUT" / "dataset_description.json").write_text(json.dumps(description))


def _patches(folder, rng) -> None:
    """Make patches of both stages from ten participants."""
    from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet

    folder.mkdir()
    for stage, kinds in (("csf", ("csf", "tissue")), ("microbleed", ("lesion", "background"))):
        numbers = np.array([KINDS[kind] for kind in kinds], np.uint8)[np.arange(60) % 2]
        volumes = np.where(numbers == KINDS["lesion"], 9.0, 0.0).astype(np.float32)
        images = rng.integers(0, 255, (60, 3, 42, 42)).astype(np.uint8)
        PatchSet(images, numbers, np.arange(60, dtype=np.int32) // 6, volumes).save(folder / f"a_{stage}.npz")


def _segmentation(tree, *, results: bool) -> None:
    """Make a tree with one lesion; as results of a run, with a false one, images and candidates too."""
    shape, spacing = (40, 40, 6), (1.0, 1.0, 3.0)
    places = {1: [LESION], 2: [FALSE]} if results else {1: [LESION]}
    regions = dict.fromkeys(places, "cerebral_wm")
    write_lesions(tree, "sub-01", places, regions, shape=shape, spacing=spacing)
    images = {"seg-regions_dseg": np.full(shape, 3, np.uint8)}
    if results:
        probability, t2star = np.zeros(shape, np.float32), np.full(shape, 60, np.float32)
        for place in (LESION, FALSE):
            probability[place], t2star[place] = 0.9, 10
        images |= {
            "label-CMB_probseg": probability,
            "desc-preproc_T2starw": t2star,
            "desc-brain_mask": np.ones(shape, np.uint8),
        }
        candidates = write_lesions(
            tree, "sub-01", places, shape=shape, spacing=spacing, ending="seg-CMBcandidates_dseg"
        )
        rows = {"index": [1, 2], "name": ["CAND-001", "CAND-002"], "region": "cerebral_wm", "status": "kept"}
        scores = {"probability_mean": 0.9, "probability_max": 0.9, "lesion_probability": [0.9, 0.6]}
        write_table(candidates, pd.DataFrame(rows | scores | {"reason": "n/a", "certainty": "definite"}))
    for ending, data in images.items():
        write_image(tree, "sub-01", ending, data, spacing=spacing)
