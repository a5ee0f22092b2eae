import numpy as np
import pytest

from mbseg_bids.imaging.intensity import standardise
from mbseg_bids.imaging.labels import CSF, GM, REGIONS, WM
from mbseg_bids.simulation.case import simulate_training_case
from mbseg_bids.simulation.protocol import Protocol

QUIET = Protocol(
    spacing=(1.0, 1.0, 2.0),
    echo_time=25,
    snr=(200, 200, 200),
    bias=(0, 0, 0),
    ringing=0,
    dropout=0,
    t2w_spacing=(1, 1, 1),
)

THICK = Protocol(spacing=(0.5, 0.5, 4.0))


@pytest.fixture(scope="module")
def case(toy_head):
    rng = np.random.default_rng(2)
    return simulate_training_case(toy_head, rng, protocol=QUIET, n_lesions=12, mimic_load=0.2, wide=False)


def test_shapes_types_and_ranges(case):
    shape = case.stack.shape[1:]
    assert case.stack.shape[0] == 3
    assert case.stack.dtype == np.float32
    assert 0 <= case.stack.min() < case.stack.max() <= 100
    for labels in (case.lesions, case.mimics, case.tissue, case.regions, case.brain):
        assert labels.shape == shape
    assert case.spacing == (1.0, 1.0, 2.0)
    np.testing.assert_allclose(np.linalg.norm(case.affine[:3, :3], axis=0), case.spacing)


def test_contrasts_are_in_the_order_t2star_t2w_t1w(case):
    clear = (case.lesions == 0) & (case.mimics == 0)
    means = [[channel[clear & (case.tissue == t)].mean() for t in (CSF, GM, WM)] for channel in case.stack]
    assert means[0][0] > means[0][1]
    assert means[1][0] > means[1][1] > means[1][2]
    assert means[2][2] > means[2][1] > means[2][0]


def test_the_table_describes_the_labels(case):
    table = case.lesion_table
    assert 6 <= len(table) <= 12
    assert table["index"].tolist() == list(range(1, len(table) + 1)) == np.unique(case.lesions)[1:].tolist()
    voxel = np.prod(case.spacing)
    for row in table.itertuples():
        where = np.argwhere(case.lesions == row.index)
        assert row.n_voxels == len(where)
        assert row.volume_mm3 == pytest.approx(len(where) * voxel)
        np.testing.assert_allclose((row.i, row.j, row.k), where.mean(axis=0))
        np.testing.assert_allclose(
            (row.x_mm, row.y_mm, row.z_mm), case.affine[:3, :3] @ where.mean(axis=0) + case.affine[:3, 3], atol=1e-6
        )
    assert set(table["region"]) <= set(REGIONS.values())


def test_lesions_are_dark_on_t2star_within_the_brain(case):
    inside = case.lesions > 0
    near = case.brain & ~inside & (case.tissue == WM)
    assert case.stack[0][inside].mean() < 0.7 * case.stack[0][near].mean()
    assert case.brain[inside].all()
    assert not case.mimics[inside].any()


def test_lesions_are_faint_on_t2w(case):
    white = case.tissue == WM
    inside = (case.lesions > 0) & white
    assert case.stack[1][inside].mean() > 0.7 * case.stack[1][white & (case.lesions == 0)].mean()


def test_no_lesions(toy_head):
    case = simulate_training_case(toy_head, np.random.default_rng(3), protocol=QUIET, n_lesions=0, mimic_load=0.05)
    assert not case.lesions.any()
    assert case.lesion_table.empty
    assert {"index", "region", "volume_mm3"} <= set(case.lesion_table.columns)


def test_the_same_seed_gives_the_same_case(toy_head):
    one, two, other = (simulate_training_case(toy_head, np.random.default_rng(seed), n_lesions=5) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.stack, two.stack)
    np.testing.assert_array_equal(one.lesions, two.lesions)
    assert one.lesion_table.equals(two.lesion_table)
    assert one.stack.shape != other.stack.shape or not np.array_equal(one.stack, other.stack)


def test_standardise_goes_through_the_origin():
    image = np.linspace(0, 200, 1000, dtype=np.float32).reshape(10, 10, 10)
    scaled = standardise(image, np.ones(image.shape, dtype=bool))
    assert scaled[0, 0, 0] == 0
    assert scaled.max() == 100
    ratio = image[5, 5, 5] / image[2, 2, 2]
    assert scaled[5, 5, 5] / scaled[2, 2, 2] == pytest.approx(ratio, rel=1e-5)
