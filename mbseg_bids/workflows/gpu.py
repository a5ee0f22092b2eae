"""Whether a run is going to use a GPU, told without loading torch: sessions then take turns on it."""

import shutil
from pathlib import Path

from mbseg_bids.settings import ExecutionSettings

_DRIVER = Path("/dev/nvidiactl")
"""There where the driver of NVIDIA GPUs is loaded, in containers too."""


def gpu_expected(execution: ExecutionSettings) -> bool:
    """Return whether the network is going to run on a GPU; with ``--device auto``, whether there seems to be one."""
    if execution.device == "auto" and execution.runtime != "openvino":
        return _DRIVER.exists() or shutil.which("nvidia-smi") is not None
    return execution.device == "cuda"
