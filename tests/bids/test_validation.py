import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from mbseg_bids.bids.validation import (
    check_distinct,
    check_image,
    check_writable,
    orientation_is_stated,
    read_description,
    read_header,
)
from mbseg_bids.errors import CannotWriteError, InvalidDatasetError, UnreadableDataError


def test_header_of_a_good_image(tmp_path, save_image):
    header = check_image(save_image(tmp_path / "a.nii.gz", spacing=(2.0, 0.5, 0.8)))
    assert header.shape == (8, 9, 5)
    assert header.spacing == pytest.approx((2.0, 0.5, 0.8))
    assert header.in_plane_area == pytest.approx(0.4)


def test_trailing_axes_of_length_one_are_allowed_and_a_series_is_not(tmp_path, save_image):
    assert check_image(save_image(tmp_path / "a.nii.gz", shape=(8, 9, 5, 1))).shape == (8, 9, 5)
    with pytest.raises(UnreadableDataError, match=r"has 4 dimensions \(8, 9, 5, 3\), not 3"):
        check_image(save_image(tmp_path / "b.nii.gz", shape=(8, 9, 5, 3)))


@pytest.mark.parametrize("keep", [0, 10, 400, -8])
def test_a_truncated_file_is_found_wherever_it_ends(tmp_path, save_image, keep):
    path = save_image(tmp_path / "a.nii.gz", shape=(20, 20, 20))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableDataError, match=r"a\.nii\.gz"):
        check_image(path)


def test_a_truncated_uncompressed_file_is_found(tmp_path, save_image):
    path = save_image(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UnreadableDataError, match="truncated"):
        check_image(path)


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan])
def test_an_image_without_content_is_refused(tmp_path, save_image, value):
    path = save_image(tmp_path / "a.nii.gz", data=np.full((8, 9, 5), value, np.float32))
    with pytest.raises(UnreadableDataError, match=r"constant|no finite value"):
        check_image(path)


def test_single_bad_values_do_not_matter(tmp_path, save_image, rng):
    data = rng.normal(size=(8, 9, 5)).astype(np.float32)
    data[0, 0, :2] = np.nan, np.inf
    check_image(save_image(tmp_path / "a.nii.gz", data=data))


def test_impossible_voxel_size_is_refused(tmp_path, save_image):
    path = save_image(tmp_path / "a.nii.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:84] = np.float32(0).tobytes()  # pixdim[1]
    content[280:328] = bytes(48)  # sform rows
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(UnreadableDataError, match="voxel size"):
        read_header(path)


def test_what_is_no_image_or_not_here_is_refused(tmp_path):
    text = tmp_path / "text.nii.gz"
    text.write_bytes(b"not an image")
    link = tmp_path / "link.nii.gz"
    link.symlink_to(tmp_path / ".git" / "annex" / "object")
    with pytest.raises(UnreadableDataError, match="cannot be read"):
        read_header(text)
    with pytest.raises(UnreadableDataError, match="datalad get"):
        read_header(link)


def test_colour_images_are_refused(tmp_path):
    data = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(UnreadableDataError, match="colour"):
        read_header(tmp_path / "a.nii.gz")


def test_orientation_codes_are_read(tmp_path, save_image):
    path = save_image(tmp_path / "a.nii.gz")
    assert orientation_is_stated(path)
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata(), None), tmp_path / "b.nii.gz")
    assert not orientation_is_stated(tmp_path / "b.nii.gz")


def test_description_must_be_there_and_be_an_object(tmp_path):
    with pytest.raises(InvalidDatasetError, match="not a folder"):
        read_description(tmp_path / "nowhere")
    with pytest.raises(InvalidDatasetError, match=r"no dataset_description\.json"):
        read_description(tmp_path)
    path = tmp_path / "dataset_description.json"
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(InvalidDatasetError, match=r"dataset_description\.json"):
            read_description(tmp_path)
    path.write_text(json.dumps({"Name": "x"}))
    assert read_description(tmp_path) == {"Name": "x"}


def test_output_must_not_be_the_input_by_whatever_name(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    check_distinct(tmp_path / "raw" / "derivatives" / "mbseg", tmp_path / "raw")
    for same in (tmp_path / "raw", tmp_path / "link", tmp_path / "raw" / "x" / ".."):
        with pytest.raises(CannotWriteError, match="input dataset itself"):
            check_distinct(same, tmp_path / "raw")


def test_unwritable_folders_are_found_before_work(tmp_path):
    check_writable(tmp_path / "new" / "deep", "output folder")
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWriteError, match="cannot write the output folder"):
        check_writable(tmp_path / "file", "output folder")
    with pytest.raises(CannotWriteError):
        check_writable(tmp_path / "file" / "below", "output folder")
