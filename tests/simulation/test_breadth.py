import numpy as np
import pytest

from mbseg_bids.imaging.labels import CSF, GM, WM
from mbseg_bids.simulation.anatomy import make_anatomy
from mbseg_bids.simulation.breadth import draw_breadth, moved, seen_brain, seen_tissue
from mbseg_bids.simulation.case import simulate_training_case
from mbseg_bids.simulation.mimics import MIMIC_NUMBERS
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.relaxation import DURA
from mbseg_bids.simulation.scan import paint_contrasts


@pytest.fixture(scope="module")
def ball():
    grid = np.indices((60, 60, 60)) - 29.5
    return np.linalg.norm(grid, axis=0) < 20


def test_levels_widen_and_tighten_the_mask_by_a_few_mm(ball):
    sizes = {}
    for level in (0.1, 0.5, 0.75):
        grids = (np.eye(4), np.eye(4), ball.shape)
        seen = [seen_brain(ball, *grids, level, np.random.default_rng(seed)).sum() for seed in range(3)]
        sizes[level] = (3 * np.mean(seen) / (4 * np.pi)) ** (1 / 3)
    assert sizes[0.5] == pytest.approx(20, abs=1)
    assert sizes[0.1] == pytest.approx(22.5, abs=1.5)
    assert sizes[0.75] == pytest.approx(18.3, abs=1)


def test_a_tissue_map_misses_narrow_sulci_and_keeps_its_outline():
    csf = np.zeros((40, 40, 40), bool)
    csf[19:21], csf[30:] = True, True
    tissue = np.where(csf, CSF, WM).astype(np.uint8)
    tissue[:, :3] = 0
    seen = seen_tissue(tissue, csf, np.eye(4), np.eye(4), 0.62, np.random.default_rng(0))
    assert (seen[19:21, 3:] == GM).mean() > 0.95
    assert (seen[34:, 3:] == CSF).all()
    assert (seen[:, :3] == 0).all()


def test_a_moved_affine_moves_the_grid():
    np.testing.assert_array_equal(moved(np.eye(4), (1, 2, 3))[:3, 3], (1, 2, 3))


def test_drawn_breadth_varies():
    drawn = [draw_breadth(np.random.default_rng(seed)) for seed in range(300)]
    assert np.mean([bool(b.t2star_of_white) for b in drawn]) == pytest.approx(0.6, abs=0.1)
    assert np.mean([b.wild for b in drawn]) == pytest.approx(0.15, abs=0.07)
    assert np.mean([b.mask_level is None for b in drawn]) == pytest.approx(0.35, abs=0.1)
    csf = [b.t2star_of_white["csf"] for b in drawn if b.t2star_of_white]
    assert 1.1 <= min(csf) < 1.2
    assert 2.2 < max(csf) <= 2.3


def test_t2star_contrast_is_what_was_asked_for_and_nuclei_are_textured(toy_head):
    anatomy = make_anatomy(toy_head, np.random.default_rng(1), deformation=0, atrophy=0, hyperintensities=0)
    t2star, _, _ = paint_contrasts(
        anatomy, Protocol(), [], np.random.default_rng(2), t2star_of_white={"csf": 2.0, "cortex": 1.2}
    )
    white = np.median(t2star.data[anatomy.select(2, 41)])
    assert np.median(t2star.data[anatomy.select(24)]) / white == pytest.approx(2.0, rel=0.12)
    assert np.median(t2star.data[anatomy.select(3, 42)]) / white == pytest.approx(1.2, rel=0.12)
    spread = [t2star.data[part].std() / t2star.data[part].mean() for part in (anatomy.select(13), anatomy.select(2))]
    assert spread[0] > 1.3 * spread[1]


@pytest.fixture(scope="module")
def wide(toy_head):
    return [simulate_training_case(toy_head, np.random.default_rng(4), n_lesions=8) for _ in range(2)]


def test_a_wide_case_is_decided_by_its_seed(wide):
    one, two = wide
    for name in ("stack", "lesions", "mimics", "tissue", "brain", "true_tissue"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_truth_of_a_wide_case_lies_in_the_mask(wide):
    case = wide[0]
    assert np.isfinite(case.stack).all()
    assert case.brain[(case.lesions > 0) | (case.mimics > 0)].all()
    assert (case.tissue[case.brain] > 0).all()
    assert case.lesion_table["index"].tolist() == np.unique(case.lesions)[1:].tolist()


def test_coarse_voxels_show_fewer_microbleeds_and_dura_is_a_mimic(toy_head):
    counts = {}
    for in_plane in (0.5, 2.4):
        protocol = Protocol(spacing=(in_plane, in_plane, 3.0), white_noise=False, snr=(80, 80, 80))
        case = simulate_training_case(toy_head, np.random.default_rng(6), protocol=protocol, n_lesions=25)
        counts[in_plane] = len(case.lesion_table)
        assert (case.mimics == MIMIC_NUMBERS["dura"]).any()
    assert counts[2.4] < counts[0.5]


def test_narrow_cases_have_no_dura(toy_head):
    case = simulate_training_case(toy_head, np.random.default_rng(6), n_lesions=2, wide=False)
    assert not (case.mimics == MIMIC_NUMBERS["dura"]).any()
    assert not make_anatomy(toy_head, np.random.default_rng(1), dura=False).select(DURA).any()
