import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from mbseg_bids.reports.figures import (
    Layer,
    crop,
    encode_image,
    intensity_window,
    outline_path,
    picture,
    plan_mosaic,
    plane_image,
    plane_position,
    to_grey,
)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_position_in_a_plane_is_where_the_voxel_is_drawn(axis, rng):
    volume = np.zeros((5, 7, 9))
    voxel = [3, 1, 6]
    volume[tuple(voxel)] = 1
    row, column = plane_position(voxel, volume.shape, axis)
    drawn = plane_image(volume, axis, voxel[axis])
    assert np.argwhere(drawn).tolist() == [[row, column]]


def test_radiological_convention():
    volume = np.zeros((10, 12, 14))
    volume[9, 11, 13] = 1  # right, anterior, superior
    assert plane_image(volume, 2, 13)[0, 0] == 1  # axial: right is left, anterior is up
    assert plane_image(volume, 1, 11)[0, 0] == 1  # coronal: right is left, superior is up
    assert plane_image(volume, 0, 9)[0, 0] == 1  # sagittal: anterior is left, superior is up


def edge_length(path):
    return sum(abs(int(b) - int(a)) for a, b in re.findall(r"M(-?\d+) -?\d+H(-?\d+)", path)) + sum(
        abs(int(b) - int(a)) for a, b in re.findall(r"M-?\d+ (-?\d+)V(-?\d+)", path)
    )


def test_outline_goes_around_a_voxel_and_between_labels():
    labels = np.zeros((4, 5), int)
    labels[1, 2] = 1
    assert outline_path(labels) == "M2 1H3M2 2H3M2 1V2M3 1V2"
    labels[1, 3] = 2  # a touching neighbour: the line between them is drawn
    assert edge_length(outline_path(labels)) == 7
    assert edge_length(outline_path(labels > 0)) == 6
    assert outline_path(np.zeros((3, 3))) == ""


def test_outline_at_the_border_is_closed():
    assert edge_length(outline_path(np.ones((3, 4), bool))) == 14


def test_outline_is_kept_only_where_asked():
    labels = np.zeros((6, 6), bool)
    labels[:, 3:] = True
    keep = np.zeros_like(labels)
    keep[2, 3] = True
    assert "M3 2V3" in outline_path(labels, keep)
    assert edge_length(outline_path(labels, keep)) == 1


def test_crop_pads_with_zero_and_keeps_the_centre_in_the_middle(rng):
    plane = rng.random((6, 8)) + 1
    part = crop(plane, (0, 7), (2, 3))
    assert part.shape == (5, 7)
    assert part[2, 3] == plane[0, 7]
    assert (part[:2] == 0).all()
    assert (part[:, 4:] == 0).all()
    assert (crop(plane, (50, 50), (2, 2)) == 0).all()


def test_encoded_png_decodes_to_the_same_pixels(rng):
    pixels = rng.integers(0, 255, (13, 9)).astype(np.uint8)
    uri = encode_image(pixels)
    decoded = np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert (decoded == pixels).all()


def test_grey_clips_and_blackens_not_a_number():
    assert to_grey(np.array([-5.0, 0, 50, 100, 500, np.nan]), (0, 100)).tolist() == [0, 0, 128, 255, 255, 0]


def test_alt_text_and_marks_are_escaped():
    svg = picture([Layer("a")], (2, 2), (1, 1), '"><script>alert(1)</script>', ("<b>", "&"))
    assert "<script>" not in svg
    assert "<b>" not in svg
    assert "&lt;script&gt;" in svg


def test_mosaic_covers_the_region_and_shows_about_one_millimetre():
    region = np.zeros((200, 240, 40), bool)
    region[50:150, 60:200, 5:35] = True
    plan = plan_mosaic(region, (0.5, 0.5, 4.0), 2, n_planes=12)
    assert len(plan.indices) == 12
    assert list(plan.indices) == sorted(plan.indices, reverse=True)
    assert min(plan.indices) >= 5
    assert max(plan.indices) < 35
    assert plan.pixel == (1.0, 1.0)
    sheet = plan.sheet(region.astype(np.float32))
    assert sheet.shape == tuple(a * b for a, b in zip(plan.tile_shape(), (2, 6), strict=True))
    assert sheet.sum() == 12 * 50 * 70  # the whole region, at a quarter of its pixels


def test_mosaic_of_an_empty_region_shows_everything():
    plan = plan_mosaic(np.zeros((20, 20, 6), bool), (1, 1, 4), 2)
    assert plan.sheet(np.ones((20, 20, 6))).shape == (20, 120)


def test_window_never_collapses():
    low, high = intensity_window(np.zeros((4, 4, 4)), None)
    assert high > low
    low, high = intensity_window(np.full((4, 4, 4), 7.0), np.zeros((4, 4, 4), bool))
    assert high > low
