import hashlib
import json
import shutil
import signal

import fake_workflows
import nibabel as nib
import numpy as np
import pytest

from mbseg_bids.bids.lock import output_mark, work_mark
from mbseg_bids.detection.network.weights import list_weights

CONTRASTS = ("T1w", "T2w", "T2starw")
SIX = [f"sub-{p}/anat/sub-{p}_{c}.nii.gz" for p in ("01", "02") for c in CONTRASTS]


def digests(folder):
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and "logs" not in p.parts]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def brighten(path, factor):
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * np.float32(factor), image.affine), path)


def sessions_of(out):
    (table,) = (out / "logs").glob("run-*_sessions.tsv")
    header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


@pytest.fixture
def count_anatomy(monkeypatch):
    """Count how often the anatomy of a session is computed."""
    calls = []
    original = fake_workflows.FakeAnatomy._run_interface
    monkeypatch.setattr(
        fake_workflows.FakeAnatomy, "_run_interface", lambda self, r: calls.append(r.cwd) or original(self, r)
    )
    return calls


def test_a_run_writes_everything_and_says_so(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX), tmp_path / "out"
    assert run(root, out, "participant") == (0, "mbseg-bids finished: 2 sessions done")
    assert fake_parts == ["01", "02"]
    summary = json.loads((out / "logs" / "sub-01_summary.json").read_text())
    assert summary["inputs"]["T2starw"]["path"] == "sub-01/anat/sub-01_T2starw.nii.gz"
    assert summary["inputs"]["T2starw"]["shape"] == [8, 9, 5]
    assert summary["warnings"] == ["a warning of anatomy"]
    assert summary["detection"]["n_lesions"] == 1
    assert "[detection]" in next((out / "logs").glob("run-*_settings.toml")).read_text()
    row = sessions_of(out)["sub-01"]
    assert row.pop("seconds").isdecimal()
    assert row == {"outcome": "done", "exit_code": "0", "warnings": "1", "reason": "n/a"}


def test_no_output_names_a_folder_of_this_machine(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX), tmp_path / "out"
    brighten(root / "sub-02/anat/sub-02_T2starw.nii.gz", 500)  # the log of a failure is the likeliest to name folders
    weights = tmp_path / "mine" / "weights.safetensors"
    weights.parent.mkdir()
    weights.symlink_to(next(entry.path for entry in list_weights() if entry.is_default))
    run(root, out, "participant", "-v", "--weights", weights)
    for path in out.rglob("*"):
        if path.is_file() and not path.name.endswith(".gz"):
            assert str(tmp_path) not in path.read_text(), path


def test_a_finished_session_is_not_computed_again(make_dataset, tmp_path, fake_parts, run, count_anatomy):
    root, out = make_dataset(*SIX), tmp_path / "out"
    run(root, out, "participant")
    before = digests(out)
    assert run(root, out, "participant")[1] == "mbseg-bids finished: 2 sessions done, 2 of them by an earlier run"
    assert len(count_anatomy) == 2
    assert digests(out) == before


def test_marks_of_a_run_killed_just_before_it_removed_them_are_removed(make_dataset, tmp_path, fake_parts, run):
    arguments = (make_dataset(*SIX), tmp_path / "out", "participant", "-w", tmp_path / "work")
    run(*arguments)
    marks = [output_mark(tmp_path / "out", "sub-01"), work_mark(tmp_path / "work", "sub-01")]
    for mark in marks:
        mark.write_text("left by a killed run")
    assert run(*arguments)[1] == "mbseg-bids finished: 2 sessions done, 2 of them by an earlier run"
    assert not any(mark.exists() for mark in marks)


