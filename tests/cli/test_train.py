import nibabel as nib
import numpy as np
import pytest

from mbseg_bids.cli import workbench
from mbseg_bids.detection.network.weights import WeightsMetadata, load_weights, save_weights, try_weights
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet


def patch_set(rng, kinds, participants=10, width=42):
    n = 6 * participants
    of_kind = np.array([KINDS[k] for k in kinds], np.uint8)[np.arange(n) % len(kinds)]
    volumes = np.where(of_kind == KINDS["lesion"], 9.0, 0.0).astype(np.float32)
    images = rng.integers(0, 255, (n, 3, width, width)).astype(np.uint8)
    return PatchSet(images, of_kind, np.arange(n, dtype=np.int32) // 6, volumes)


@pytest.fixture
def folder(tmp_path, rng):
    """Patch sets of each stage from ten participants."""
    patch_set(rng, ("csf", "tissue")).save(tmp_path / "a_csf.npz")
    patch_set(rng, ("lesion", "background", "candidate")).save(tmp_path / "a_microbleed.npz")
    return tmp_path


OPTIONS = ["--steps", "2", "--batch-size", "4", "--input-size", "32", "--device", "cpu"]


def train(folder, *more, stage="microbleed", init="random"):
    arguments = [stage, str(folder), "--init", init, "--out", str(folder / "out"), *OPTIONS, *more]
    return workbench.main(["train", *arguments])


def test_both_stages_write_weights_that_the_app_takes(folder, capsys):
    assert workbench.main(["train", "csf", str(folder), "--out", str(folder / "one"), *OPTIONS]) == 0
    stage_one = folder / "one" / "csf.safetensors"
    arguments = ["train", "microbleed", str(folder), "--init", str(stage_one), "--out", str(folder / "two"), *OPTIONS]
    assert workbench.main(arguments) == 0
    csf, _ = load_weights(stage_one)
    path = folder / "two" / "microbleed.safetensors"
    model, metadata = load_weights(path)
    assert (metadata.task, metadata.input_size, metadata.training["settings"]["frozen_layers"]) == ("microbleed", 32, 5)
    assert metadata.training["settings"]["augmentation"]["rotations"] == 19
    assert metadata.training["start"].startswith("csf, SHA-256")
    assert model.conv1.weight.equal(csf.conv1.weight)  # frozen
    assert not model.fc.weight.equal(csf.fc.weight)  # new
    assert 0 <= try_weights(path)[1] <= 1
    shown = capsys.readouterr().out
    assert "validation: accuracy" in shown
    assert "an epoch shows each background patch" in shown  # too few of them to be novel for 19 rotations
    assert (folder / "two" / "log.csv").is_file()


def test_fine_tuning_takes_sizes_and_last_layer_from_the_start(folder, monkeypatch):
    from mbseg_bids.detection.network.resnet import build_network
    from mbseg_bids.learning.stages import run as stage_run

    save_weights(folder / "mine.safetensors", build_network(seed=1), WeightsMetadata("mine", input_size=48))
    seen = {}

    def train_stage(sets, settings, out, *, initial, keep_last_layer, **_):
        seen.update(input_size=settings.input_size, keep=keep_last_layer)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage_run, "train_stage", train_stage)
    for more, keep in (([], True), (["--new-last-layer"], False)):
        arguments = ["train", "microbleed", str(folder), "--init", str(folder / "mine.safetensors"), *more]
        assert workbench.main([*arguments, "--out", str(folder / "out"), "--device", "cpu"]) == 130
        assert seen == {"input_size": 48, "keep": keep}


def test_the_shipped_recipe_can_be_asked_for(folder, monkeypatch):
    from mbseg_bids.learning.stages import run as stage_run

    seen = []

    def train_stage(sets, settings, *_, **__):
        seen.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage_run, "train_stage", train_stage)
    more = "--optimiser adamw --schedule cosine --warmup 10 --hard-negatives 0.9 --mirror --gain 0.12 --noise 0.02"
    more += " --gamma 0.2 --shift 1 --blur 0.4 --drop 0.3 0.2"
    assert train(folder, *more.split()) == 130
    settings = seen[0]
    assert (settings.optimiser, settings.schedule, settings.warmup) == ("adamw", "cosine", 10)
    assert (settings.augmentation.mirror, settings.augmentation.gain, settings.augmentation.noise) == (True, 0.12, 0.02)
    assert (settings.augmentation.gamma, settings.augmentation.drop) == (0.2, (0.3, 0.2))
    # Of the hard kinds only candidates are there, so they get all of the share.
    assert settings.fractions == pytest.approx({"lesion": 0.5, "background": 0.05, "candidate": 0.45})


def test_no_patches_is_a_usage_error(tmp_path, capsys):
    assert workbench.main(["train", "csf", str(tmp_path), "--out", str(tmp_path / "x")]) == 64
    assert "mbseg train sample" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--patch-size", "56"], 64, "sample again with --patch-size 56"),
        (["--batch-size", "2", "--hard-negatives", "0.5"], 64, "cannot hold 3 kinds"),
        (["--freeze", "200"], 64, "177 layers"),
        (["--precision", "float16"], 64, "needs a GPU"),
        (["--tensorboard"], 64, "pip install tensorboard"),
        (["--init", "nothing"], 64, "no weights nothing"),
    ],
)
def test_what_cannot_work_is_said_before_training(folder, capsys, monkeypatch, more, code, message):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    assert train(folder, *more) == code
    error = capsys.readouterr().err
    assert error.startswith("mbseg failed: ")
    assert message in error
    assert not (folder / "out" / "checkpoint.safetensors").exists()


