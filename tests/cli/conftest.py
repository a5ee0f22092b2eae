import pytest

from mbseg_bids.cli import app


@pytest.fixture
def run(capsys, tmp_path):
    """Run the app in this process; return its exit code and the last line on the terminal."""

    def call(*arguments, work=tmp_path / "work"):
        code = app.main([str(a) for a in arguments] + ["-w", str(work), "--n-cpus", "1"])
        return code, capsys.readouterr().err.strip().splitlines()[-1]

    return call
