"""Write simulated sessions as a BIDS dataset, their truth as a derivative of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from mbseg_bids import __version__
from mbseg_bids.errors import CannotWriteError
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.anatomy import make_anatomy
from mbseg_bids.simulation.geometry import small_move
from mbseg_bids.simulation.lesions import draw_microbleeds
from mbseg_bids.simulation.mimics import MIMICS, draw_mimics
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.session import Session, move_head, simulate_session
from mbseg_bids.simulation.susceptibility import Feature

BIDS_VERSION = "1.10.0"

_TRUTH_COLUMNS = {
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

_README = """\
# Simulated brains with cerebral microbleeds

Made by `mbseg simulate` (mbseg-bids {version}, seed {seed}); these people do not exist.
T1w, T2w and T2*-weighted images come from tissue relaxation and, for the T2*-weighted ones, from the magnetic field
about every microbleed and vein. The microbleeds that can be seen, voxel by voxel, are in `derivatives/truth`: a voxel
belongs to a microbleed if that leaves less than 0.7 of its noise-free signal.

The expected number of microbleeds of a person doubles every 20 years of age and is 2.5 times as high with
hypertension; over people it is negative binomial. A fixed range asked for on the command line replaces this.
"""


@dataclass(frozen=True)
class DatasetPlan:
    """What to make.

    Attributes
    ----------
    participants
        How many.
    sessions
        Sessions of each participant in turn, from the start again when used up; 1 means no session level.
    seed
        Of everything random.
    lesions
        Fewest and most microbleeds per participant; None for a number that depends on age and hypertension.
    new_lesions
        Mean number of new microbleeds from one session to the next.
    protocol
        Of every session.
    mimic_load
        Multiplies the number of vessels.
    """

    participants: int = 2
    sessions: tuple[int, ...] = (1,)
    seed: int = 0
    lesions: tuple[int, int] | None = None
    new_lesions: float = 2.0
    protocol: Protocol = field(default_factory=Protocol)
    mimic_load: float = 0.6


def write_dataset(
    folder: Path,
    labelmaps: Sequence[Volume],
    plan: DatasetPlan,
    *,
    grey_white: tuple[Volume, Volume] | None = None,
) -> pd.DataFrame:
    """Make the dataset.

    Parameters
    ----------
    folder
        Made if absent; must be empty otherwise.
    labelmaps
        Used in turn, one a participant.
    plan
        What to make.
    grey_white
        See `anatomy.make_anatomy`.

    Returns
    -------
    One row a session: participant_id, session_id, n_microbleeds (visible).

    Raises
    ------
    CannotWriteError
        The folder holds something already, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CannotWriteError(f"{folder} is not empty", "give a new folder")
        truth = folder / "derivatives" / "truth"
        _write_descriptions(folder, truth, plan)
        rows, people = [], []
        for number in range(plan.participants):
            rng = np.random.default_rng([plan.seed, number])
            person = _draw_person(f"sub-{number + 1:02d}", rng)
            people.append(person)
            rows += _write_participant(
                folder,
                labelmaps[number % len(labelmaps)],
                plan,
                person,
                plan.sessions[number % len(plan.sessions)],
                rng,
                grey_white,
            )
        _write_table(folder / "participants.tsv", pd.DataFrame(people), _PARTICIPANT_COLUMNS)
    except OSError as error:
        raise CannotWriteError(f"cannot write {folder}: {error}", "check permissions and free space") from error
    return pd.DataFrame(rows)


_PARTICIPANT_COLUMNS: dict[str, Any] = {
    "participant_id": None,
    "age": ("Age at the first session", "year"),
    "sex": {"Description": "Drawn at random, without influence on anything", "Levels": {"F": "female", "M": "male"}},
    "hypertension": {
        "Description": "Raises the expected number of microbleeds",
        "Levels": {"yes": "present", "no": "absent"},
    },
}


def _draw_person(participant: str, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "participant_id": participant,
        "age": int(rng.integers(55, 88)),
        "sex": str(rng.choice(["F", "M"])),
        "hypertension": str(rng.choice(["yes", "no"])),
    }


def draw_lesion_count(age: float, hypertension: bool, rng: np.random.Generator) -> int:
    """Number of microbleeds: negative binomial, about a third of people without any at 70 years, at most 60."""
    mean = 2.5 * 2 ** ((age - 70) / 20) * (2.5 if hypertension else 1.0)
    return int(min(60, rng.poisson(mean * rng.gamma(0.7, 1 / 0.7))))


