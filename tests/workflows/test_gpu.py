import pytest

from mbseg_bids.settings import ExecutionSettings, Settings
from mbseg_bids.workflows import gpu
from mbseg_bids.workflows.detection import init_detection_wf
from mbseg_bids.workflows.execution import plugin_of


@pytest.mark.parametrize(
    ("device", "runtime", "driver", "expected"),
    [
        ("cuda", "auto", False, True),
        ("auto", "auto", True, True),
        ("auto", "auto", False, False),
        ("auto", "openvino", True, False),
        ("cpu", "auto", True, False),
    ],
)
def test_sessions_take_turns_on_a_gpu_and_leave_it_the_cpus(tmp_path, monkeypatch, device, runtime, driver, expected):
    file = tmp_path / "nvidiactl"
    if driver:
        file.touch()
    monkeypatch.setattr(gpu, "_DRIVER", file)
    monkeypatch.setattr(gpu.shutil, "which", lambda _: None)
    execution = {"device": device, "runtime": runtime, "n_procs": 4, "omp_nthreads": 4}
    node = init_detection_wf(settings=Settings().override(execution=execution)).get_node("classify")
    assert node.is_gpu_node() is expected
    assert node.n_procs == (1 if expected else 4)
    assert node.inputs.n_workers == 4
    assert plugin_of(ExecutionSettings(**execution))[1].get("n_gpu_procs") == (1 if expected else None)