def test_too_few_participants_for_the_split(tmp_path, rng, capsys):
    patch_set(rng, ("lesion", "background"), participants=2).save(tmp_path / "a_microbleed.npz")
    assert train(tmp_path) == 64
    assert "patches of 2 participants cannot make 3 sets" in capsys.readouterr().err


@pytest.mark.parametrize("kinds", [("lesion",), ("background",)])
def test_a_class_that_is_missing_is_named(tmp_path, rng, capsys, kinds):
    patch_set(rng, kinds).save(tmp_path / "a_microbleed.npz")
    assert train(tmp_path) == 64
    assert {"lesion": "no background", "background": "no lesion"}[kinds[0]] in capsys.readouterr().err


def test_a_validation_set_without_lesions_is_refused(tmp_path, rng, capsys):
    lesions = patch_set(rng, ("lesion", "background"), participants=1)
    none = patch_set(rng, ("background", "background"), participants=9)
    PatchSet(none.patches, none.kinds, none.participants + 1, none.volumes).save(tmp_path / "b_microbleed.npz")
    lesions.save(tmp_path / "a_microbleed.npz")
    assert train(tmp_path) == 64
    assert "has no lesion patches" in capsys.readouterr().err


def test_patch_sets_of_two_sizes_are_refused(folder, rng, capsys):
    patch_set(rng, ("lesion", "background"), width=82).save(folder / "b_microbleed.npz")
    assert train(folder) == 64
    assert "42, 82 voxels" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_code_73(folder, capsys):
    (folder / "out").write_text("a file, not a folder")
    assert train(folder) == 73
    assert "--out" in capsys.readouterr().err


@pytest.fixture
def labelled(tmp_path, rng):
    """Output of the App, and masks, of one scan with a lesion and one without."""
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    for participant in ("01", "02"):
        anat = tmp_path / "app" / f"sub-{participant}" / "anat"
        anat.mkdir(parents=True)
        stem = f"sub-{participant}_space-T2starw"
        regions = np.ones((40, 40, 4), np.uint8)
        regions[:10] = 0
        mask = np.zeros((40, 40, 4), np.uint8)
        mask[20:22, 20, 2] = participant == "01"
        t2star = rng.uniform(60, 70, mask.shape).astype(np.float32)
        for name, data in {
            "desc-preproc_T2starw": np.where(mask, 5, t2star).astype(np.float32),
            "desc-preproc_T2w": t2star,
            "desc-brain_mask": np.ones_like(mask),
            "seg-regions_dseg": regions,
            "label-microbleed_mask": mask,
        }.items():
            nib.save(nib.Nifti1Image(data, affine), anat / f"{stem}_{name}.nii.gz")
    return tmp_path / "app"


def test_labelled_scans_become_patch_sets(labelled, tmp_path, capsys):
    sets = tmp_path / "sets"
    arguments = ["train", "sample", str(labelled), "--label-filter", "label=microbleed", "suffix=mask"]
    assert workbench.main([*arguments, "--out", str(sets), "--csf-patches", "20", "--rotations", "4"]) == 0
    assert sorted(p.name for p in sets.iterdir()) == [
        "participants.tsv",
        *(f"sub-{n}_{stage}.npz" for n in ("01", "02") for stage in ("csf", "microbleed")),
    ]
    shown = capsys.readouterr().out
    assert "sub-01: 1 lesions, 2 lesion patches; no T1w" in shown
    assert shown.endswith("2 scans of 2 participants, 1 lesions\n")


def test_a_filter_that_fits_no_mask_is_code_18(labelled, tmp_path, capsys):
    assert workbench.main(["train", "sample", str(labelled), "--out", str(tmp_path / "sets")]) == 18
    assert "label=CMB suffix=mask" in capsys.readouterr().err


def test_labels_on_another_grid_are_code_65(labelled, tmp_path, capsys):
    path = labelled / "sub-02" / "anat" / "sub-02_space-T2starw_label-microbleed_mask.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((20, 20, 4), np.uint8), np.diag([2.0, 2.0, 3.0, 1.0])), path)
    arguments = ["train", "sample", str(labelled), "--label-filter", "label=microbleed", "suffix=mask"]
    assert workbench.main([*arguments, "--out", str(tmp_path / "sets")]) == 65
    error = capsys.readouterr().err
    assert "(20, 20, 4)" in error
    assert "(40, 40, 4)" in error


def test_a_label_map_that_is_none_is_refused(tmp_path, capsys):
    path = tmp_path / "labels.nii.gz"
    path.write_text("no image")
    assert workbench.main(["train", "simulate", str(path), "--out", str(tmp_path / "sets")]) == 65
    assert "label map" in capsys.readouterr().err