def _write_participant(
    folder: Path,
    labelmap: Volume,
    plan: DatasetPlan,
    person: dict[str, Any],
    n_sessions: int,
    rng: np.random.Generator,
    grey_white: tuple[Volume, Volume] | None,
) -> list[dict[str, Any]]:
    """Simulate and write all sessions of a participant: one head, the same lesions and a few new ones each time."""
    participant = person["participant_id"]
    anatomy = make_anatomy(labelmap, rng, age=person["age"], grey_white=grey_white)
    if plan.lesions is None:
        n = draw_lesion_count(person["age"], person["hypertension"] == "yes", rng)
    else:
        n = int(rng.integers(plan.lesions[0], plan.lesions[1] + 1))
    mimics = draw_mimics(anatomy, rng, load=plan.mimic_load)
    lesions: list[Feature] = draw_microbleeds(anatomy, n, rng)
    person_seed = int(rng.integers(2**31))
    centre = anatomy.labels.affine[:3, 3] + np.array(anatomy.labels.shape) / 2
    rows, visits = [], []
    for visit in range(n_sessions):
        if visit:
            new = int(rng.poisson(plan.new_lesions))
            lesions = lesions + draw_microbleeds(anatomy, new, rng, avoid=[lesion.centre for lesion in lesions])
        head, features = move_head(anatomy, [*lesions, *mimics], small_move(rng, 3.0, 0.04, centre))
        protocol = replace(plan.protocol, tilt=tuple(rng.normal(0, (0.15, 0.02, 0.02)).tolist()))
        session = simulate_session(head, features, protocol, rng, person_seed=person_seed)
        label = f"ses-{visit + 1:02d}" if n_sessions > 1 else None
        write_session(folder, participant, label, session, protocol)
        visits.append({"session_id": label, "years": 2.0 * visit})
        rows.append({"participant_id": participant, "session_id": label, "n_microbleeds": len(session.lesion_table)})
    if n_sessions > 1:
        columns = {"session_id": None, "years": ("Time since the first session", "year")}
        _write_table(folder / participant / f"{participant}_sessions.tsv", pd.DataFrame(visits), columns)
    return rows


def write_session(folder: Path, participant: str, session: str | None, made: Session, protocol: Protocol) -> None:
    """Write the images of a session into the dataset and its truth into `derivatives/truth`."""
    entities = "_".join(part for part in (participant, session) if part)
    place = Path(participant) / (session or "") / "anat"
    raw = folder / place
    raw.mkdir(parents=True, exist_ok=True)
    for suffix, volume in made.images.items():
        save_image(raw / f"{entities}_{suffix}.nii.gz", Volume(volume.data, volume.affine), np.int16)
        _write_json(raw / f"{entities}_{suffix}.json", sidecar(suffix, protocol))
    truth = folder / "derivatives" / "truth" / place
    truth.mkdir(parents=True, exist_ok=True)
    uri = f"bids:raw:{(place / f'{entities}_T2starw.nii.gz').as_posix()}"
    source = {"Sources": [uri], "SpatialReference": uri}
    stem = f"{entities}_space-T2starw"
    table = made.lesion_table.assign(source=[number + 1 for number in made.features])
    save_image(truth / f"{stem}_seg-CMB_dseg.nii.gz", made.lesions, np.int16)
    _write_json(truth / f"{stem}_seg-CMB_dseg.json", source | _described(_TRUTH_COLUMNS))
    table.to_csv(truth / f"{stem}_seg-CMB_dseg.tsv", sep="\t", index=False, na_rep="n/a", float_format="%.6g")
    for name, volume, names in (("regions", made.regions, REGIONS), ("mimics", made.mimics, MIMICS)):
        save_image(truth / f"{stem}_seg-{name}_dseg.nii.gz", volume, np.uint8)
        _write_json(truth / f"{stem}_seg-{name}_dseg.json", source)
        look_up = pd.DataFrame({"index": names.keys(), "name": names.values()})
        look_up.to_csv(truth / f"{stem}_seg-{name}_dseg.tsv", sep="\t", index=False)
    save_image(truth / f"{stem}_desc-brain_mask.nii.gz", made.brain, np.uint8)
    _write_json(truth / f"{stem}_desc-brain_mask.json", source | {"Type": "Brain"})


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
        extra = {"ScanningSequence": "GR", "PulseSequenceType": "Spoiled Gradient Echo"}
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


def _described(columns: dict[str, Any]) -> dict[str, Any]:
    described = {}
    for name, text in columns.items():
        if isinstance(text, dict):
            described[name] = text
        elif isinstance(text, tuple):
            described[name] = {"Description": text[0], "Units": text[1]}
        elif text is not None:
            described[name] = {"Description": text}
    return described


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _write_table(path: Path, table: pd.DataFrame, columns: dict[str, Any]) -> None:
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    _write_json(path.with_suffix(".json"), _described(columns))


def _write_descriptions(folder: Path, truth: Path, plan: DatasetPlan) -> None:
    truth.mkdir(parents=True)
    made_by = [{"Name": "mbseg simulate", "Version": __version__, "Description": f"seed {plan.seed}"}]
    common = {"BIDSVersion": BIDS_VERSION, "License": "CC0", "Authors": ["mbseg-bids"], "GeneratedBy": made_by}
    raw = {"Name": "Simulated cerebral microbleeds", "DatasetType": "raw"}
    derivative = {
        "Name": "Truth of the simulated cerebral microbleeds",
        "DatasetType": "derivative",
        "DatasetLinks": {"raw": "../.."},
    }
    _write_json(folder / "dataset_description.json", raw | common)
    _write_json(truth / "dataset_description.json", derivative | common)
    text = _README.format(version=__version__, seed=plan.seed)
    (folder / "README.md").write_text(text)
    (truth / "README.md").write_text(text)
