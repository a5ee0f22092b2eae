"""Exit codes and the last line, through the whole app; every failure is one that happens to people."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mbseg_bids import __version__
from mbseg_bids.cli import app

THREE = [f"sub-01/anat/sub-01_{contrast}.nii.gz" for contrast in ("T1w", "T2w", "T2starw")]
LAST_LINE = re.compile(r"mbseg-bids failed: .+ \(.+\)")


@pytest.fixture
def fails(run):
    def check(code, *arguments):
        got, last = run(*arguments)
        assert got == code, last
        assert LAST_LINE.fullmatch(last)
        return last

    return check


def test_version_and_help(capsys):
    for option, text in (("--version", f"mbseg-bids {__version__}"), ("--help", "usage: mbseg-bids")):
        with pytest.raises(SystemExit) as ended:
            app.main([option])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(text)


def test_the_package_runs_as_the_app():
    ended = subprocess.run(
        [sys.executable, "-m", "mbseg_bids", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == f"mbseg-bids {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["raw"], ["raw", "out"], ["raw", "out", "participant", "--unknown"]])
def test_bad_usage_is_64_not_2(arguments, capsys):
    assert app.main(arguments) == 64
    assert LAST_LINE.fullmatch(capsys.readouterr().err.strip().splitlines()[-1])


def test_unknown_level_is_17(fails, make_dataset, tmp_path):
    fails(17, make_dataset(*THREE), tmp_path / "out", "subject")


def test_missing_t2star_is_66_and_named(fails, make_dataset, tmp_path):
    root = make_dataset(*THREE[:2])
    assert "sub-01 has no T2starw" in fails(66, root, tmp_path / "out", "participant")
    assert "sub-01 has no T2starw" in fails(66, root, tmp_path / "out", "participant", "--dry-run")


@pytest.mark.parametrize("missing", ["T1w", "T2w"])
def test_missing_contrast_that_is_required_is_66_and_named(fails, make_dataset, tmp_path, missing):
    root = make_dataset(*(name for name in THREE if missing not in name))
    for more in ([], ["--dry-run"]):
        last = fails(66, root, tmp_path / "out", "participant", "--require-contrasts", "T1w", "T2w", *more)
        assert f"sub-01 has no {missing} (--require-contrasts asks for {missing}" in last


@pytest.mark.parametrize("have", [THREE[1:], THREE[::2], THREE[2:]])
def test_a_session_without_t1w_or_t2w_would_run(run, make_dataset, tmp_path, have):
    code, last = run(make_dataset(*have), tmp_path / "out", "participant", "--dry-run")
    assert code == 0
    assert last == "mbseg-bids finished: 1 session would run, 1 of them without T1w or T2w"


def test_contrasts_to_require_are_checked(fails, make_dataset, tmp_path):
    last = fails(64, make_dataset(*THREE), tmp_path / "out", "participant", "--require-contrasts", "FLAIR")
    assert "--require-contrasts" in last


def test_real_scans_without_t2w_would_run(run, shared_data, tmp_path):
    chosen = ("--participant-label", "sub-philips", "--dry-run")
    code, last = run(shared_data / "real", tmp_path / "out", "participant", *chosen)
    assert (code, last) == (0, "mbseg-bids finished: 1 session would run, 1 of them without T1w or T2w")


def test_truncated_image_is_65(fails, make_dataset, tmp_path):
    root = make_dataset(*THREE)
    path = root / THREE[1]
    path.write_bytes(path.read_bytes()[:-300])
    assert "sub-01_T2w.nii.gz" in fails(65, root, tmp_path / "out", "participant")


def test_series_instead_of_a_volume_is_65(fails, make_dataset, save_image, tmp_path):
    root = make_dataset(*THREE)
    save_image(root / THREE[2], shape=(8, 8, 5, 4))
    assert "sub-01_T2starw.nii.gz has 4 dimensions" in fails(65, root, tmp_path / "out", "participant")


def test_empty_dataset_is_16(fails, make_dataset, tmp_path):
    fails(16, make_dataset(), tmp_path / "out", "participant")


def test_no_dataset_is_16(fails, tmp_path):
    fails(16, tmp_path / "nowhere", tmp_path / "out", "participant")


def test_dataset_without_description_is_16_unless_validation_is_skipped(fails, make_dataset, tmp_path, run, fake_parts):
    root = make_dataset(*THREE)
    (root / "dataset_description.json").unlink()
    assert "--skip-bids-validation" in fails(16, root, tmp_path / "out", "participant")
    assert run(root, tmp_path / "out", "participant", "--skip-bids-validation", "--dry-run")[0] == 0


def test_output_that_is_the_input_is_73(fails, make_dataset):
    root = make_dataset(*THREE)
    before = sorted(root.rglob("*"))
    fails(73, root, root, "participant")
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("option", ["output", "work"])
def test_unwritable_folders_are_73(fails, make_dataset, tmp_path, option):
    root, file = make_dataset(*THREE), tmp_path / "file"
    file.write_text("not a folder")
    out = file if option == "output" else tmp_path / "out"
    arguments = [] if option == "output" else ["-w", file / "below"]
    got = app.main([str(a) for a in (root, out, "participant", *arguments)])
    assert got == 73


@pytest.mark.parametrize("option", [("--participant-label", "99"), ("--session-label", "99")])
def test_filters_that_select_nothing_are_18(fails, make_dataset, tmp_path, option):
    fails(18, make_dataset(*THREE), tmp_path / "out", "participant", *option)


def test_group_level_without_results_is_18(fails, make_dataset, tmp_path):
    fails(18, make_dataset(*THREE), tmp_path / "out", "group")


def test_group_level_is_handed_the_output(make_dataset, tmp_path, run, monkeypatch):
    from mbseg_bids.group import build

    given = []
    result = SimpleNamespace(problems=("sub-02: no lesion table.",))
    monkeypatch.setattr(build, "build_group", lambda *folders, **_: given.append(folders) or result)
    (tmp_path / "out" / "logs").mkdir(parents=True)
    (tmp_path / "out" / "logs" / "sub-01_done.json").write_text("{}")
    root = make_dataset(*THREE)
    code, last = run(root, tmp_path / "out", "group")
    assert (code, given) == (0, [(tmp_path / "out", root)])
    assert last.startswith("mbseg-bids finished: group tables of 1 session")


def test_folders_to_reuse_must_exist(fails, make_dataset, tmp_path):
    root = make_dataset(*THREE)
    fails(64, root, tmp_path / "out", "participant", "-d", f"x={tmp_path / 'no'}")
    fails(64, root, tmp_path / "out", "participant", "--fs-subjects-dir", tmp_path / "no")


def test_a_bug_in_the_app_is_1_and_asks_to_report_it(fails, make_dataset, tmp_path, monkeypatch):
    import mbseg_bids.cli.participant as participant

    monkeypatch.setattr(participant, "run_participant", lambda request: 1 / 0)
    assert "this is a bug" in fails(1, make_dataset(*THREE), tmp_path / "out", "participant")
