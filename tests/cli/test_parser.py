import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mbseg_bids.cli.parser import parse_request
from mbseg_bids.errors import UnknownLevelError, UsageError

POSITIONAL = ["raw", "out", "participant"]


def parse(*extra):
    return parse_request([*POSITIONAL, *map(str, extra)])


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from mbseg_bids.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'nibabel', 'pandas', 'bids', 'nipype', 'torch', 'scipy'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("HEAVY []\n")
    assert "usage: mbseg-bids" in done.stdout


@pytest.mark.parametrize(
    ("module", "option"),
    [("mbseg_bids", "--help"), ("mbseg_bids", "--version"), ("mbseg_bids.cli.workbench", "--help")],
)
def test_help_and_version_take_less_than_a_second(module, option):
    """Of processor time: a busy machine takes nothing from it."""
    code = f"import runpy, sys; sys.argv = ['x', {option!r}]; runpy.run_module({module!r}, run_name='__main__')"
    if module.endswith("workbench"):
        code = f"from {module} import main; main([{option!r}])"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


@pytest.mark.parametrize("option", ["--participant-label", "--participant_label"])
@pytest.mark.parametrize("values", [["01", "02"], ["sub-01", "sub-02"], ["01,sub-02"], ["01", "02", "sub-01"]])
def test_labels_in_every_spelling(option, values):
    assert parse(option, *values).participants == ("01", "02")


def test_session_labels_lose_their_prefix():
    assert parse("--session-label", "ses-a", "b").sessions == ("a", "b")
    assert parse("--session_label", "a").sessions == ("a",)


@pytest.mark.parametrize(
    ("arguments", "table", "key", "value"),
    [
        (["--ratio-threshold", "1.3"], "detection", "ratio_threshold", 1.3),
        (["--ratio-threshold-deep-gm", "1.6"], "detection", "ratio_threshold_deep_gm", 1.6),
        (["--probability-threshold", "0.4"], "detection", "probability_threshold", 0.4),
        (["--exhaustive"], "detection", "exhaustive", True),
        (["--no-false-positive-reduction"], "detection", "second_look", False),
        (["--no-second-look"], "detection", "second_look", False),
        (["--no-reader-criteria"], "detection", "reader_criteria", False),
        (["--lesion-threshold", "0.2"], "detection", "second_look_threshold", 0.2),
        (["--second-look-threshold", "0.2"], "detection", "second_look_threshold", 0.2),
        (["--definite-threshold", "0.9"], "detection", "definite_threshold", 0.9),
        (["--device", "cpu"], "execution", "device", "cpu"),
        (["--runtime", "pytorch"], "execution", "runtime", "pytorch"),
        (["--precision", "float32"], "execution", "precision", "float32"),
        (["--batch-size", "8"], "execution", "batch_size", 8),
        (["--n-cpus", "3"], "execution", "n_procs", 3),
        (["--nprocs", "3"], "execution", "n_procs", 3),
        (["--omp-nthreads", "2"], "execution", "omp_nthreads", 2),
        (["--nthreads", "3"], "execution", "n_procs", 3),
        (["--mem-gb", "6"], "execution", "mem_gb", 6.0),
        (["--mem_mb", "6000"], "execution", "mem_gb", 6.0),
        (["--mem-mb", "6000"], "execution", "mem_gb", 6.0),
        (["--low-mem"], "execution", "n_procs", 1),
        (["--low-mem", "--n-cpus", "3"], "execution", "n_procs", 3),
        (["--low-mem", "--omp-nthreads", "5"], "execution", "omp_nthreads", 5),
        (["--notrack"], "execution", "device", "auto"),
        (["--exclude-scans", "quality=bad", "a=b"], "inputs", "exclude_scans", ("quality=bad", "a=b")),
        (["--ignore-phase"], "inputs", "use_phase", False),
        (["--stop-on-first-crash"], "execution", "stop_on_first_crash", True),
        (["--resource-monitor"], "execution", "resource_monitor", True),
        (["--write-graph"], "execution", "write_graph", True),
        (["--clean-workdir"], "execution", "clean_workdir", True),
        (["--random-seed", "5"], "anatomy", "random_seed", 5),
        (["--registration", "coarse"], "anatomy", "registration", "coarse"),
        (["--t2star-suffix", "swi", "T2starw"], "inputs", "t2star_suffix", ("swi", "T2starw")),
        (["--t2star-echo", "2"], "inputs", "t2star_echo", "2"),
        (["--output-spaces"], "outputs", "spaces", ()),
        (["--output-spaces", "T1w"], "outputs", "spaces", ("T1w",)),
    ],
)
def test_options_end_in_the_settings(arguments, table, key, value):
    assert parse(*arguments).settings.as_dict()[table][key] == value


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ratio-threshold", "0.9"],
        ["--probability-threshold", "0"],
        ["--lesion-threshold", "1.2"],
        ["--definite-threshold", "0.2"],
        ["--probability-threshold", "nan"],
        ["--n-cpus", "0"],
        ["--batch-size", "0"],
        ["--mem-gb", "-1"],
        ["--device", "tpu"],
        ["--runtime", "tensorflow"],
        ["--runtime", "openvino", "--device", "cuda"],
        ["--precision", "int8"],
        ["--registration", "fine"],
        ["--output-spaces", "fsaverage"],
        ["--t2star-echo", "last"],
        ["--random-seed", "-1"],
        ["--participant-label", "a_b"],
        ["--derivatives", "=x"],
        ["--reports-only", "--boilerplate-only"],
        ["--no-such-option"],
        ["--mem-gb", "6", "--mem-mb", "6000"],
        ["--mem-mb", "-1"],
        ["--exclude-scans", "quality"],
        ["--n-cpus", "many"],
    ],
)
def test_values_that_no_run_could_use_are_usage_errors(arguments):
    with pytest.raises(UsageError):
        parse(*arguments)


