"""The lines of a run at work, as a terminal would show them."""

import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

from mbseg_bids.cli.terminal import LiveLines, TerminalHandler, live_lines
from mbseg_bids.workflows.account import StepEvent

STEPS = {"sub-01": ["anatomy prepare_t1w", "anatomy register_template", "detection classify"], "sub-02": ["a b"]}


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def screen(text):
    """What a terminal shows after this: knows how to go up and to wipe what is below."""
    lines, row = [""], 0
    for part in text.replace("\x1b[J", "\x1b[J\x1b").split("\x1b"):
        if part.startswith("[J"):
            lines, part = [*lines[:row], ""], ""
        elif part.startswith("["):
            number, _, part = part[1:].partition("A")
            row, part = row - int(number), part.removeprefix("\r")
        for n, piece in enumerate(part.split("\n")):
            if n:
                row += 1
                lines += [""] * (row + 1 - len(lines))
            lines[row] += piece
    return [line for line in lines if line]


@pytest.fixture
def clock():
    return Clock()


def test_a_session_shows_its_step_number_time_and_time_left(clock):
    lines = LiveLines(Terminal(), STEPS, clock)
    assert lines.text() == ["0 of 2 sessions computed"]
    lines.tell(StepEvent("sub-01", "anatomy prepare_t1w", "start"))
    assert lines.text()[0] == "sub-01  step 1 of 3, 0:00 gone: prepare T1w"
    clock.now = 50
    lines.tell(StepEvent("sub-01", "anatomy prepare_t1w", "end"))
    lines.tell(StepEvent("sub-01", "anatomy register_template", "start"))
    clock.now = 160
    # 50 + 110 of 50 + 220 + 60 usual seconds took 160: 170 more
    assert lines.text()[0] == "sub-01  step 2 of 3, 2:40 gone, about 3 min left: register template"
    clock.now = 270
    lines.tell(StepEvent("sub-01", "anatomy register_template", "end"))
    lines.tell(StepEvent("sub-01", "detection classify", "start"))
    lines.tell(StepEvent("sub-01", "detection classify", "part", 0.5))
    assert lines.text()[0] == "sub-01  step 3 of 3, 4:30 gone, less than a minute left: classify 50 %"
    lines.tell(StepEvent("sub-01", "detection classify", "part", 1.0))
    assert lines.text()[0].endswith(": classify, almost done")  # it has later rounds, of which nobody knows the number
    lines.tell(StepEvent("sub-01", "detection classify", "end"))
    assert lines.text() == ["1 of 2 sessions computed"]


def test_the_time_left_knows_a_slow_machine(clock):
    """Of 330 usual seconds 50 took 500: the step at work is believed to take 2200, not 220."""
    lines = LiveLines(Terminal(), STEPS, clock)
    lines.tell(StepEvent("sub-01", "anatomy prepare_t1w", "start"))
    clock.now = 500
    lines.tell(StepEvent("sub-01", "anatomy prepare_t1w", "end"))
    lines.tell(StepEvent("sub-01", "anatomy register_template", "start"))
    clock.now = 500 + 1100
    assert "about 28 min left" in lines.text()[0]  # 1700 s of 3300


def test_plain_lines_stay_above_and_nothing_stays_of_the_others(clock):
    terminal = Terminal()
    handler = TerminalHandler(terminal)
    lines = handler.lines = LiveLines(terminal, STEPS, clock)
    logger = logging.Logger("mbseg")
    logger.addHandler(handler)
    lines.tell(StepEvent("sub-01", "anatomy prepare_t1w", "start"))
    lines.tell(StepEvent("sub-02", "a b", "start"))
    logger.warning("first")
    logger.warning("second")
    shown = screen(terminal.getvalue())
    assert shown == ["first", "second", *lines.text()]
    assert len(shown) == 5
    lines._clear()
    assert screen(terminal.getvalue()) == ["first", "second"]


