"""What the steps say reaches the log of the run with the names of session and step, from whatever process."""

import json
import logging

import pytest

from mbseg_bids.workflows import account
from mbseg_bids.workflows.account import Account, MessageFile, StepEvent, session_and_step

NODE = "mbseg_0_1_0_wf.sub_01_ses_a_wf.detection_wf.classify"


@pytest.fixture
def interfaces(monkeypatch):
    """The logger of the steps, and what comes out of it."""
    logger = logging.getLogger("nipype.interface")
    texts = []

    class Keep(logging.Handler):
        def emit(self, record):
            texts.append((record.levelname, record.getMessage()))

    monkeypatch.setattr(logger, "handlers", [Keep()])
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.INFO)
    return logger, texts


def test_names_of_nodes_become_session_and_step():
    assert session_and_step(NODE) == ("sub-01_ses-a", "detection classify")
    assert session_and_step("mbseg_wf.sub_01_wf.mean_t1w") == ("sub-01", "mean_t1w")
    assert session_and_step("other") == ("", "other")


def test_a_step_in_this_process_is_named_and_its_way_is_told(tmp_path, interfaces):
    logger, texts = interfaces
    told = []
    with Account(tmp_path, told.append, here=True) as run:
        run.tell(NODE, "start")
        logger.info("classified %d of %d voxels", 640, 1280)
        logger.warning("odd")
        run.tell(NODE, "end")
        logger.warning("between steps")
    prefix = "sub-01_ses-a: detection classify: "
    assert texts == [
        ("INFO", prefix + "classified 640 of 1280 voxels"),
        ("WARNING", prefix + "odd"),
        ("WARNING", "between steps"),
    ]
    step = ("sub-01_ses-a", "detection classify")
    assert told == [StepEvent(*step, "start"), StepEvent(*step, "part", 0.5), StepEvent(*step, "end")]


def test_what_a_worker_writes_is_read_once_and_whole(tmp_path, interfaces, monkeypatch):
    _, texts = interfaces
    handler = MessageFile(str(tmp_path))
    monkeypatch.setattr(account, "_here", NODE)
    told = []

    def work(text, *args):
        handler.emit(logging.LogRecord("nipype.interface", logging.INFO, "", 0, text, args, None))

    work("classified %d of %d voxels", 3, 4)
    monkeypatch.setattr(account, "_here", "")
    with Account(tmp_path, told.append) as run:
        run.read()
        run.read()
        (path,) = tmp_path.glob("messages-*.jsonl")
        half = json.dumps(
            {"name": "nipype.interface", "level": 30, "node": NODE, "text": "late", "part": 0, "created": 1}
        )
        with path.open("a") as stream:
            stream.write(half[:20])
            stream.flush()
            run.read()
            stream.write(half[20:] + "\nnot JSON\n")
    prefix = "sub-01_ses-a: detection classify: "
    assert texts == [("INFO", prefix + "classified 3 of 4 voxels"), ("WARNING", prefix + "late")]
    assert [event.part for event in told] == [0.75]


def test_a_worker_that_cannot_write_goes_on(tmp_path):
    handler = MessageFile(str(tmp_path / "nowhere"))
    handler.emit(logging.LogRecord("nipype.interface", logging.INFO, "", 0, "text", (), None))
