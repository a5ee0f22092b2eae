import time

import pytest

from mbseg_bids.workflows.multiproc import ResilientMultiProc


@pytest.fixture
def runner():
    runner = ResilientMultiProc({"n_procs": 1, "memory_gb": 1, "mp_context": "forkserver"})
    yield runner
    runner.stop()


def test_stopping_does_not_wait_for_what_is_running(runner):
    future = runner.pool.submit(time.sleep, 300)
    deadline = time.monotonic() + 60
    while not future.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = list(runner.pool._processes.values())
    runner.stop()
    for worker in workers:
        worker.join(timeout=30)
        assert worker.exitcode is not None


def test_a_result_that_cannot_be_had_is_a_failure_not_a_wait(runner):
    class Broken:
        def exception(self):
            return FileNotFoundError("result.pklz")

    runner._keep_result(7, None, False, Broken())
    assert runner._get_result(7)["traceback"][-1].startswith("FileNotFoundError: result.pklz")
