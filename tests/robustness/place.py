"""Where a case of the corpus is built and run, and what is noted of the run."""

import contextlib
import io
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fake_workflows
import nibabel as nib
import numpy as np

NOBODY = 65534
LAST_LINE = re.compile(r"mbseg-bids (finished: .+|failed: .+ \(.+\))")


@dataclass
class Place:
    """Folders of one case: a dataset of two participants, of whom sub-01 is odd and sub-02 is not."""

    root: Path
    raw: Path = field(init=False)
    out: Path = field(init=False)
    work: Path = field(init=False)

    def __post_init__(self) -> None:
        self.raw, self.out, self.work = (self.root / name for name in ("raw", "out", "work"))
        self.rng = np.random.default_rng(2022)
        write_json(self.raw / "dataset_description.json", {"Name": "odd", "BIDSVersion": "1.10.0"})
        for name in ("T1w", "T2starw"):
            self.save(self.path(name))
        self.save(self.path("T2starw", "02"))

    def path(self, contrast: str = "T2starw", participant: str = "01") -> Path:
        """Return the path of an image."""
        return self.raw / f"sub-{participant}" / "anat" / f"sub-{participant}_{contrast}.nii.gz"

    @property
    def t2star(self) -> Path:
        """T2*-weighted image of sub-01, which most cases spoil."""
        return self.path()

    def noise(self, shape: Sequence[int] = (8, 9, 5)) -> np.ndarray:
        """Return positive noise."""
        return self.rng.normal(100, 20, shape).clip(1).astype(np.float32)

    def save(self, path: Path, data=None, affine=None, image_class=nib.Nifti1Image) -> nib.Nifti1Image:
        """Write an image, noise of 1 x 1 x 2 mm unless told otherwise."""
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine
        image = image_class(self.noise() if data is None else data, affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, path)
        return image

    def sidecar(self, content, path: Path | None = None) -> Path:
        """Write the sidecar of an image, bytes as they are or anything as JSON."""
        path = (path or self.t2star).with_name((path or self.t2star).name.split(".")[0] + ".json")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_json(path, content)
        return path


@dataclass
class Ran:
    """What a run printed, ended with and left."""

    code: int
    out: str
    err: str
    place: Place

    @property
    def last_line(self) -> str:
        """The line that says how it ended."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""

    @property
    def printed(self) -> str:
        """Everything printed."""
        return self.out + self.err

    def session(self, label: str) -> dict[str, str]:
        """Return the row of a session in the newest table of sessions; empty without one."""
        for table in sorted((self.place.out / "logs").glob("run-*_sessions.tsv"), key=lambda p: p.stat().st_mtime_ns):
            header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
            for row in rows:
                if row[0] == label:
                    return dict(zip(header, row, strict=True))
        return {}

    def left(self, label: str) -> str:
        """Return what is on disk of a session: complete, incomplete (and marked as such), nothing, or a lie."""
        out = self.place.out
        if out == self.place.raw:
            return "the input as it was" if not (out / "logs").exists() else "files in the input"
        try:
            mark = json.loads((out / "logs" / f"{label}_done.json").read_text())
        except (OSError, ValueError):
            files = [p for p in out.glob(f"{label}*/**/*") if p.is_file()]
            marked = (out / "logs" / f"{label}_incomplete.txt").exists()
            return "marked incomplete" if marked else "nothing" if not files else "files without a mark"
        return "complete" if all((out / name).is_file() for name in mark["files"]) else "done mark without its files"

    def shown(self, text: str) -> str:
        """Return a text for the documentation: folders by their names, no column break."""
        place = self.place
        names = {place.raw: "BIDS_DIR", place.out: "OUTPUT_DIR", place.work: "WORK_DIR", place.root: "..."}
        for folder, name in names.items():
            text = text.replace(str(folder), name)
        return text.replace("|", "\\|").strip()


def write_json(path: Path, content) -> None:
    """Write JSON, and the folder it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Replace what computes on images, and the report, by what takes milliseconds."""
    from mbseg_bids.bids.files import write_text
    from mbseg_bids.cli import participant
    from mbseg_bids.workflows import base

    names = ("init_anatomy_wf", "init_detection_wf", "init_lesions_in_space_wf")
    before = {name: getattr(base, name) for name in names}, participant.build_individual_report
    try:
        for name in names:
            setattr(base, name, getattr(fake_workflows, name))
        participant.build_individual_report = lambda out, who: write_text(out / f"sub-{who}.html", "<!DOCTYPE html>\n")
        yield
    finally:
        for name, original in before[0].items():
            setattr(base, name, original)
        participant.build_individual_report = before[1]


def run_app(place: Place, *more: str | Path, level: str = "participant", bids_dir: Path | None = None) -> Ran:
    """Run the app in this process as a user would."""
    from mbseg_bids.cli import app

    words = [bids_dir or place.raw, place.out, level, "-w", place.work, "--n-cpus", "1"]
    words += ["--output-spaces"] if level == "participant" else []
    out, err = io.StringIO(), io.StringIO()
    raised, handlers = logging.raiseExceptions, logging.getLogger().handlers[:]
    try:
        with stand_ins(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = app.main([str(word) for word in (*words, *more)])
    finally:
        logging.raiseExceptions = raised
        logging.getLogger().handlers = handlers
    return Ran(code, out.getvalue(), err.getvalue(), place)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Give up the rights of root for a while, where they are had."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def open_to_all(folder: Path) -> None:
    """Let everybody write in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)


def clean(root: Path) -> None:
    """Remove a place whose rights were taken away."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(root, ignore_errors=True)


Build = Callable[[Place], list | None]