@pytest.mark.parametrize("change", ["settings", "input", "candidate classifier", "output removed"])
def test_a_finished_session_is_computed_again_if_something_changed(
    make_dataset, tmp_path, fake_parts, run, count_anatomy, change, monkeypatch
):
    root, out = make_dataset(*SIX[:3]), tmp_path / "out"
    run(root, out, "participant")
    extra = []
    if change == "settings":
        extra = ["--ratio-threshold", "1.3"]
    elif change == "input":
        brighten(root / SIX[2], 1.1)
    elif change == "candidate classifier":
        another = tmp_path / "second-look.json"
        another.write_text("{}")
        monkeypatch.setattr("mbseg_bids.cli.planning.CANDIDATE_CLASSIFIER", another)
    else:
        next(out.glob("sub-01/anat/*label-CMB_mask.nii.gz")).unlink()
    assert run(root, out, "participant", *extra)[1] == "mbseg-bids finished: 1 session done"
    if change == "output removed":
        assert len(list(out.glob("sub-01/anat/*label-CMB_mask.nii.gz"))) == 3
    else:
        assert sorted((out / "logs").glob("sub-01_done.json"))


def test_a_stopped_run_continues_and_ends_with_the_same_bytes(
    make_dataset, tmp_path, fake_parts, run, count_anatomy, monkeypatch
):
    root, whole, resumed = make_dataset(*SIX[:3]), tmp_path / "whole", tmp_path / "resumed"
    run(root, whole, "participant", work=tmp_path / "work1")
    original = fake_workflows.FakeDetection._run_interface

    def stop(self, runtime):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(fake_workflows.FakeDetection, "_run_interface", stop)
    code, last = run(root, resumed, "participant", work=tmp_path / "work2")
    assert code == 130
    assert "start it again with the same --work-dir" in last
    assert not (resumed / "logs" / "sub-01_done.json").exists()
    monkeypatch.setattr(fake_workflows.FakeDetection, "_run_interface", original)
    assert run(root, resumed, "participant", work=tmp_path / "work2")[0] == 0
    assert len(count_anatomy) == 2  # once for each folder: the second start found it done
    assert digests(resumed) == digests(whole)


def test_a_session_that_fails_stops_no_other_and_its_reason_is_kept(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX), tmp_path / "out"
    brighten(root / "sub-01/anat/sub-01_T2starw.nii.gz", 50)
    code, last = run(root, out, "participant")
    assert code == 1
    assert last.startswith(
        "mbseg-bids failed: 1 session failed, 1 done; first failure: sub-01: the T2* image is too br"
    )
    row = sessions_of(out)["sub-01"]
    assert (row["outcome"], row["exit_code"]) == ("failed", "65")
    assert row["reason"] == "sub-01: the T2* image is too bright (scan again)"
    assert sessions_of(out)["sub-02"]["outcome"] == "done"
    assert not (out / "logs" / "sub-01_done.json").exists()
    assert fake_parts == ["01", "02"]  # the report of a failed participant says why
    failure = json.loads((out / "logs" / "sub-01_failure.json").read_text())
    assert (failure["error"], failure["remedy"]) == ("the T2* image is too bright", "scan again")
    assert failure["step"] == "anatomy work"
    assert str(tmp_path) not in json.dumps(failure)


def test_the_record_of_a_failure_goes_when_the_session_is_done(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX[:3]), tmp_path / "out"
    whole = (root / SIX[2]).read_bytes()
    brighten(root / SIX[2], 50)
    assert run(root, out, "participant")[0] == 65
    record = out / "logs" / "sub-01_failure.json"
    assert record.is_file()
    (root / SIX[2]).write_bytes(whole)
    assert run(root, out, "participant") == (0, "mbseg-bids finished: 1 session done")
    assert not record.exists()
    record.write_text("{}", encoding="utf-8")  # as left by a run that could not read the images for once
    assert run(root, out, "participant")[0] == 0
    assert not record.exists()


def test_if_every_session_fails_alike_the_run_ends_with_their_exit_code(make_dataset, tmp_path, fake_parts, run):
    root = make_dataset(*SIX[:3])
    brighten(root / SIX[2], 50)
    code, last = run(root, tmp_path / "out", "participant")
    assert code == 65
    assert last == "mbseg-bids failed: sub-01: the T2* image is too bright (scan again)"


