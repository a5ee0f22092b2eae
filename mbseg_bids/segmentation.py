"""Use from Python: :func:`segment` one scan, and read what came out.

Nothing but the standard library is imported until images or tables are asked for.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbseg_bids import errors
from mbseg_bids.errors import CannotWriteError, MbsegError, UsageError
from mbseg_bids.settings import Device, Settings

if TYPE_CHECKING:
    import nibabel as nib
    import pandas as pd

LOGGER = logging.getLogger("mbseg")

_FAILED = re.compile(r"^mbseg failed: (.*) \((.*)\)$")
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from mbseg_bids.cli.workbench import main; sys.exit(main())"
)


def segment(
    t2star: str | Path | nib.Nifti1Image,
    *,
    t2w: str | Path | nib.Nifti1Image | None = None,
    t1w: str | Path | nib.Nifti1Image | None = None,
    settings: Settings | None = None,
    device: Device = "auto",
    work_dir: str | Path | None = None,
) -> Segmentation:
    """Segment the microbleeds of one scan; the same anatomy, checks and report as ``mbseg-bids`` on a dataset.

    It runs ``mbseg segment`` in a process of its own: the result then does not depend on which libraries this process
    has loaded or how many threads they use. What that process says goes to the logger ``mbseg``.

    Parameters
    ----------
    t2star
        T2*-weighted image (T2* GRE or SWI magnitude), three axes: a NIfTI file, or a nibabel image. A JSON file of the
        same name beside it is read for echo time and field strength.
    t2w, t1w
        The other contrasts, where there are any: best with both. They need not lie on the grid of ``t2star``.
    settings
        Of the run, :class:`mbseg_bids.settings.Settings`. Without them: the defaults, on all CPUs.
    device
        Where the network runs: ``auto``, ``cpu`` or ``cuda``.
    work_dir
        Keeps intermediate results, so that a call that was interrupted can go on. Default: a temporary folder.

    Returns
    -------
    Segmentation
        Its files lie in a temporary folder that goes with it: :meth:`Segmentation.save` keeps them.

    Raises
    ------
    MbsegError
        Of the kind whose exit code the command ends with: UnreadableDataError for an image that cannot be used, say.

    Examples
    --------
    >>> import mbseg_bids
    >>> found = mbseg_bids.segment("t2star.nii.gz", t2w="t2w.nii.gz", t1w="t1w.nii.gz")
    >>> found.n_lesions == len(found.lesions)
    True
    >>> found.mask.shape == found.probability.shape
    True
    >>> [path.name for path in found.save("results") if path.suffix == ".html"]
    ['t2star.html']
    """
    scratch = tempfile.TemporaryDirectory(prefix="mbseg-")
    folder = Path(scratch.name)
    inputs = {name: _as_file(image, name, folder / "inputs") for name, image in _given(t2star, t2w, t1w)}
    arguments = ["segment", str(inputs["t2star"]), "-o", str(folder / "results")]
    for name in ("t2w", "t1w"):
        arguments += [f"--{name}", str(inputs[name])] if name in inputs else []
    arguments += ["-w", str(work_dir)] if work_dir is not None else []
    if settings is not None:
        if device != "auto":
            settings = replace(settings, execution=replace(settings.execution, device=device))
        (folder / "settings.toml").write_text(settings.to_toml(), encoding="utf-8")
        arguments += ["--config-file", str(folder / "settings.toml")]
    elif device != "auto":
        arguments += ["--device", device]
    _run(arguments)
    return replace(Segmentation.read(folder / "results", _stem(inputs["t2star"])), scratch=scratch)


@dataclass(frozen=True)
class Segmentation:
    """Microbleeds of one scan, read from its files when they are asked for.

    Images lie on the grid of the T2*-weighted image as acquired. Tables have the columns of docs/outputs.md.

    Examples
    --------
    >>> from mbseg_bids import Segmentation
    >>> found = Segmentation.read("earlier", "t2star")
    >>> found.n_lesions
    1
    >>> found.lesions.loc[0, "region"]
    'deep_gm'
    >>> int(found.mask.get_fdata().sum())
    2
    >>> found.report().name
    't2star.html'
    """

    folder: Path
    """Where its files are."""
    stem: str
    """Their names start with this: the name of the T2*-weighted file without ending."""
    scratch: tempfile.TemporaryDirectory | None = field(default=None, repr=False, compare=False)
    """The temporary folder that they go with; None where the files were saved."""

    @classmethod
    def read(cls, folder: str | Path, stem: str) -> Segmentation:
        """Return what ``mbseg segment`` or :meth:`save` has left in a folder.

        Raises
        ------
        UsageError
            If the folder has no results of that name.
        """
        found = cls(Path(folder), stem)
        if not found._path("_summary.json").is_file():
            raise UsageError(f"{folder} has no results of {stem}", "give the folder, and the file name without ending")
        return found

    @property
    def mask(self) -> nib.Nifti1Image:
        """1 in microbleeds, 0 elsewhere; uint8."""
        return self._image("label-CMB_mask")

    @property
    def labels(self) -> nib.Nifti1Image:
        """One integer for each microbleed: ``index`` of :attr:`lesions`."""
        return self._image("seg-CMB_dseg")

    @property
    def candidate_labels(self) -> nib.Nifti1Image:
        """One integer for each candidate: ``index`` of :attr:`candidates`."""
        return self._image("seg-CMBcandidates_dseg")

    @property
    def probability(self) -> nib.Nifti1Image:
        """Microbleed probability of the network, 0-1, before any rule; 0 where it was not asked."""
        return self._image("label-CMB_probseg")

    @property
    def brain(self) -> nib.Nifti1Image:
        """Brain mask."""
        return self._image("desc-brain_mask")

    @property
    def regions(self) -> nib.Nifti1Image:
        """Brain regions, by the numbers of :data:`mbseg_bids.imaging.labels.REGIONS`."""
        return self._image("seg-regions_dseg")

    @property
    def lesions(self) -> pd.DataFrame:
        """The lesion table: one row for each microbleed."""
        return self._table("seg-CMB_dseg")

    @property
    def candidates(self) -> pd.DataFrame:
        """Every candidate, with what became of it and why."""
        return self._table("seg-CMBcandidates_dseg")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Inputs, settings, checks, warnings, times and versions, as in ``logs/sub-X_summary.json`` of a dataset."""
        return json.loads(self._path("_summary.json").read_text(encoding="utf-8"))

    @property
    def n_lesions(self) -> int:
        """Number of microbleeds."""
        return int(self.summary["detection"]["n_lesions"])

    @property
    def warnings(self) -> list[str]:
        """What a reader must know, one sentence each."""
        return list(self.summary["warnings"])

    @property
    def methods(self) -> str:
        """Text for a methods section that says what was done, with references; Markdown."""
        return self._path("_methods.md").read_text(encoding="utf-8")

    def report(self, path: str | Path | None = None) -> Path:
        """Return the path of the report, one HTML file that needs no other; with ``path``, of a copy written there.

        Raises
        ------
        CannotWriteError
            If the copy cannot be written.
        """
        if path is None:
            return self._path(".html")
        return _copy(self._path(".html"), Path(path))

    def save(self, folder: str | Path) -> list[Path]:
        """Copy all files to a folder, made where it is not there; return the copies.

        Raises
        ------
        CannotWriteError
            If the folder holds results of another scan of the same name, or cannot be written.
        """
        from mbseg_bids.bids.plain import result_names

        before = Segmentation(Path(folder), self.stem)
        if before._path("_summary.json").is_file() and before._scan != self._scan:
            raise CannotWriteError(f"{folder} holds results of another {self.stem}", "give another folder")
        files = [path for name in result_names(self.stem) if (path := self.folder / name).is_file()]
        return [_copy(path, Path(folder) / path.name) for path in files]

    @property
    def _scan(self) -> str:
        return str(self.summary.get("t2star_sha256"))

    def _path(self, rest: str) -> Path:
        return self.folder / f"{self.stem}{rest}"

    def _image(self, name: str) -> nib.Nifti1Image:
        import nibabel as nib
        import numpy as np

        image = nib.load(self._path(f"_space-T2starw_{name}.nii.gz"))
        # In memory: the image may be kept longer than the temporary folder.
        return nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_csv(self._path(f"_space-T2starw_{name}.tsv"), sep="\t", na_values=["n/a"], keep_default_na=False)


