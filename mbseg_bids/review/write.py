"""Images and sidecars of a reviewed result, after those of the automatic one."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from mbseg_bids.bids.files import write_bytes, write_json
from mbseg_bids.bids.outputs import reviewed_name
from mbseg_bids.bids.reviewed import sidecar_of_review


def write_labels(like: Path, labels: npt.NDArray[np.integer], path: Path | None = None) -> Path:
    """Write labels with the header of another image, under the reviewed name of ``path`` (of that image if None)."""
    image = nib.load(like)
    header = image.header.copy()
    kind = np.min_scalar_type(max(255, int(labels.max(initial=0))))
    header.set_data_dtype(kind)
    made = nib.Nifti1Image(labels.astype(kind), image.affine, header)
    path = path or like
    return write_bytes(path.with_name(reviewed_name(path.name)), gzip.compress(made.to_bytes(), 6, mtime=0))


def write_sidecar(output_dir: Path, path: Path, text: str, record: Mapping[str, Any], table: str = "") -> None:
    """Write the sidecar of a reviewed file from that of the automatic one; nothing where there is none."""
    if not path.is_file():
        return
    sources = [
        p.relative_to(output_dir) for p in (path.with_suffix(".nii.gz"), path.with_suffix(".tsv")) if p.is_file()
    ]
    automatic = json.loads(path.read_text(encoding="utf-8"))
    content = sidecar_of_review(automatic, text, sources, record, table=table)
    write_json(path.with_name(reviewed_name(path.name)), content)