def test_a_bug_ends_in_one_line_too(make_dataset, tmp_path, fake_parts, run):
    root = make_dataset(*SIX[:3])
    brighten(root / SIX[2], 500)
    code, last = run(root, tmp_path / "out", "participant")
    assert code == 1
    assert last.startswith("mbseg-bids failed: sub-01: ZeroDivisionError: float division by zero (see the crash file")


def test_a_session_that_cannot_run_is_listed_and_the_others_run(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX[:3], *SIX[3:5]), tmp_path / "out"  # sub-02 has no T2*
    code, last = run(root, out, "participant")
    assert code == 1
    assert last.startswith("mbseg-bids failed: 1 session failed, 1 done; first failure: sub-02 has no T2starw")
    assert sessions_of(out)["sub-02"]["exit_code"] == "66"
    assert "T2starw" in json.loads((out / "logs" / "sub-02_failure.json").read_text())["error"]
    assert (out / "logs" / "sub-01_done.json").exists()


def test_a_report_that_fails_is_a_failure_but_the_results_stay(make_dataset, tmp_path, fake_parts, run, monkeypatch):
    def broken(output_dir, participant):
        raise ValueError("no pictures")

    monkeypatch.setattr("mbseg_bids.cli.participant.build_individual_report", broken)
    root, out = make_dataset(*SIX[:3]), tmp_path / "out"
    code, last = run(root, out, "participant")
    assert code == 1
    assert "the report of sub-01 could not be made: ValueError: no pictures" in last
    assert (out / "logs" / "sub-01_done.json").exists()


def test_reports_only_makes_reports_of_finished_sessions(make_dataset, tmp_path, fake_parts, run, count_anatomy):
    root, out = make_dataset(*SIX), tmp_path / "out"
    assert run(root, out, "participant", "--reports-only")[0] == 18
    run(root, out, "participant")
    (out / "sub-01.html").unlink()
    code, _ = run(root, out, "participant", "--reports-only", "--participant-label", "sub-01")
    assert (code, fake_parts) == (0, ["01", "02", "01"])
    assert (out / "sub-01.html").exists()
    assert len(count_anatomy) == 2


def test_boilerplate_only_computes_nothing(make_dataset, tmp_path, fake_parts, run, count_anatomy):
    root, out = make_dataset(*SIX[:3]), tmp_path / "out"
    code, _ = run(root, out, "participant", "--boilerplate-only", "--ratio-threshold", "1.3")
    assert code == 0
    text = (out / "logs" / "CITATION.md").read_text()
    assert text.startswith(
        "No session is finished.\n\n# Not run\n\nThis would describe 1 session (sub-01), not run so far."
    )
    assert "Images were taken from a BIDS dataset" in text
    assert count_anatomy == []
    assert fake_parts == []


def test_the_methods_text_speaks_of_finished_sessions_alone(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX), tmp_path / "out"
    brighten(root / SIX[5], 500)
    run(root, out, "participant")
    assert "in 1 session (sub-01)." in (out / "logs" / "CITATION.md").read_text()
    run(root, out, "participant", "--boilerplate-only")
    text = (out / "logs" / "CITATION.md").read_text()
    assert "in 1 session (sub-01)." in text
    assert "This would describe 1 session (sub-02), not run so far." in text


def test_dry_run_says_what_would_happen_and_writes_nothing(make_dataset, tmp_path, fake_parts, run, capsys):
    from mbseg_bids.cli import app

    root, out, work = make_dataset(*SIX[:3], *SIX[3:5]), tmp_path / "out", tmp_path / "work"
    code = app.main([str(root), str(out), "participant", "--dry-run", "-w", str(work)])
    text = capsys.readouterr()
    assert code == 1
    assert "sub-01: would run\n  T1w: sub-01/anat/sub-01_T1w.nii.gz (the only one)" in text.out
    assert "sub-02: cannot run: sub-02 has no T2starw" in text.out
    assert not out.exists()
    assert not work.exists()


