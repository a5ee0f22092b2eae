"""Write simulated sessions as a BIDS dataset, their truth as a derivative of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mbseg_bids import __version__
from mbseg_bids.errors import CannotWriteError
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.anatomy import make_anatomy
from mbseg_bids.simulation.calcification import parenchymal_deposits
from mbseg_bids.simulation.cohort import PARTICIPANT_COLUMNS, draw_lesion_count, draw_person
from mbseg_bids.simulation.files import write_json, write_session, write_table
from mbseg_bids.simulation.lesions import draw_microbleeds
from mbseg_bids.simulation.mimics import draw_mimics
from mbseg_bids.simulation.phase_files import PhaseFormat, write_phase
from mbseg_bids.simulation.protocol import COHORT_GEOMETRIES, Protocol, draw_protocol
from mbseg_bids.simulation.session import move_head, simulate_session
from mbseg_bids.simulation.visits import VisitPlan, next_microbleeds, reposition

BIDS_VERSION = "1.10.0"

_README = """\
# Simulated brains with cerebral microbleeds

Made by `mbseg simulate` (mbseg-bids {version}, seed {seed}); these people do not exist.
T1w, T2w and T2*-weighted images come from tissue relaxation and, for the T2*-weighted ones, from the magnetic field
about every microbleed and vein. The microbleeds that can be seen, voxel by voxel, are in `derivatives/truth`: a voxel
belongs to a microbleed if that leaves less than 0.7 of its noise-free signal.

The expected number of microbleeds of a person doubles every 20 years of age and is 2.5 times as high with
hypertension; about a third of people have none, a tenth has nine or more. A range asked for on the command line
replaces this.
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
        Fewest and most microbleeds per participant, for demonstrations and training; None for the counts of a cohort,
        see `cohort.draw_lesion_count`.
    visits
        What happens from one session to the next.
    protocol
        Of every session; None: drawn for each person, with the voxels of a cohort.
    mimic_load
        Multiplies the number of vessels.
    calcifications
        Fewest and most deposits of calcium per participant in pallidum and dentate nucleus, beside those that mimics
        bring; none by default.
    phase
        How to store the phase of the T2*-weighted scan; None: there is none.
    """

    participants: int = 2
    sessions: tuple[int, ...] = (1,)
    seed: int = 0
    lesions: tuple[int, int] | None = None
    visits: VisitPlan = field(default_factory=VisitPlan)
    protocol: Protocol | None = field(default_factory=Protocol)
    mimic_load: float = 0.6
    calcifications: tuple[int, int] = (0, 0)
    phase: PhaseFormat | None = None


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
            person = draw_person(f"sub-{number + 1:02d}", rng)
            people.append(person)
            rows += _write_participant(
                folder,
                labelmaps[number % len(labelmaps)],
                plan,
                person,
                plan.sessions[number % len(plan.sessions)],
                rng,
                grey_white,
                calcium=np.random.default_rng([plan.seed, number, 1]),
            )
        write_table(folder / "participants.tsv", pd.DataFrame(people), PARTICIPANT_COLUMNS)
    except OSError as error:
        raise CannotWriteError(f"cannot write {folder}: {error}", "check permissions and free space") from error
    return pd.DataFrame(rows)


def _write_participant(
    folder: Path,
    labelmap: Volume,
    plan: DatasetPlan,
    person: dict[str, Any],
    n_sessions: int,
    rng: np.random.Generator,
    grey_white: tuple[Volume, Volume] | None,
    calcium: np.random.Generator,
) -> list[dict[str, Any]]:
    """Simulate and write all sessions of a participant: one head, whose microbleeds stay, come, grow and go.

    Deposits have a generator of their own, `calcium`: without them, all is as if there were none to ask for.
    """
    participant = person["participant_id"]
    anatomy = make_anatomy(labelmap, rng, age=person["age"], grey_white=grey_white)
    if plan.lesions is None:
        n = draw_lesion_count(person["age"], person["hypertension"] == "yes", rng)
    else:
        n = int(rng.integers(plan.lesions[0], plan.lesions[1] + 1))
    mimics = draw_mimics(anatomy, rng, load=plan.mimic_load)
    lesions = dict(enumerate(draw_microbleeds(anatomy, n, rng)))
    fewest, most = plan.calcifications
    n_deposits = int(calcium.integers(fewest, most + 1))
    mimics += parenchymal_deposits(anatomy, n_deposits, calcium, avoid=[lesion.centre for lesion in lesions.values()])
    person_seed = int(rng.integers(2**31))
    usual = plan.protocol or draw_protocol(rng, geometries=COHORT_GEOMETRIES, swi_share=0.0)
    centre = anatomy.labels.affine[:3, 3] + np.array(anatomy.labels.shape) / 2
    rows, visits, n_ever = [], [], len(lesions)
    for visit in range(n_sessions):
        if visit:
            lesions = next_microbleeds(lesions, n_ever, anatomy, plan.visits, rng)
            n_ever = max([n_ever, *(number + 1 for number in lesions)])
        move = reposition(visit, plan.visits, centre, rng)
        head, features = move_head(anatomy, [*lesions.values(), *mimics], move)
        protocol = replace(usual, tilt=tuple(rng.normal(0, (0.15, 0.02, 0.02)).tolist()))
        if visit and plan.visits.spacing is not None:
            protocol = replace(protocol, spacing=plan.visits.spacing)
        session = simulate_session(
            head, features, protocol, rng, person_seed=person_seed, with_phase=plan.phase is not None
        )
        numbers = list(lesions)
        session = replace(session, features=[numbers[place] for place in session.features])
        label = f"ses-{visit + 1:02d}" if n_sessions > 1 else None
        written = write_session(folder, participant, label, session, protocol)
        if session.phase is not None and plan.phase is not None:
            write_phase(*written, session.phase, protocol, plan.phase)
        visits.append({"session_id": label, "years": 2.0 * visit})
        rows.append({"participant_id": participant, "session_id": label, "n_microbleeds": len(session.lesion_table)})
    if n_sessions > 1:
        columns = {"session_id": None, "years": ("Time since the first session", "year")}
        write_table(folder / participant / f"{participant}_sessions.tsv", pd.DataFrame(visits), columns)
    return rows


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
    write_json(folder / "dataset_description.json", raw | common)
    write_json(truth / "dataset_description.json", derivative | common)
    text = _README.format(version=__version__, seed=plan.seed)
    (folder / "README.md").write_text(text)
    (truth / "README.md").write_text(text)
