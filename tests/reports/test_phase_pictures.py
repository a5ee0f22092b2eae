"""The phase on the cards: three planes of it where it was used, nothing where not."""

import re

import nibabel as nib
import numpy as np
import pytest
from fake_output import fake_arrays, oriented, write_session

from mbseg_bids.reports.gallery import ALL_PICTURES, lesion_cards, rejected_cards
from mbseg_bids.reports.images import LOCAL_PHASE, load_images
from mbseg_bids.reports.session_files import SessionFiles, SessionKey

ROW = {"index": "1", "name": "CMB-001", "region": "deep_gm", "diameter_mm": "4"}


@pytest.fixture
def images_of(tmp_path):
    """Images of a session, with or without a phase that rises towards the head's left, stored in another order."""

    def make(phase):
        anat = write_session(tmp_path, "01")
        if phase:
            fake = fake_arrays()
            left = np.linspace(1, -1, fake.images["T2starw"].shape[0], dtype=np.float32)[:, None, None]
            values = np.broadcast_to(left, fake.images["T2starw"].shape).copy()
            nib.save(oriented(values, fake.affine, "LPI"), anat / f"sub-01_{LOCAL_PHASE}")
        files = SessionFiles(tmp_path, SessionKey("01"))
        return load_images(files), files.problems

    return make


def captions(card):
    return [caption for caption, _ in card.pictures]


def test_three_planes_of_it_are_shown(images_of):
    images, problems = images_of(True)
    assert not problems
    assert images.phase[0].mean() == pytest.approx(1, abs=0.01)  # index 0 is on the patient's left
    (card,) = lesion_cards([ROW], images, prefix="x")
    assert captions(card)[ALL_PICTURES:] == ["Phase, axial", "Phase, coronal", "Phase, sagittal"]
    for caption, svg in card.pictures[ALL_PICTURES:]:
        assert re.search(rf"CMB-001, [^<]*{caption}", str(svg))
    (lost,) = rejected_cards(
        [ROW | {"status": "rejected", "reason": "diamagnetic"}], images, prefix="x", with_pictures=1
    )
    assert captions(lost)[-3:] == captions(card)[-3:]


def test_a_card_with_few_pictures_has_none_of_it(images_of):
    images, _ = images_of(True)
    (card,) = lesion_cards([ROW], images, prefix="x", n_pictures=1)
    assert captions(card) == ["T2*, axial"]


def test_without_a_phase_nothing_is_missing(images_of):
    images, problems = images_of(False)
    assert not problems
    assert images.phase is None
    (card,) = lesion_cards([ROW], images, prefix="x")
    assert len(card.pictures) == ALL_PICTURES