def test_dry_run_says_which_contrasts_there_are_not_and_what_that_means(make_dataset, tmp_path, run, capsys):
    from mbseg_bids.cli import app

    root, out = make_dataset(*SIX[:3:2], *SIX[5:]), tmp_path / "out"  # sub-01 has no T2w, sub-02 has T2* alone
    assert app.main([str(root), str(out), "participant", "--dry-run", "-w", str(tmp_path / "work")]) == 0
    first, second = capsys.readouterr().out.split("sub-02: would run")
    assert "  T2w: none\n  warning: no T2w: the network saw T2* and T1w only" in first
    assert "  T2w: none\n  T1w: none\n  warning: no T1w and no T2w: the network saw T2* only" in second


@pytest.mark.parametrize("have", [(0, 2), (1, 2), (2,)])
def test_a_session_without_contrasts_leaves_what_it_can_and_says_so_everywhere(
    make_dataset, tmp_path, fake_parts, run, caplog, have
):
    root, out = make_dataset(*(SIX[n] for n in have)), tmp_path / "out"
    missing = [CONTRASTS[n] for n in (1, 0) if n not in have]
    code, last = run(root, out, "participant")
    assert (code, last) == (0, "mbseg-bids finished: 1 session done, 1 of them without T1w or T2w")
    names = {p.name.removeprefix("sub-01_").split(".")[0] for p in out.glob("sub-01/anat/*.nii.gz")}
    for contrast in missing:
        assert f"space-T2starw_desc-preproc_{contrast}" not in names
    assert any(name.startswith("space-T1w_") for name in names) == ("T1w" not in missing)
    assert "space-MNI152NLin2009aSym_label-CMB_mask" in names
    summary = json.loads((out / "logs" / "sub-01_summary.json").read_text())
    assert summary["missing_contrasts"] == missing
    assert any(f"no {missing[-1]}" in warning for warning in summary["warnings"])
    sidecar = json.loads(next(out.glob("sub-01/anat/*_space-T2starw_seg-CMB_dseg.json")).read_text())
    assert sidecar["Contrasts"] == summary["contrasts"]
    assert f"Found without {' and '.join(missing)}" in sidecar["Description"]
    assert len(sidecar["Sources"]) == len(have)
    assert "contrasts" in sidecar
    for table in ("CMB", "CMBcandidates"):
        head, row = (out / f"sub-01/anat/sub-01_space-T2starw_seg-{table}_dseg.tsv").read_text().splitlines()
        assert dict(zip(head.split("\t"), row.split("\t"), strict=True))["contrasts"] == ",".join(summary["contrasts"])
    assert f"There was no {' and '.join(missing)}: the network saw" in (out / "logs" / "CITATION.md").read_text()
    assert run(root, out, "participant")[1].endswith("1 of them by an earlier run, 1 of them without T1w or T2w")


def test_spaces_can_be_left_out(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX[:3]), tmp_path / "out"
    assert run(root, out, "participant", "--output-spaces", "T1w")[0] == 0
    spaces = {p.name.split("_space-")[1].split("_")[0] for p in out.glob("sub-01/anat/*_space-*")}
    assert spaces == {"T2starw", "T1w"}


