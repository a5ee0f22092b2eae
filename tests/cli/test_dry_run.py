"""What a dry run says is what a run would do; and what only writes reports leaves no work folder."""

import json

import pytest

from mbseg_bids.cli import app
from mbseg_bids.cli.outcome import Outcome, microbleeds_of

THREE = [f"sub-01/anat/sub-01_{contrast}.nii.gz" for contrast in ("T1w", "T2w", "T2starw")]


def test_finished_and_changed_sessions_are_told_apart(make_dataset, tmp_path, fake_parts, run, capsys):
    second = [name.replace("01", "02") for name in THREE]
    root, out = make_dataset(*THREE), tmp_path / "out"
    capsys.readouterr()
    assert app.main([*map(str, (root, out, "participant", "-w", tmp_path / "work")), "--n-cpus", "1"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["session", "outcome", "time", "warnings", "microbleeds"]
    assert table[1].split()[:2] + table[1].split()[3:] == ["sub-01", "done", "1", "1", str(out / "sub-01.html")]

    make_dataset(*second)
    plain = app.main([*map(str, (root, out, "participant", "--dry-run"))])
    told = capsys.readouterr()
    assert plain == 0
    assert "sub-01: finished already" in told.out
    assert "sub-02: would run\n" in told.out
    assert told.err.splitlines()[-1] == "mbseg-bids finished: 1 session would run, 1 finished already"

    changed = app.main([*map(str, (root, out, "participant", "--dry-run", "--ratio-threshold", "1.3"))])
    told = capsys.readouterr()
    assert changed == 0
    assert "sub-01: would run again: results exist, but ratio_threshold was 1.2, now 1.3\n" in told.out
    assert told.err.splitlines()[-1] == "mbseg-bids finished: 2 sessions would run"

    (root / THREE[1]).write_bytes((root / second[1]).read_bytes())
    app.main([*map(str, (root, out, "participant", "--dry-run"))])
    assert "results exist, but its input files or the model are others" in capsys.readouterr().out
    summary = out / "logs" / "sub-01_summary.json"
    content = json.loads(summary.read_text())
    content["software"]["mbseg-bids"] = "0.0.1"
    summary.write_text(json.dumps(content))
    app.main([*map(str, (root, out, "participant", "--dry-run"))])
    assert "results exist, but it is of version 0.0.1, this is" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_weights_that_are_none_are_told_before_anything_is_computed(make_dataset, tmp_path, run, more):
    root = make_dataset(*THREE)
    code, last = run(root, tmp_path / "out", "participant", "--weights", "no-such", *more)
    assert code == 64
    assert "no weights no-such" in last
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    code, last = run(root, tmp_path / "out", "participant", "--weights", damaged, *more)
    assert code == 65
    assert "cannot read weights" in last
    assert not list((tmp_path / "out").glob("logs/run-*"))


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_gpu_that_is_not_there_is_told_before_anything_is_computed(make_dataset, tmp_path, run, more, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, last = run(make_dataset(*THREE), tmp_path / "out", "participant", "--device", "cuda", *more)
    assert code == 64
    assert "--device cuda, but torch finds no GPU" in last


@pytest.mark.parametrize("option", ["--reports-only", "--boilerplate-only", "group"])
def test_what_computes_nothing_leaves_no_work_folder(make_dataset, tmp_path, fake_parts, run, monkeypatch, option):
    from types import SimpleNamespace

    from mbseg_bids.group import build

    monkeypatch.setattr(build, "build_group", lambda *folders, **_: SimpleNamespace(problems=()))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    root, out, work = make_dataset(*THREE), tmp_path / "out", tmp_path / "new"
    (out / "logs").mkdir(parents=True)
    (out / "logs" / "sub-01_done.json").write_text("{}")
    level = ["group"] if option == "group" else ["participant", option]
    assert run(root, out, *level, work=work)[0] == 0
    assert not work.exists()


def test_the_table_at_the_end_has_counts_and_reports():
    outcome = Outcome(done=["sub-01"], skipped=["sub-02"], stopped=["sub-03"])
    outcome.microbleeds = {"sub-01": "12", "sub-02": "0"}
    outcome.reports = {"sub-01": "/out/sub-01.html", "sub-02": "/out/sub-02.html"}
    rows = [line.split() for line in outcome.table().splitlines()]
    assert rows[1] == ["sub-01", "done", "-", "0", "12", "/out/sub-01.html"]
    assert rows[2][-2:] == ["0", "/out/sub-02.html"]
    assert rows[3][:5] == ["sub-03", "stopped", "-", "0", "-"]


def test_a_summary_without_a_count_gives_none():
    assert microbleeds_of({"detection": {"n_lesions": 3}}) == "3"
    assert microbleeds_of({"detection": {}}) == microbleeds_of({}) == "-"