def _copy(path: Path, target: Path) -> Path:
    from mbseg_bids.bids.files import write_bytes

    return write_bytes(target, path.read_bytes())


def _given(t2star: Any, t2w: Any, t1w: Any) -> list[tuple[str, Any]]:
    pairs = (("t2star", t2star), ("t2w", t2w), ("t1w", t1w))
    return [(name, image) for name, image in pairs if image is not None]


def _as_file(image: Any, name: str, folder: Path) -> Path:
    """Return the file of an image; what is in memory is written, its values as they are, whatever its header scales."""
    if isinstance(image, str | Path):
        return Path(image)
    import nibabel as nib
    import numpy as np

    from mbseg_bids.bids.plain import file_stem

    if not isinstance(image, nib.spatialimages.SpatialImage):
        raise UsageError(f"{name} is a {type(image).__name__}", "give the path of a NIfTI file, or a nibabel image")
    known = image.get_filename()
    stem = file_stem(Path(known)) if known and known.endswith((".nii", ".nii.gz")) else name
    data = np.asanyarray(image.dataobj)
    kind = {"b": np.uint8, "f": data.dtype if data.dtype.itemsize in (4, 8) else np.float32}.get(data.dtype.kind)
    data = data if kind is None else data.astype(kind, copy=False)
    header = image.header.copy() if isinstance(image.header, nib.Nifti1Header) else None
    if header is not None:
        header.set_data_dtype(data.dtype)
        header.set_slope_inter(1, 0)
    path = folder / name / f"{stem}.nii"
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(data, image.affine, header, dtype=data.dtype), path)
    return path


def _stem(path: Path) -> str:
    from mbseg_bids.bids.plain import file_stem

    return file_stem(path)


def _run(arguments: list[str]) -> None:
    """Run ``mbseg`` in a process of its own, with the same places to import from; pass on what it says.

    Raises
    ------
    MbsegError
        What the command ended with.
    """
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path), *arguments]
    last = ""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stderr or ():
                last = line.rstrip() or last
                LOGGER.info("%s", line.rstrip())
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise _error(process.returncode, last)


def _error(code: int, last: str) -> MbsegError:
    """Return the error that a command ended with, from its exit code and the last line it has said."""
    if code < 0:
        return errors.TemporaryError(f"the process was stopped by signal {-code}", "give more memory, or try again")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MbsegError)]
    kind = next((kind for kind in kinds if kind.exit_code == code), MbsegError)
    said = _FAILED.match(last)
    return kind(said.group(1), said.group(2)) if said else kind(last or f"exit code {code}")