def test_graph_is_written_as_text_even_without_graphviz(make_dataset, tmp_path, fake_parts, run, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    root, out = make_dataset(*SIX[:3]), tmp_path / "out"
    assert run(root, out, "participant", "--write-graph")[0] == 0
    (graph,) = (out / "logs").glob("run-*_workflow.dot")
    assert "anatomy_wf" in graph.read_text()


def test_cleaning_the_work_folder_leaves_what_is_not_ours(make_dataset, tmp_path, fake_parts, run, count_anatomy):
    root, out, work = make_dataset(*SIX[:3]), tmp_path / "out", tmp_path / "work"
    run(root, out, "participant", work=work)
    (work / "thesis.txt").write_text("mine")
    shutil.rmtree(out)
    run(root, out, "participant", "--clean-workdir", work=work)
    assert (work / "thesis.txt").read_text() == "mine"
    assert len(count_anatomy) == 2


def test_first_crash_stops_if_asked(make_dataset, tmp_path, fake_parts, run):
    root, out = make_dataset(*SIX), tmp_path / "out"
    brighten(root / "sub-01/anat/sub-01_T2starw.nii.gz", 50)
    code, _ = run(root, out, "participant", "--stop-on-first-crash")
    assert code == 1
    assert sessions_of(out)["sub-02"]["outcome"] == "failed"
    assert "not finished" in sessions_of(out)["sub-02"]["reason"]


@pytest.fixture
def two_processes(tmp_path):
    plugin = tmp_path / "plugin.json"
    plugin.write_text(json.dumps({"plugin": "MultiProc", "plugin_args": {"n_procs": 2, "mp_context": "forkserver"}}))
    return "--nipype-plugin-file", plugin


@pytest.mark.timeout(120)
def test_parallel_processes_give_the_same_bytes_and_survive_a_killed_worker(
    make_dataset, tmp_path, fake_parts, run, two_processes
):
    root = make_dataset(*SIX)
    run(root, tmp_path / "one", "participant", "--participant-label", "02", work=tmp_path / "work1")
    brighten(root / "sub-01/anat/sub-01_T2starw.nii.gz", 5000)
    code, _ = run(root, tmp_path / "two", "participant", *two_processes, work=tmp_path / "work2")
    assert code == 1
    outcome = sessions_of(tmp_path / "two")
    assert outcome["sub-01"]["exit_code"] == "75"
    assert outcome["sub-02"]["outcome"] == "done"
    one, two = (digests(tmp_path / name / "sub-02") for name in ("one", "two"))
    assert one
    assert one == two


def test_the_output_of_multi_echo_input_is_on_its_grid(make_dataset, tmp_path, fake_parts, run):
    echoes = [f"sub-01/anat/sub-01_echo-{n}_part-mag_MEGRE.nii.gz" for n in (1, 2)]
    root, out = make_dataset(*SIX[:2], *echoes), tmp_path / "out"
    assert run(root, out, "participant")[0] == 0
    mask = nib.load(next(out.glob("sub-01/anat/*_space-T2starw_label-CMB_mask.nii.gz")))
    assert np.array_equal(mask.affine, nib.load(root / echoes[0]).affine)
    preproc = json.loads(next(out.glob("sub-01/anat/*_desc-preproc_T2starw.json")).read_text())
    assert preproc["Sources"] == [f"bids:raw:{echo}" for echo in echoes]


def test_a_given_segmentation_reaches_the_anatomy_and_is_said_to_be_reused(
    make_dataset, save_image, tmp_path, fake_parts, run
):
    root, out = make_dataset(*SIX[:3]), tmp_path / "out"
    save_image(tmp_path / "smriprep/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    assert run(root, out, "participant", "-d", f"smriprep={tmp_path / 'smriprep'}")[0] == 0
    summary = json.loads((out / "logs" / "sub-01_summary.json").read_text())
    assert summary["anatomy"]["reuse"] == {"aseg": "sub-01_desc-aseg_dseg.nii.gz"}
    assert summary["reused"] == {"aseg": "<smriprep>/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz"}
    assert "(sub-01)." in (out / "logs" / "CITATION.md").read_text()


def test_resources_are_recorded_if_asked(make_dataset, tmp_path, fake_parts, run, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    root, out, work = make_dataset(*SIX[:3]), tmp_path / "out", tmp_path / "work"
    assert run(root, out, "participant", "--resource-monitor", work=work)[0] == 0
    assert list(work.rglob("resource_monitor.json"))
    assert list((tmp_path / "here").iterdir()) == []
