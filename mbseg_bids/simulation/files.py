"""The files of a simulated dataset: images, sidecars, truth."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.mimics import MIMICS
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.session import Session

LESION_COLUMNS = {
    "region": "Region that most voxels of the microbleed lie in",
    "volume_mm3": ("Volume of the voxels labelled", "mm^3"),
    "n_voxels": "Number of voxels of the T2*-weighted scan",
    "diameter_mm": ("Diameter of the sphere of the same volume", "mm"),
    "i": "Centroid, voxel index along the first axis of the image",
    "j": "Centroid, voxel index along the second axis of the image",
    "k": "Centroid, voxel index along the third axis of the image",
    "x_mm": ("Centroid, scanner RAS+", "mm"),
    "y_mm": ("Centroid, scanner RAS+", "mm"),
    "z_mm": ("Centroid, scanner RAS+", "mm"),
    "n_slices": "Number of slices that the microbleed is seen on",
    "radius_mm": ("Radius of the sphere of haemosiderin (the volume seen is larger: blooming)", "mm"),
    "dchi_ppm": "Susceptibility of the haemosiderin relative to tissue (ppm, SI)",
    "minimum_ratio": "Lowest noise-free signal with the microbleed, relative to the signal without it",
    "source": "Number of the microbleed in this person: the same at every session",
}


def write_session(
    folder: Path, participant: str, session: str | None, made: Session, protocol: Protocol
) -> tuple[Path, Path, str, dict[str, Any]]:
    """Write the images of a session into the dataset and its truth into `derivatives/truth`.

    Beside a phase, the T2*-weighted magnitude is called so (`part-mag`).

    Returns
    -------
    Both folders, how names of the session begin, and where the truth comes from, for its sidecars.
    """
    entities = "_".join(part for part in (participant, session) if part)
    place = Path(participant) / (session or "") / "anat"
    raw = folder / place
    raw.mkdir(parents=True, exist_ok=True)
    for suffix, volume in made.images.items():
        name = f"{entities}_{_part(made)}{suffix}" if suffix == "T2starw" else f"{entities}_{suffix}"
        save_image(raw / f"{name}.nii.gz", Volume(volume.data, volume.affine), np.int16)
        write_json(raw / f"{name}.json", sidecar(suffix, protocol))
    truth = folder / "derivatives" / "truth" / place
    truth.mkdir(parents=True, exist_ok=True)
    uri = f"bids:raw:{(place / f'{entities}_{_part(made)}T2starw.nii.gz').as_posix()}"
    source = {"Sources": [uri], "SpatialReference": uri}
    stem = f"{entities}_space-T2starw"
    table = made.lesion_table.assign(source=[number + 1 for number in made.features])
    save_image(truth / f"{stem}_seg-CMB_dseg.nii.gz", made.lesions, np.int16)
    write_json(truth / f"{stem}_seg-CMB_dseg.json", source | described(LESION_COLUMNS))
    table.to_csv(truth / f"{stem}_seg-CMB_dseg.tsv", sep="\t", index=False, na_rep="n/a", float_format="%.6g")
    for name, volume, names in (("regions", made.regions, REGIONS), ("mimics", made.mimics, MIMICS)):
        save_image(truth / f"{stem}_seg-{name}_dseg.nii.gz", volume, np.uint8)
        write_json(truth / f"{stem}_seg-{name}_dseg.json", source)
        look_up = pd.DataFrame({"index": names.keys(), "name": names.values()})
        look_up.to_csv(truth / f"{stem}_seg-{name}_dseg.tsv", sep="\t", index=False)
    save_image(truth / f"{stem}_desc-brain_mask.nii.gz", made.brain, np.uint8)
    write_json(truth / f"{stem}_desc-brain_mask.json", source | {"Type": "Brain"})
    return raw, truth, entities, source


def _part(made: Session) -> str:
    return "part-mag_" if made.phase is not None else ""


def save_image(path: Path, volume: Volume, dtype: type) -> None:
    """Write NIfTI in scanner space. Float images go into integers with a scale factor, as scanners write them."""
    image = nib.Nifti1Image(volume.data, volume.affine)
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    image.set_data_dtype(dtype)
    if not np.issubdtype(volume.data.dtype, np.floating):
        image = nib.Nifti1Image(volume.data.astype(dtype), volume.affine, image.header)
    nib.save(image, path)


def sidecar(suffix: str, protocol: Protocol) -> dict[str, Any]:
    """BIDS metadata of one contrast; times in seconds."""
    spacing = {"T2starw": protocol.spacing, "T2w": protocol.t2w_spacing, "T1w": protocol.t1w_spacing}[suffix]
    common = {
        "Modality": "MR",
        "Manufacturer": "mbseg-bids simulation",
        "MagneticFieldStrength": protocol.field_strength,
        "SliceThickness": spacing[2],
        "MRAcquisitionType": "3D" if spacing[2] <= 2 else "2D",
    }
    if suffix == "T2starw":
        times = (protocol.echo_time, protocol.repetition_time, protocol.flip_angle)
        extra: dict[str, Any] = {"ScanningSequence": "GR", "PulseSequenceType": "Spoiled Gradient Echo"}
    elif suffix == "T2w":
        times = (protocol.t2w_echo_time, protocol.t2w_repetition_time, 150.0)
        extra = {"ScanningSequence": "SE", "PulseSequenceType": "Turbo Spin Echo"}
    elif protocol.t1w == "mprage":
        times = (3.0, 2300.0, 9.0)
        extra = {"ScanningSequence": ["GR", "IR"], "PulseSequenceType": "MPRAGE", "InversionTime": 0.95}
    else:
        times = (4.0, 20.0, 25.0)
        extra = {"ScanningSequence": "GR", "PulseSequenceType": "Spoiled Gradient Echo"}
    echo, repetition, flip = times
    return common | extra | {"EchoTime": echo / 1e3, "RepetitionTime": repetition / 1e3, "FlipAngle": flip}


def described(columns: dict[str, Any]) -> dict[str, Any]:
    """BIDS sidecar of columns: each a description, a pair of description and unit, or the entry itself."""
    described = {}
    for name, text in columns.items():
        if isinstance(text, dict):
            described[name] = text
        elif isinstance(text, tuple):
            described[name] = {"Description": text[0], "Units": text[1]}
        elif text is not None:
            described[name] = {"Description": text}
    return described


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a sidecar."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_table(path: Path, table: pd.DataFrame, columns: dict[str, Any]) -> None:
    """Write a table and its sidecar."""
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    write_json(path.with_suffix(".json"), described(columns))