def test_no_line_is_wider_than_the_terminal_nor_are_there_too_many(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "8")
    many = {f"sub-{n:02d}": ["anatomy register_template_of_a_long_name"] for n in range(20)}
    lines = LiveLines(Terminal(), many, clock)
    for label in many:
        lines.tell(StepEvent(label, many[label][0], "start"))
    assert len(lines.text()) == 7
    assert max(map(len, lines.text())) <= 39
    assert lines.text()[-2] == "and 15 more"


@pytest.fixture
def root_handler(monkeypatch):
    def use(handler):
        monkeypatch.setattr(logging.getLogger(), "handlers", [handler])

    return use


@pytest.mark.parametrize(
    ("stream", "term", "verbosity", "drawn"),
    [(Terminal, "xterm", 0, True), (io.StringIO, "xterm", 0, False), (Terminal, "dumb", 0, False),
     (Terminal, "xterm", 1, False)],
)  # fmt: skip
def test_lines_are_drawn_in_a_terminal_only(root_handler, monkeypatch, stream, term, verbosity, drawn):
    monkeypatch.setenv("TERM", term)
    root_handler(TerminalHandler(stream(), verbosity))
    with live_lines(lambda: STEPS) as watch:
        assert (watch is not None) == drawn


def test_steps_are_plain_lines_where_no_lines_are_drawn(root_handler, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    plain, live = io.StringIO(), Terminal()
    for stream in (plain, live):
        handler = TerminalHandler(stream)
        root_handler(handler)
        record = logging.makeLogRecord({"name": "mbseg.steps", "levelno": logging.INFO, "msg": "sub-01: a done"})
        with live_lines(lambda: STEPS):
            handler.handle(record)
    assert plain.getvalue() == "sub-01: a done\n"
    assert "sub-01: a done" not in live.getvalue()


WITH_STAND_INS = """
import sys
import fake_workflows
from mbseg_bids.cli import app, participant
from mbseg_bids.workflows import base

for name in ("init_anatomy_wf", "init_detection_wf", "init_lesions_in_space_wf"):
    setattr(base, name, getattr(fake_workflows, name))
participant.build_individual_report = lambda out, who: (out / f"sub-{who}.html").write_text("<!DOCTYPE html>")
sys.exit(app.main(sys.argv[1:]))
"""


def run_in_terminal(*arguments):
    """Return the exit code and all that a pseudo-terminal of 100 columns was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    inside = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    inside |= {"TERM": "xterm", "PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[n]) for n in (1, 2))}
    command = [sys.executable, "-c", WITH_STAND_INS, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=inside, start_new_session=True)
    os.close(theirs)
    parts = []
    while True:
        try:
            parts.append(os.read(ours, 1 << 16))
        except OSError:  # so Linux tells that nobody writes any more
            break
        if not parts[-1]:
            break
    os.close(ours)
    return process.wait(60), b"".join(parts).decode().replace("\r\n", "\n")


def test_a_run_in_a_terminal(make_dataset, save_image, tmp_path):
    """One process, and a step that holds the interpreter: the line goes on, and goes away; what stays is little."""
    root = make_dataset("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
    data = 600 + np.indices((8, 9, 5)).sum(axis=0, dtype=np.float32)
    save_image(root / "sub-01/anat/sub-01_T2starw.nii.gz", data=data)
    out, work = tmp_path / "out", tmp_path / "work"
    code, text = run_in_terminal(root, out, "participant", "-w", work, "--n-cpus", "1", "--output-spaces")
    assert code == 0, text
    drawn = re.findall(r"sub-01  step (\d+) of \d+, (\d:\d\d) gone[^:]*: work\n", text)
    assert len({time for step, time in drawn if step == drawn[0][0]}) >= 3, text  # of the five seconds
    stays = screen(text)
    assert stays[0] == "checking the images of 1 session"
    assert not any(" step " in line or "nipype" in line for line in stays), stays
    assert stays[-3].split() == ["session", "outcome", "time", "warnings", "microbleeds"]
    assert stays[-2].split()[:2] == ["sub-01", "done"]
    assert stays[-2].split()[-2:] == ["1", str(out / "sub-01.html")]
    assert stays[-1] == "mbseg-bids finished: 1 session done"
