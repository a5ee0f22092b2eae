"""Intervals against published values, and what a bootstrap over participants must and must not depend on."""

import math

import numpy as np
import pandas as pd
import pytest

from mbseg_bids.evaluation.intervals import Bootstrap, Metric, poisson_interval, pool, ratio_interval, wilson_interval

SENSITIVITY = Metric("sensitivity", {"found": 1}, {"true": 1})
RATE = Metric("rate", {"false": 1}, {"scans": 1}, kind="rate")


def table(found, true, participants=None):
    names = participants or [f"sub-{i:02d}" for i in range(len(found))]
    columns = {"participant_id": names, "group": "all", "found": found, "true": true}
    return pd.DataFrame(columns | {"false": 0, "scans": 1})


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_printed_by_newcombe_1998(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_all_found_ends_at_one_exactly():
    low, high = wilson_interval(9, 9)
    assert (round(low, 4), high) == (0.7009, 1.0)
    assert all(math.isnan(end) for end in wilson_interval(0, 0))


def test_poisson_interval_of_known_counts():
    """Rule of three (3.69 for the two-sided interval), and Garwood's values for ten events."""
    assert poisson_interval(0, 1) == pytest.approx((0.0, 3.6889), abs=1e-4)
    assert poisson_interval(10, 2) == pytest.approx((4.7954 / 2, 18.3904 / 2), abs=1e-4)


def test_bootstrap_of_constant_participants_has_no_width():
    bootstrap = Bootstrap(200)
    samples = bootstrap.weights(7) @ np.full(7, 3.0) / (bootstrap.weights(7) @ np.full(7, 4.0))
    assert bootstrap.percentiles(samples) == (0.75, 0.75)
    interval = ratio_interval(np.full(7, 3.0), np.full(7, 4.0), SENSITIVITY, bootstrap)
    assert interval.method == "wilson"  # no width would claim certainty
    assert (interval.low, interval.high) == wilson_interval(21, 28)


def test_every_sample_draws_as_many_participants_as_there_are():
    weights = Bootstrap(100, seed=3).weights(5)
    assert weights.shape == (100, 5)
    assert (weights.sum(axis=1) == 5).all()
    assert weights.min() == 0


def test_bootstrap_follows_the_spread_between_participants():
    """One half found in each of 40 against all in 20 and none in 20: the same sensitivity, another certainty."""
    clustered = ratio_interval(np.repeat([10.0, 0.0], 20), np.full(40, 10.0), SENSITIVITY, Bootstrap())
    even = ratio_interval(np.tile([4.0, 6.0], 20), np.full(40, 10.0), SENSITIVITY, Bootstrap())
    assert clustered.method == even.method == "bootstrap"
    # Standard error of a mean of 40 values of standard deviation 0.5: 0.079.
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(40), rel=0.1)
    assert even.high - even.low == pytest.approx(2 * 1.96 * 0.1 / math.sqrt(40), rel=0.1)


def test_bootstrap_covers_as_often_as_it_says(rng):
    """Participants with 1-9 lesions and a sensitivity of their own about 0.8; 95 % of intervals should hold 0.8."""
    hits = 0
    for repetition in range(120):
        true = rng.integers(1, 10, 60)
        found = rng.binomial(true, rng.beta(8, 2, 60))
        interval = ratio_interval(found.astype(float), true.astype(float), SENSITIVITY, Bootstrap(400, repetition))
        hits += interval.low <= 0.8 <= interval.high
    assert 0.88 <= hits / 120 <= 0.99


def test_pooled_counts_do_not_depend_on_the_order_of_rows():
    counts = table([1, 2, 0, 3], [2, 2, 1, 5])
    there, back = (pool(frame, ["group"], [SENSITIVITY, RATE]) for frame in (counts, counts.iloc[[2, 0, 3, 1]]))
    pd.testing.assert_frame_equal(there, back)
    assert there.loc[0, ["n_participants", "found", "true", "sensitivity"]].tolist() == [4, 6, 10, 0.6]
    assert there.loc[0, ["rate", "rate_interval"]].tolist() == [0.0, "poisson"]


def test_sessions_of_a_participant_stay_together():
    """Ten scans of two people tell no more than two scans of two people."""
    two = pool(table([1, 3], [4, 4]), ["group"], [SENSITIVITY])
    ten = pool(table([1] * 5 + [3] * 5, [4] * 10, ["sub-01"] * 5 + ["sub-02"] * 5), ["group"], [SENSITIVITY])
    ends = ["sensitivity", "sensitivity_low", "sensitivity_high", "sensitivity_interval"]
    assert ten.loc[0, ends].tolist() == two.loc[0, ends].tolist() == [0.5, 0.25, 0.75, "bootstrap"]


def test_samples_without_any_lesion_are_left_out():
    interval = ratio_interval(np.array([1.0, 1.0, 0.0, 0.0]), np.array([2.0, 1.0, 0.0, 0.0]), SENSITIVITY, Bootstrap())
    assert (interval.low, interval.high, interval.method) == (0.5, 1.0, "bootstrap")


def test_what_is_not_defined_has_no_interval():
    pooled = pool(table([0, 0], [0, 0]), ["group"], [SENSITIVITY])
    assert math.isnan(pooled["sensitivity"][0])
    assert pooled["sensitivity_interval"][0] == "none"


def test_seed_decides():
    found, true = np.arange(9.0), np.full(9, 10.0)
    first, again, other = (ratio_interval(found, true, SENSITIVITY, Bootstrap(200, seed)) for seed in (1, 1, 2))
    assert first == again != other
