"""nipype adapters that write what a session has computed."""

import gzip
import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from mbseg_bids.bids.files import hide_folders, write_bytes, write_json, write_text
from mbseg_bids.bids.progress import write_done
from mbseg_bids.interfaces.files import given


class _WriteDerivativeInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="file to write to the derivatives")
    output_dir = traits.Str(mandatory=True, desc="root of the derivatives")
    path = traits.Str(mandatory=True, desc="where, relative to output_dir")
    metadata = traits.Dict(desc="content of the JSON sidecar; none is written where undefined")
    computed = File(exists=True, desc="JSON of the detection workflow: its sidecar names what computed the network")
    table = traits.Str(desc="TSV text to write beside it")
    columns = traits.Dict(desc="columns to add to a TSV file, with the one value that all rows have")
    reference = File(exists=True, desc="image whose grid the file must have to the bit")


class _WriteDerivativeOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="the file written")


class WriteDerivative(SimpleInterface):
    """Write one file, its sidecar and its table to the derivatives; same content, same bytes.

    It always runs, as what it wrote before may have been removed since.
    """

    input_spec = _WriteDerivativeInputSpec
    output_spec = _WriteDerivativeOutputSpec
    _always_run = True

    def _run_interface(self, runtime):
        source = Path(self.inputs.in_file)
        target = Path(self.inputs.output_dir) / self.inputs.path
        if given(self.inputs.reference):
            require_same_grid(source, Path(self.inputs.reference))
        content = _canonical_bytes(source, compress=target.name.endswith(".gz"))
        if given(self.inputs.columns):
            content = add_columns(content.decode(), self.inputs.columns).encode()
        write_bytes(target, content)
        beside = target.parent / target.name.split(".")[0]
        if given(self.inputs.metadata):
            write_json(beside.with_suffix(".json"), self.inputs.metadata | self._computation())
        if given(self.inputs.table):
            write_text(beside.with_suffix(".tsv"), self.inputs.table)
        self._results["out_file"] = str(target)
        return runtime

    def _computation(self) -> dict[str, str]:
        """Return fields of the sidecar about library, device and precision of the network."""
        if not given(self.inputs.computed):
            return {}
        search = json.loads(Path(self.inputs.computed).read_text(encoding="utf-8"))["search"]
        return {key.capitalize(): search[key] for key in ("runtime", "device", "precision")}


class _WriteIfGivenInputSpec(_WriteDerivativeInputSpec):
    in_file = File(exists=True, desc="file to write; nothing is written where undefined")


class _WriteIfGivenOutputSpec(TraitedSpec):
    out_file = File(desc="the file written; undefined if none was")


class WriteIfGiven(WriteDerivative):
    """Write a file that not every session turns out to have."""

    input_spec = _WriteIfGivenInputSpec
    output_spec = _WriteIfGivenOutputSpec

    def _run_interface(self, runtime):
        return super()._run_interface(runtime) if given(self.inputs.in_file) else runtime


class _FinishSessionInputSpec(BaseInterfaceInputSpec):
    output_dir = traits.Str(mandatory=True, desc="root of the derivatives")
    label = traits.Str(mandatory=True, desc="sub-X or sub-X_ses-Y")
    fingerprint = traits.Str(mandatory=True, desc="of inputs and settings")
    facts = traits.Dict(mandatory=True, desc="inputs, settings, warnings, software of the session")
    anatomy = File(exists=True, desc="JSON of the anatomy workflow")
    detection = File(exists=True, desc="JSON of the detection workflow")
    quality = File(exists=True, desc="JSON of the quality workflow")
    hide = traits.Dict(desc="folders of this machine and what to write instead of them")
    out_files = InputMultiObject(File(exists=True), desc="every file written for the session")


class _FinishSessionOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="the summary")


class FinishSession(SimpleInterface):
    """Write the facts of a session to ``logs/``, then the mark that it is done, last of all its files."""

    input_spec = _FinishSessionInputSpec
    output_spec = _FinishSessionOutputSpec
    _always_run = True

    def _run_interface(self, runtime):
        output_dir = Path(self.inputs.output_dir)
        summary = dict(self.inputs.facts)
        summary["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        if given(self.inputs.quality):
            summary["quality"] = json.loads(Path(self.inputs.quality).read_text(encoding="utf-8"))
        # That counts are unreliable comes before all else.
        summary["warnings"] = [*summary.get("quality", {}).get("warnings", []), *summary.get("warnings", [])]
        summary["durations"] = {}
        for part in ("anatomy", "detection"):
            path = getattr(self.inputs, part)
            result = json.loads(Path(path).read_text(encoding="utf-8")) if given(path) else {}
            summary[part] = result
            summary["warnings"] += list(result.get("warnings") or [])
            summary["durations"][part] = result.get("durations", result.get("duration_s", {}))
        summary = hide_folders(summary, self.inputs.hide if given(self.inputs.hide) else {})
        target = output_dir / "logs" / f"{self.inputs.label}_summary.json"
        write_json(target, summary)
        files = self.inputs.out_files if given(self.inputs.out_files) else []
        write_done(output_dir, self.inputs.label, self.inputs.fingerprint, [Path(f) for f in files])
        self._results["out_file"] = str(target)
        return runtime


def require_same_grid(image: Path, reference: Path) -> None:
    """Raise ValueError unless both images have the same shape and, to the bit, the same affine."""
    ours, theirs = nib.load(image), nib.load(reference)
    if ours.shape[:3] != theirs.shape[:3] or not np.array_equal(ours.affine, theirs.affine):
        raise ValueError(f"{image.name} is not on the grid of {reference.name}")


def add_columns(table: str, columns: Mapping[str, str]) -> str:
    """Return a TSV text with columns added on the right, the same value in every row."""
    first, *rows = table.splitlines()
    lines = ["\t".join([first, *columns]), *("\t".join([row, *columns.values()]) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def _is_nifti(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def without_free_text(content: bytes) -> bytes:
    """Return a NIfTI-1 file without the fields and extensions that hold free text: converters put names there.

    The header of an output comes from the scan, so that its grid is kept to the bit; whatever a scanner or converter
    wrote into ``descrip``, ``aux_file``, ``db_name``, ``intent_name`` or an extension (a DICOM header, say) must not
    come along.
    """
    order = {b"\x5c\x01\x00\x00": "<", b"\x00\x00\x01\x5c": ">"}.get(content[:4])
    if order is None or content[344:348] != b"n+1\0":
        return content
    (offset,) = struct.unpack_from(f"{order}f", content, 108)
    header = bytearray(content[:348])
    for start, length in ((14, 18), (148, 80), (228, 24), (328, 16)):
        header[start : start + length] = bytes(length)
    struct.pack_into(f"{order}f", header, 108, 352.0)
    return bytes(header) + bytes(4) + content[max(352, int(offset)) :]


def _canonical_bytes(path: Path, *, compress: bool) -> bytes:
    """Return the bytes to write: gzip headers hold a time and a name, which would differ from run to run."""
    if path.name.endswith(".gz"):
        with gzip.open(path, "rb") as stream:
            content = stream.read()
    else:
        content = path.read_bytes()
    if _is_nifti(path):
        content = without_free_text(content)
    return gzip.compress(content, compresslevel=6, mtime=0) if compress else content
