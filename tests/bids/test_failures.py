import json

from mbseg_bids.bids.failures import remove_failure, step_name, traceback_of, write_failure
from mbseg_bids.errors import UnreadableDataError

CRASH = """Node: mbseg_wf.sub_02_wf.detection_wf.classify
Working directory: /home/ann/classify

Traceback (most recent call last):
  File "/opt/python/nipype/pipeline/plugins/linear.py", line 45, in run
    node.run(updatehash=updatehash)
nipype.pipeline.engine.nodes.NodeExecutionError: Exception raised while executing Node classify.

Traceback:
\tTraceback (most recent call last):
\t  File "/home/ann/mbseg_bids/detection/search_mask.py", line 58, in search_region
\t    for quotient in settings.seed_quotient:
\t                    ^^^^^^^^^^^^^^^^^^^^^^
\tAttributeError: no attribute 'seed_quotient' in '/home/ann/x.nii.gz'
"""


def test_a_failure_is_told_without_the_folders_of_the_machine(tmp_path):
    error = UnreadableDataError("no attribute 'seed_quotient' in '/data/ann/x.nii.gz'", "see /work dir/crash.txt")
    node = "mbseg_wf.sub_02_wf.detection_wf.classify"
    path = write_failure(tmp_path, "sub-02", error, {"/data/ann": "<bids_dir>"}, step=node, crash=CRASH)
    found = json.loads(path.read_text())
    assert path.relative_to(tmp_path).as_posix() == "logs/sub-02_failure.json"
    assert found["step"] == "detection classify"
    assert (found["exit_code"], found["error"]) == (65, "no attribute 'seed_quotient' in '<bids_dir>/x.nii.gz'")
    assert found["traceback"] == [
        '  File "search_mask.py", line 58, in search_region',
        "    for quotient in settings.seed_quotient:",
        "AttributeError: no attribute 'seed_quotient' in 'x.nii.gz'",
    ]
    assert "ann" not in path.read_text()
    remove_failure(tmp_path, "sub-02")
    remove_failure(tmp_path, "sub-02")
    assert not path.exists()


def test_a_session_that_reached_no_step_has_neither_step_nor_traceback(tmp_path):
    path = write_failure(tmp_path, "sub-02", UnreadableDataError("empty image", "get it again"), {})
    found = json.loads(path.read_text())
    assert (found["step"], found["traceback"]) == ("", [])
    assert step_name("other") == "other"
    assert traceback_of("no traceback here") == []
