"""The reader's criteria on phantoms: what is a microbleed stays, what is plainly none goes, by the right name."""

import math

import numpy as np
import pytest
from scipy import ndimage

from mbseg_bids.detection.lesions.segment import segment_lesions
from mbseg_bids.detection.rules.criteria import Criteria, measure_criteria
from mbseg_bids.detection.rules.lesion_view import Scan
from mbseg_bids.detection.rules.parenchyma import Surroundings, fluid_levels
from mbseg_bids.settings import DetectionSettings

CSF, GM, WM = 1, 2, 3
LEVEL = {CSF: 90.0, GM: 52.0, WM: 48.0}
DARK = 15.0


class Phantom:
    """White matter below, cortex, and a sulcus 12 mm wide above; dots and lines are drawn into it."""

    def __init__(self, spacing=(1.0, 1.0, 3.0), size_mm=(60, 60, 36), csf=LEVEL[CSF]):
        self.spacing = spacing
        shape = tuple(round(mm / s) for mm, s in zip(size_mm, spacing, strict=True))
        self.x, self.y, self.z = (np.indices(shape).T * spacing).T
        self.tissue = np.select([self.y < 30, self.y < 34, self.y < 46], [WM, GM, CSF], GM).astype(np.uint8)
        self.t2star = np.select([self.tissue == CSF, self.tissue == GM], [csf, LEVEL[GM]], LEVEL[WM])
        self.t2w = np.select([self.tissue == CSF, self.tissue == GM], [95.0, 45.0], 35.0)
        self.t1w = np.select([self.tissue == CSF, self.tissue == GM], [15.0, 55.0], 75.0)
        self.labels = np.zeros(shape, np.int32)
        self.brain = np.ones(shape, bool)

    def dot(self, where, radius=1.6, signal=DARK):
        """Draw a ball and label it."""
        x, y, z = where
        apart = np.maximum(np.abs(self.z - z) - self.spacing[2] / 2, 0) if self.spacing[2] > 2.5 else self.z - z
        ball = (self.x - x) ** 2 + (self.y - y) ** 2 + apart**2 <= radius**2
        self.t2star = np.where(ball, signal, self.t2star)
        self.labels[ball] = self.labels.max() + 1
        return self

    def line(self, start, end, radius=0.9, signal=DARK):
        """Draw a tube that is labelled only where a dot is put on it."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        along = (end - start) / np.linalg.norm(end - start)
        offset = np.stack([self.x - start[0], self.y - start[1], self.z - start[2]], axis=-1)
        at = np.clip(offset @ along, 0, np.linalg.norm(end - start))
        tube = np.linalg.norm(offset - at[..., None] * along, axis=-1) <= radius
        self.t2star = np.where(tube & (self.labels == 0), signal, self.t2star)
        return self

    def measure(self, t2w=True, t1w=True):
        stack = np.stack([self.t2star, self.t2w * t2w, self.t1w * t1w])
        noise = np.random.default_rng(1).normal(0, 0.7, stack.shape)
        stack = np.clip(stack + noise * (stack > 0), 0, 100).astype(np.float32)
        scan = Scan(stack, stack[0] * 0, self.brain, self.tissue, self.spacing)
        return measure_criteria(scan, self.labels)

    def only(self, **options):
        return self.measure(**options)[1][1]


THIN, THICK = (1.0, 1.0, 1.0), (1.0, 1.0, 4.0)


@pytest.mark.parametrize("spacing", [THIN, (1.0, 1.0, 2.0), THICK, (1.0, 1.0, 6.0)])
def test_in_white_matter_it_is_a_microbleed(spacing):
    found = Phantom(spacing).dot((30, 15, 18)).only()
    assert found.rejected_by == ""
    assert found.parenchyma_share > 0.9


@pytest.mark.parametrize("spacing", [THIN, (1.0, 1.0, 2.0), THICK, (1.0, 1.0, 6.0)])
def test_in_fluid_it_is_none(spacing):
    found = Phantom(spacing).dot((30, 40, 18)).only()
    assert found.rejected_by == "not_in_parenchyma"
    assert found.parenchyma_share < 0.1


@pytest.mark.parametrize("spacing", [THIN, THICK])
def test_in_cortex_beside_a_sulcus_it_is_a_microbleed(spacing):
    """Centred in the cortex, it touches the fluid."""
    assert Phantom(spacing).dot((30, 32, 18), radius=2.1).only().rejected_by == ""


def test_in_cortex_that_the_map_calls_fluid_t2star_is_believed():
    phantom = Phantom(THICK).dot((30, 32, 18))
    phantom.tissue[(phantom.y >= 29) & (phantom.y < 46) & (np.abs(phantom.x - 30) < 6)] = CSF
    assert phantom.only().rejected_by == ""


def test_in_a_wide_sulcus_that_the_map_calls_cortex_t2star_is_believed():
    phantom = Phantom(THICK).dot((30, 40, 18))
    phantom.tissue[(phantom.y > 33) & (phantom.x > 20)] = GM
    assert phantom.only().rejected_by == "not_in_parenchyma"


def test_a_microbleed_in_a_hole_of_the_map_is_judged_by_its_shell():
    phantom = Phantom(THIN).dot((30, 15, 18))
    phantom.tissue[phantom.labels > 0] = CSF
    assert phantom.only().parenchyma_share > 0.9


@pytest.mark.parametrize("csf", [45.0, 25.0])
def test_where_fluid_is_dark_t2star_cannot_tell_and_the_map_must_be_sure(csf):
    phantom = Phantom(THIN, csf=csf).dot((30, 40, 18), signal=5).dot((30, 15, 18), signal=5)
    facts, found = phantom.measure()
    assert not facts.t2star_tells_fluid
    assert [found[n].rejected_by for n in (1, 2)] == ["not_in_parenchyma", ""]
    phantom.tissue[(phantom.x < 31) & (phantom.y > 20)] = GM  # more than a third of the shell
    assert phantom.measure()[1][1].rejected_by == ""


def test_facts_of_a_scan():
    facts, _ = Phantom(THIN).dot((30, 15, 18)).measure()
    assert (facts.t2star_tells_fluid, facts.slices_tell_vessels) == (True, True)
    assert facts.fluid_to_tissue == pytest.approx(LEVEL[CSF] / LEVEL[GM], abs=0.01)
    assert not Phantom((1.0, 1.0, 3.0)).dot((30, 15, 18)).measure()[0].slices_tell_vessels


@pytest.mark.parametrize(
    ("by_map", "by_t2star", "share"), [(1, 0, 0.25), (0, 1, 1), (0.8, 0.4, 0.6), (0.3, 0.5, 0.5), (1, 0.6, 0.8)]
)
def test_how_map_and_t2star_are_weighed(by_map, by_t2star, share):
    assert Surroundings(by_map, by_t2star).parenchyma == pytest.approx(share)


def test_without_a_tissue_map_nothing_is_known_of_the_surroundings():
    phantom = Phantom(THIN).dot((30, 40, 18))
    phantom.tissue[:] = 0
    found = phantom.only()
    assert math.isnan(found.parenchyma_share)
    assert found.rejected_by == ""
    assert math.isnan(fluid_levels(phantom.t2star, phantom.brain, phantom.tissue).quotient)


@pytest.mark.parametrize("contrast", ["t2w", "t1w"])
def test_a_bright_core_is_a_cavernoma_or_fresh_blood(contrast):
    phantom = Phantom(THIN).dot((30, 15, 18), radius=3)
    getattr(phantom, contrast)[phantom.labels > 0] = 98
    assert phantom.only().rejected_by == "bright_core"
    assert phantom.only(**{contrast: False}).rejected_by == ""


def test_a_microbleed_is_not_bright_where_t2w_is_off_by_a_voxel_beside_fluid():
    phantom = Phantom(THIN).dot((30, 32, 18), radius=2.1)
    phantom.t2w = np.roll(phantom.t2w, -2, axis=1)
    assert phantom.only().rejected_by == ""


def test_without_t2w_and_t1w_there_is_no_core_to_see():
    assert math.isnan(Phantom(THIN).dot((30, 15, 18), radius=3).only(t2w=False, t1w=False).core_brightness)


@pytest.mark.parametrize("spacing", [THIN, THICK])
@pytest.mark.parametrize("end", [(30, 0), (15, 15), (20, 5)])
def test_a_line_in_plane_that_goes_on_at_both_sides_is_a_vessel(spacing, end):
    ends = (*end, 20), (60 - end[0], 30 - end[1], 20)
    found = Phantom(spacing).dot((30, 15, 20), radius=1.2).line(*ends, radius=max(1.2, spacing[2] / 3)).only()
    assert found.rejected_by == "continues_as_vessel"
    assert found.vessel_in_plane > 0.6


@pytest.mark.parametrize("end", [(30, 15, 0), (22, 15, 4)])
def test_a_line_through_thin_slices_is_a_vessel(end):
    other = (60 - end[0], 15, 36 - end[2])
    found = Phantom(THIN).dot((30, 15, 18), radius=1.2).line(end, other).only()
    assert found.rejected_by == "continues_as_vessel"
    assert found.vessel_across_slices > 0.6


def test_thick_slices_do_not_tell_a_line_through_them():
    found = Phantom(THICK).dot((30, 15, 20), radius=1.2).line((30, 15, 0), (30, 15, 36)).only()
    assert math.isnan(found.vessel_across_slices)
    assert found.rejected_by == ""


@pytest.mark.parametrize("spacing", [THIN, THICK])
@pytest.mark.parametrize("apart", [4, 5, 7])
def test_two_microbleeds_near_each_other_are_no_vessel(spacing, apart):
    _, found = Phantom(spacing).dot((30, 15, 20)).dot((30 + apart, 15, 20)).measure()
    assert [criteria.rejected_by for criteria in found.values()] == [""] * 2


@pytest.mark.parametrize("spacing", [THIN, THICK])
def test_three_in_a_row_are_no_vessel(spacing):
    _, found = Phantom(spacing).dot((24, 15, 20)).dot((30, 15, 20)).dot((36, 15, 20)).measure()
    assert [criteria.rejected_by for criteria in found.values()] == [""] * 3


@pytest.mark.parametrize("beside", [3, 4, 6])
def test_a_microbleed_beside_a_vein_is_no_vessel(beside):
    found = Phantom(THIN).dot((30, 15, 18)).line((0, 15 + beside, 18), (60, 15 + beside, 18)).only()
    assert found.rejected_by == ""


def test_a_microbleed_at_the_end_of_a_vein_is_no_vessel():
    assert Phantom(THIN).dot((30, 15, 18)).line((30, 15, 18), (60, 15, 18)).only().rejected_by == ""


def test_a_dark_microbleed_on_a_faint_vein_is_no_vessel():
    found = Phantom(THIN).dot((30, 15, 18), radius=2.5, signal=8).line((0, 15, 18), (60, 15, 18), radius=1.2, signal=32)
    found = found.only()
    assert 0 < found.vessel_in_plane < 0.5
    assert found.rejected_by == ""


@pytest.mark.parametrize("turned", ["flip 0", "flip 1", "flip 2", "transpose"])
def test_measures_do_not_depend_on_how_the_array_lies(turned):
    phantom = Phantom(THIN).dot((30, 32, 18), radius=2.5).line((10, 28, 18), (50, 36, 18), signal=30)
    stack = np.stack([phantom.t2star, phantom.t2w, phantom.t1w]).astype(np.float32)

    def turn(image):
        return np.flip(image, int(turned[-1])).copy() if "flip" in turned else image.swapaxes(0, 1).copy()

    def measure(images, tissue, labels):
        return measure_criteria(Scan(images, images[0], tissue > 0, tissue, THIN), labels)[1][1]

    expected = measure(stack, phantom.tissue, phantom.labels)
    found = measure(np.stack([turn(channel) for channel in stack]), turn(phantom.tissue), turn(phantom.labels))
    for name, value in vars(expected).items():
        assert vars(found)[name] == pytest.approx(value, abs=1e-5, nan_ok=True), name


def test_no_measure_no_rejection():
    assert Criteria().rejected_by == ""


SETTINGS = DetectionSettings()


def segment(phantom, settings=SETTINGS):
    stack = np.stack([phantom.t2star, phantom.t2w, phantom.t1w]).astype(np.float32)
    probability = np.where(phantom.labels > 0, 0.9, 0).astype(np.float32)
    regions = np.where(phantom.tissue == WM, 3, 1)
    affine = np.diag([*phantom.spacing, 1.0])
    return segment_lesions(
        *(stack, probability, phantom.brain, regions, phantom.spacing, affine, settings), tissue=phantom.tissue
    )


def test_table_names_the_criterion_and_its_measure():
    result = segment(Phantom(THICK).dot((30, 40, 20)).dot((30, 15, 8)))
    table = result.candidate_table
    assert table["reason"].tolist() == ["n/a", "not_in_parenchyma"]
    assert table["parenchyma_share"].tolist()[0] > 0.9
    assert table["parenchyma_share"].tolist()[1] < 0.1
    assert table["flags"].tolist() == ["n/a", "n/a"]
    assert result.criteria is not None
    assert len(result.lesion_table) == 1


def test_without_criteria_the_method_of_the_paper_is_left():
    result = segment(Phantom(THICK).dot((30, 40, 20)), DetectionSettings(reader_criteria=False))
    assert result.candidate_table["reason"].tolist() == ["n/a"]
    assert result.candidate_table["parenchyma_share"].isna().all()
    assert result.criteria is None


def test_longer_than_the_maximum_is_no_microbleed():
    """25 x 6 x 6 mm are 900 mm3 or less, here 15 x 3 x 3: a sphere of 6.4 mm, but 14 mm long."""
    phantom = Phantom(THIN)
    box = np.s_[20:35, 14:17, 17:20]
    phantom.t2star[box], phantom.labels[box] = DARK, 1
    row = segment(phantom).candidate_table.iloc[0]
    assert row["reason"] == "above_maximum_size"
    assert row["diameter_mm"] == pytest.approx(6.36, abs=0.01)
    assert row["longest_diameter_mm"] == pytest.approx(math.sqrt(14**2 + 2**2 + 1), abs=0.01)
    assert len(segment(phantom, DetectionSettings(reader_criteria=False)).lesion_table) == 1


def test_a_large_bleed_with_a_bright_core_is_a_macrohaemorrhage():
    phantom = Phantom(THIN).dot((30, 15, 18), radius=5.6)
    phantom.t1w[ndimage.binary_erosion(phantom.labels > 0)] = 100
    assert segment(phantom).candidate_table["reason"].tolist() == ["above_maximum_size"]