def test_unknown_level_has_its_own_error():
    with pytest.raises(UnknownLevelError, match="one of: participant, group"):
        parse_request(["raw", "out", "session"])


def test_settings_file_is_read_and_the_command_line_wins(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('[detection]\nratio_threshold = 1.5\nexhaustive = true\n[inputs]\nt2star_suffix = ["swi"]\n')
    settings = parse("--config-file", path, "--ratio-threshold", "1.1").settings
    assert settings.detection.ratio_threshold == 1.1
    assert settings.detection.exhaustive
    assert settings.inputs.t2star_suffix == ("swi",)


def test_settings_written_are_read_back(tmp_path):
    settings = parse("--t2star-suffix", "swi", "--output-spaces", "--mem-gb", "4").settings
    path = tmp_path / "settings.toml"
    path.write_text(settings.to_toml())
    assert parse("--config-file", path).settings == settings


@pytest.mark.parametrize("text", ["[detection]\nratio = 1\n", "[detect]\n", "x =", '[outputs]\nspaces = "T1w"\n'])
def test_bad_settings_files_are_usage_errors(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        parse("--config-file", path)


def test_derivatives_have_names_and_may_be_repeated(tmp_path):
    request = parse("-d", f"smriprep={tmp_path}", "--derivatives", "synthseg=/b")
    assert request.derivatives == {"smriprep": tmp_path, "synthseg": Path("/b")}


def test_by_default_all_cpus_that_may_be_used_are():
    execution = parse().settings.execution
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert execution.n_procs == allowed
    assert execution.omp_nthreads == min(allowed, 8)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--participant-label", "02", "raw", "out", "participant"],
        ["raw", "--participant_label", "02", "out", "participant", "-w", "work"],
    ],
)
def test_an_option_that_takes_the_folders_is_named_with_the_way_out(arguments):
    with pytest.raises(UsageError, match=r"has taken all words after it, 02 .*out participant") as told:
        parse_request(arguments)
    place = arguments.index("02") + 1
    assert "-- between" in told.value.remedy
    request = parse_request(
        [*arguments[:place], "--", *arguments[place:]][: len(arguments) + 1 - 2 * ("-w" in arguments)]
    )
    assert request.participants == ("02",)


def test_arguments_that_are_only_missing_are_named_as_ever():
    with pytest.raises(UsageError, match="required: output_dir"):
        parse_request(["raw", "--participant-label", "02"])


@pytest.mark.parametrize(
    "option",
    [["--participant-label", "01"], ["--session-label", "1"], ["--reports-only"], ["--boilerplate-only"],
     ["--exclude-scans", "a=b"], ["--bids-filter-file", "f.json"]],
)  # fmt: skip
def test_what_the_group_level_would_pass_over_is_refused(option):
    with pytest.raises(UsageError, match=f"{option[0]} is for the participant level"):
        parse_request(["raw", "out", "group", *option])
