"""One work folder serves several output folders."""

import json

import pytest


@pytest.mark.parametrize("options", [[], ["--ratio-threshold", "1.3"]])
def test_a_second_output_folder_gets_its_own_files(make_dataset, fake_parts, run, tmp_path, options):
    raw = make_dataset(*(f"sub-01/anat/sub-01_{contrast}.nii.gz" for contrast in ("T1w", "T2w", "T2starw")))
    assert run(raw, tmp_path / "first", "participant")[0] == 0
    code, last = run(raw, tmp_path / "second", "participant", *options)
    assert code == 0, last
    first, second = (
        json.loads((tmp_path / name / "logs" / "sub-01_done.json").read_text())["files"] for name in ("first", "second")
    )
    assert first == second
    assert all((tmp_path / "second" / name).exists() for name in second)
