import json
import time

import torch

from benchmarks.gpu import bars
from benchmarks.gpu_record import SWITCHES, Record, seconds_each, switched, whole_network
from mbseg_bids.detection.network import runtime_cuda
from mbseg_bids.detection.network.resnet import identity_blocks


def test_a_section_that_fails_or_takes_too_long_keeps_its_rows_and_the_next_one_runs(tmp_path):
    record = Record(tmp_path / "new", "a machine")

    def fails(add):
        add({"n": 1})
        raise KeyError("gone")

    def endless(add):
        add({"n": 2})
        time.sleep(5)

    started = time.perf_counter()
    record.section("fails", 5, fails)
    record.section("endless", 0.2, endless)
    record.section("good", 5, lambda add: add({"n": 3.14159}))
    assert time.perf_counter() - started < 4
    written = json.loads((tmp_path / "new" / "gpu.json").read_text())["sections"]
    assert [entry["rows"][0]["n"] for entry in written.values()] == [1, 2, 3.14159]
    assert "gone" in written["fails"]["error"]
    assert written["endless"]["error"] == "the time of the section is over"
    assert "error" not in written["good"]
    page = (tmp_path / "new" / "gpu.md").read_text()
    assert "| 3.142 |" in page
    assert "Ended early: KeyError" in page


def test_bars_are_met_by_the_best_row_and_unknown_without_one(tmp_path):
    record = Record(tmp_path, "a machine")
    network = [{"input": 224, "per_s": value, "cudnn": "as product"} for value in (100.0, 200.0)]
    product = [{"input": 224, "per_s": value} for value in (95.0, float("nan"), 150.0)]
    for name, rows in (("network", network), ("product", product)):
        record.section(name, 5, lambda add, rows=rows: [add(row) for row in rows])
    record.bars(bars(record))
    known = json.loads((tmp_path / "gpu.json").read_text())["bars"]
    assert (known[0]["measured"], known[0]["met"]) == (0.75, True)
    assert known[1]["met"] is None


def test_switches_are_set_back():
    before = runtime_cuda.FUSED_CONVOLUTIONS, runtime_cuda.GRAPHS
    for name, wanted in SWITCHES.items():
        with switched(name):
            assert wanted == (runtime_cuda.FUSED_CONVOLUTIONS, runtime_cuda.GRAPHS)
    assert before == (runtime_cuda.FUSED_CONVOLUTIONS, runtime_cuda.GRAPHS)


def test_a_measurement_is_the_time_of_one_call():
    assert 0.01 <= seconds_each(torch.device("cpu"), lambda: time.sleep(0.01), 0.05) < 0.1


def test_the_network_that_is_timed_is_whole():
    assert identity_blocks(whole_network()) == []
