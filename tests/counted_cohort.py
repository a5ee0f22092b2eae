"""Simulated cohorts with known coefficients, as rows of the group table."""

import numpy as np

TRUTH = {"intercept": -2.5, "age": 0.04, "sex[M]": 0.3, "group[patient]": 0.7}


def cohort(seed, n=500, alpha=1.0, zero=0.0, exposure=False, **changes):
    """Return rows; ``n_total`` is negative binomial about exp(x @ TRUTH), times the column ``ml`` with an exposure."""
    generator = np.random.default_rng(seed)
    age, sex, group = generator.normal(70, 8, n).round(1), generator.integers(0, 2, n), generator.integers(0, 2, n)
    ml = generator.uniform(0.3, 3, n).round(3) if exposure else np.ones(n)
    linear = TRUTH["intercept"] + TRUTH["age"] * age + TRUTH["sex[M]"] * sex + TRUTH["group[patient]"] * group
    mean = ml * np.exp(linear)
    counts = generator.poisson(generator.gamma(1 / alpha, alpha * mean) if alpha else mean)
    counts[generator.uniform(size=n) < zero] = 0
    return [
        {
            "participant_id": f"sub-{k:03d}",
            "session_id": None,
            "status": "complete",
            "n_total": int(counts[k]),
            "age": str(age[k]),
            "sex": "FM"[sex[k]],
            "group": ("control", "patient")[group[k]],
            "ml": str(ml[k]),
            "t2star_sequence": "T2starw",
        }
        | changes
        for k in range(n)
    ]
