"""The people of a simulated dataset: age, sex, hypertension, and how many microbleeds each has."""

from typing import Any

import numpy as np

AGES = (55, 88)
"""Youngest, and one more than the oldest, in years; all ages between are alike frequent."""

USUAL_MEAN, MANY_SHARE, MANY_MEDIAN, MANY_LOG_SD, MOST = 1.2, 0.16, 12.0, 1.1, 80.0
"""Most people have none, one or a few microbleeds: Poisson of this mean. A share has
many more, about a lognormal number.

So that counts per scan are those of VALDO: 31 % none, median 1, 75th percentile 2, 90th 9, highest of 72 scans 83.
"""

PARTICIPANT_COLUMNS: dict[str, Any] = {
    "participant_id": None,
    "age": ("Age at the first session", "year"),
    "sex": {"Description": "Drawn at random, without influence on anything", "Levels": {"F": "female", "M": "male"}},
    "hypertension": {
        "Description": "Raises the expected number of microbleeds",
        "Levels": {"yes": "present", "no": "absent"},
    },
}
"""Of participants.tsv."""


def draw_person(participant: str, rng: np.random.Generator) -> dict[str, Any]:
    """A row of participants.tsv."""
    return {
        "participant_id": participant,
        "age": int(rng.integers(*AGES)),
        "sex": str(rng.choice(["F", "M"])),
        "hypertension": str(rng.choice(["yes", "no"])),
    }


def draw_lesion_count(age: float, hypertension: bool, rng: np.random.Generator) -> int:
    """Number of microbleeds of a person.

    Its mean doubles every 20 years of age and is 2.5 times as high with hypertension; over the people of `draw_person`
    the counts follow `USUAL_MEAN` and what stands beside it.
    """
    relative = 2 ** ((age - 70) / 20) * (2.5 if hypertension else 1.0) / 1.9  # 1 on average over people
    count = rng.poisson(USUAL_MEAN * relative)
    if rng.random() < MANY_SHARE * relative:
        count += rng.poisson(min(MOST, MANY_MEDIAN * float(np.exp(rng.normal(0, MANY_LOG_SD)))))
    return int(count)
