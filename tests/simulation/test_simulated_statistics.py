import numpy as np
import pytest

from mbseg_bids.imaging.labels import CEREBELLAR_GM, CEREBELLAR_WM, CEREBRAL_WM, CORTICAL_GM, DEEP_GM
from mbseg_bids.simulation.anatomy import make_anatomy
from mbseg_bids.simulation.lesions import REGION_SHARES, draw_microbleeds
from mbseg_bids.simulation.statistics import (
    COHORT_COUNTS,
    COHORT_REGIONS,
    COHORT_VOLUMES,
    cohort_counts,
    count_statistics,
    observed_volumes,
)


@pytest.fixture(scope="module")
def volumes():
    return observed_volumes(400, np.random.default_rng(5))


def test_observed_volumes_follow_those_of_readers(volumes):
    """In the voxels of VALDO; its 253 lesions leave the outer percentiles uncertain by a third themselves."""
    assert len(volumes) > 330
    tolerance = {25: 1.4, 50: 1.35, 75: 1.4, 90: 1.5, 95: 1.5}
    for percentile, factor in tolerance.items():
        ratio = np.percentile(volumes, percentile) / COHORT_VOLUMES[percentile]
        assert 1 / factor < ratio < factor, (percentile, ratio)


def test_diameters_follow_those_of_readers(volumes):
    diameters = np.cbrt(6 / np.pi * volumes)
    low, median, high = np.percentile(diameters, [5, 50, 95])
    assert median == pytest.approx(2.7, rel=0.15)
    assert 1.5 < low < 2.3
    assert 4.0 < high < 6.0


def test_counts_per_person_follow_the_cohort():
    found = count_statistics(cohort_counts(72 * 60, np.random.default_rng(7)))
    assert found["none"] == pytest.approx(COHORT_COUNTS["none"], abs=0.04)
    assert found["median"] == COHORT_COUNTS["median"]
    assert found["p75"] in (2, 3)
    assert found["p90"] == pytest.approx(COHORT_COUNTS["p90"], abs=2)
    assert 50 < found["highest of 72"] < 100


def test_regions_are_drawn_as_often_as_in_the_cohort(toy_head):
    shares = {
        "cerebral white matter": REGION_SHARES[CEREBRAL_WM],
        "cortex": REGION_SHARES[CORTICAL_GM],
        "deep grey matter": REGION_SHARES[DEEP_GM],
        "cerebellum": REGION_SHARES[CEREBELLAR_GM] + REGION_SHARES[CEREBELLAR_WM],
    }
    for name, share in shares.items():
        assert share == pytest.approx(COHORT_REGIONS[name], abs=0.01)
    anatomy = make_anatomy(toy_head, np.random.default_rng(1), deformation=0, atrophy=0, hyperintensities=0)
    drawn = draw_microbleeds(anatomy, 400, np.random.default_rng(2), apart=0.5)
    voxels = np.array([np.rint(m.sources[0].centre - anatomy.labels.affine[:3, 3]).astype(int) for m in drawn])
    found = anatomy.regions[tuple(voxels.T)]
    assert (found == DEEP_GM).mean() == pytest.approx(0.16, abs=0.06)
    assert (found == CORTICAL_GM).mean() == pytest.approx(0.38, abs=0.08)
