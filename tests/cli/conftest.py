import fake_workflows
import pytest

from mbseg_bids.cli import app


@pytest.fixture
def fake_parts(monkeypatch):
    """Anatomy, detection and reports that take no time."""
    from mbseg_bids.workflows import base

    for name in ("init_anatomy_wf", "init_detection_wf", "init_lesions_in_space_wf"):
        monkeypatch.setattr(base, name, getattr(fake_workflows, name))
    reported = []

    def report(output_dir, participant):
        reported.append(participant)
        (output_dir / f"sub-{participant}.html").write_text("<!DOCTYPE html><title>report</title>\n")

    monkeypatch.setattr("mbseg_bids.cli.participant.build_individual_report", report, raising=False)
    return reported


@pytest.fixture
def run(capsys, tmp_path):
    """Run the app in this process; return its exit code and the last line on the terminal."""

    def call(*arguments, work=tmp_path / "work"):
        code = app.main([str(a) for a in arguments] + ["-w", str(work), "--n-cpus", "1"])
        return code, capsys.readouterr().err.strip().splitlines()[-1]

    return call
