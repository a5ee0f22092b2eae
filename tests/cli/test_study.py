import pytest

from mbseg_bids.cli import workbench


def dry(tmp_path, *more):
    return workbench.main(
        ["study", "run", str(tmp_path), "--out", str(tmp_path), "--init", "random", "--dry-run", *more]
    )


def test_a_dry_run_lists_the_runs_of_a_shard(tmp_path, capsys):
    more = ["--factors", "patch", "rate", "--values", "rate=0.006,0.01", "--repetitions", "1"]
    assert dry(tmp_path, *more) == 0
    everything = capsys.readouterr().out.splitlines()
    assert len(everything) == 6 + 1  # five patch sizes, one more rate, and the sum
    assert everything[0] == "patch-14_freeze-5_batch-40_rate-0.006_rotations-0_repetition-0"
    assert everything[-1] == "6 runs; reduced: 1 repetitions, fewer values"
    listed = []
    for k in ("1/4", "2/4", "3/4", "4/4"):
        assert dry(tmp_path, *more, "--shard", k) == 0
        listed += capsys.readouterr().out.splitlines()[:-1]
    assert sorted(listed) == sorted(everything[:-1])


@pytest.mark.parametrize("values", ["patch=a", "depth=3", "rate=0", "patch"])
def test_values_that_are_none_are_refused(tmp_path, capsys, values):
    assert dry(tmp_path, "--values", values) == 64
    assert values.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["3/2", "0/2", "x"])
def test_a_shard_that_is_none_is_refused(tmp_path, shard):
    assert dry(tmp_path, "--shard", shard) == 64


def test_collecting_nothing_is_code_18(tmp_path, capsys):
    assert workbench.main(["study", "collect", str(tmp_path)]) == 18
    assert "mbseg study run" in capsys.readouterr().err
