"""Values of settings that no run could use, named by their option."""

import importlib.util
from typing import get_args

from mbseg_bids.errors import UsageError
from mbseg_bids.settings import Device, Precision, RegistrationPreset, Runtime, Settings

OUTPUT_SPACES = ("T1w", "template")
OPTIONAL_CONTRASTS = ("T1w", "T2w")
DEVICES = get_args(Device)
RUNTIMES = get_args(Runtime)
PRECISIONS = get_args(Precision)
PRESETS = get_args(RegistrationPreset)


def check_values(settings: Settings) -> None:
    """Refuse values that no run could use, naming the option."""
    detection, execution, outputs = settings.detection, settings.execution, settings.outputs
    checks = [
        (0 < detection.probability_threshold <= 1, "--probability-threshold", "give a number above 0, at most 1"),
        (detection.ratio_threshold >= 1, "--ratio-threshold", "give a number of 1 or more"),
        (detection.ratio_threshold_deep_gm >= 1, "--ratio-threshold-deep-gm", "give a number of 1 or more"),
        (0 <= detection.second_look_threshold <= 1, "--lesion-threshold", "give a number from 0 to 1"),
        (
            detection.second_look_threshold <= detection.definite_threshold <= 1,
            "--definite-threshold",
            "give a number from --lesion-threshold to 1",
        ),
        (execution.n_procs >= 1, "--n-cpus", "give a whole number of 1 or more"),
        (execution.omp_nthreads >= 1, "--omp-nthreads", "give a whole number of 1 or more"),
        (
            execution.batch_size is None or (isinstance(execution.batch_size, int) and execution.batch_size >= 1),
            "--batch-size",
            "give a whole number of 1 or more",
        ),
        (execution.mem_gb is None or execution.mem_gb > 0, "--mem-gb", "give a number above 0"),
        (settings.anatomy.random_seed >= 0, "--random-seed", "give a whole number of 0 or more"),
        (execution.device in DEVICES, "--device", f"one of: {', '.join(DEVICES)}"),
        (execution.runtime in RUNTIMES, "--runtime", f"one of: {', '.join(RUNTIMES)}"),
        (execution.precision in PRECISIONS, "--precision", f"one of: {', '.join(PRECISIONS)}"),
        (
            (execution.runtime, execution.device) != ("openvino", "cuda"),
            "--runtime",
            "openvino computes on the CPU: leave --device cuda out",
        ),
        (
            execution.runtime != "openvino" or importlib.util.find_spec("openvino") is not None,
            "--runtime",
            "openvino is not installed: pip install openvino, or leave the option out",
        ),
        (settings.anatomy.registration in PRESETS, "--registration", f"one of: {', '.join(PRESETS)}"),
        (set(outputs.spaces) <= set(OUTPUT_SPACES), "--output-spaces", f"any of: {', '.join(OUTPUT_SPACES)}"),
        (
            settings.inputs.t2star_echo == "mean" or settings.inputs.t2star_echo.isdecimal(),
            "--t2star-echo",
            "give mean or the number of an echo",
        ),
        (
            set(settings.inputs.required) <= {*OPTIONAL_CONTRASTS, "T2starw"},
            "--require-contrasts",
            f"any of: {', '.join(OPTIONAL_CONTRASTS)} (T2starw is always required)",
        ),
        (
            all(_is_mark(mark) for mark in settings.inputs.exclude_scans),
            "--exclude-scans",
            "give COLUMN=VALUE, such as quality=bad,unusable",
        ),
    ]
    for valid, option, remedy in checks:
        if not valid:
            raise UsageError(f"the value of {option} cannot be used", remedy)


def _is_mark(text: str) -> bool:
    column, _, values = text.partition("=")
    return bool(column.strip() and values.strip(" ,"))
