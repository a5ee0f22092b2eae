"""Images that are damaged, empty, or no images at all."""

import gzip
import os

import nibabel as nib
import numpy as np
from corpus import accepted, refused


def _content(path) -> bytearray:
    return bytearray(gzip.decompress(path.read_bytes()))


def _header(path, start: int, values) -> None:
    """Write bytes into the header of a compressed image."""
    content = _content(path)
    raw = values if isinstance(values, bytes) else np.asarray(values).tobytes()
    content[start : start + len(raw)] = raw
    path.write_bytes(gzip.compress(bytes(content)))


@refused("sub-01_T2starw.nii.gz cannot be read: the file is empty")
def empty_file(p):
    """T2* file of no bytes"""
    p.t2star.write_bytes(b"")


@refused("sub-01_T2starw.nii.gz is truncated or damaged")
def truncated_gzip(p):
    """T2* cut off in the middle, as by a broken download"""
    p.save(p.t2star, p.noise((30, 30, 30)))
    p.t2star.write_bytes(p.t2star.read_bytes()[:50_000])


@refused("sub-01_T2starw.nii.gz cannot be read")
def truncated_in_header(p):
    """T2* cut off within its header"""
    p.t2star.write_bytes(gzip.compress(bytes(_content(p.t2star)[:200])))


@refused("sub-01_T2starw.nii is truncated or damaged")
def truncated_uncompressed(p):
    """Uncompressed T2* cut off in the middle"""
    content = bytes(_content(p.t2star))
    p.t2star.unlink()
    p.t2star.with_suffix("").write_bytes(content[:-700])


@refused("sub-01_T2starw.nii.gz is truncated or damaged")
def corrupt_gzip(p):
    """Bytes in the middle of the compressed T2* changed"""
    p.save(p.t2star, p.noise((30, 30, 30)))
    content = bytearray(p.t2star.read_bytes())
    content[40_000:40_200] = bytes(200)
    p.t2star.write_bytes(content)


@refused("CRC check failed")
def wrong_checksum(p):
    """Checksum at the end of the compressed T2* does not fit"""
    content = bytearray(p.t2star.read_bytes())
    content[-8] ^= 0xFF
    p.t2star.write_bytes(content)


@refused("Not a gzipped file")
def garbage_after_gzip(p):
    """Something else appended to the compressed T2*"""
    p.t2star.write_bytes(p.t2star.read_bytes() + b"<html>404 not found</html>")


@refused("goes on far beyond the image its header describes")
def bomb(p):
    """Compressed T2* that swells to a hundred times what its header promises"""
    p.t2star.write_bytes(gzip.compress(bytes(_content(p.t2star)) + bytes(80 * 2**20), 1))


@refused("its header promises")
def promises_terabytes(p):
    """Header of the T2* that promises 27 terabytes of data"""
    _header(p.t2star, 42, np.array([30000, 30000, 30000], np.int16))


@refused("sub-01_T2starw.nii.gz cannot be read")
def wrong_magic(p):
    """NIfTI magic overwritten"""
    _header(p.t2star, 344, b"xyz\0")


@refused("sub-01_T2starw.nii.gz cannot be read")
def text_file(p):
    """Text under the name of an image"""
    p.t2star.write_text("Error: subject not found\n" * 40)


@refused("sub-01_T2starw.nii.gz cannot be read")
def not_compressed(p):
    """Uncompressed NIfTI named .nii.gz"""
    p.t2star.write_bytes(bytes(_content(p.t2star)))


@refused("sub-01_T2starw.nii.gz cannot be read")
def archive_as_image(p):
    """ZIP archive under the name of an image; it is not unpacked"""
    p.t2star.write_bytes(b"PK\x03\x04\x14\x00\x00\x00" + bytes(600))


@refused("is a git-annex pointer, its content is not here (fetch it, for instance with datalad get)")
def annex_pointer(p):
    """git-annex pointer file instead of the content (unlocked dataset)"""
    p.t2star.write_text("/annex/objects/MD5E-s7864320--0123456789abcdef0123456789abcdef.nii.gz\n")


@refused("is a link to a file that is not here (fetch it, for instance with datalad get)")
def annex_link(p):
    """Dangling git-annex link (content not fetched)"""
    p.t2star.unlink()
    p.t2star.symlink_to("../../.git/annex/objects/x1/2y/MD5E-s1--0/MD5E-s1--0.nii.gz")


@refused("is a Git LFS pointer, its content is not here")
def lfs_pointer(p):
    """Git LFS pointer instead of the content"""
    p.t2star.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@refused("is a link that leads to itself")
def link_to_itself(p):
    """Link that leads to itself under the name of an image"""
    p.t2star.unlink()
    p.t2star.symlink_to(p.t2star.name)


@refused("is no file (a folder, pipe or device)")
def pipe_as_image(p):
    """Named pipe under the name of an image: whoever opens it waits for ever"""
    p.t2star.unlink()
    os.mkfifo(p.t2star)


@refused("is no file (a folder, pipe or device)")
def device_as_image(p):
    """Endless device under the name of an image"""
    p.t2star.unlink()
    p.t2star.symlink_to("/dev/zero")


@refused("sub-01_T2starw.nii.gz is constant (0.0)")
def zero_image(p):
    """T2* of zeros"""
    p.save(p.t2star, np.zeros((8, 9, 5), np.float32))


@refused("sub-01_T2starw.nii.gz is constant (7.0)")
def constant_image(p):
    """T2* of one value"""
    p.save(p.t2star, np.full((8, 9, 5), 7, np.float32))


@refused("sub-01_T2starw.nii.gz has no finite value")
def nan_image(p):
    """T2* of NaN"""
    p.save(p.t2star, np.full((8, 9, 5), np.nan, np.float32))


@refused("sub-01_T2starw.nii.gz has no finite value")
def infinite_image(p):
    """T2* of infinities"""
    p.save(p.t2star, np.full((8, 9, 5), np.inf, np.float32))


@accepted("of the values are not finite; they count as zero")
def some_not_finite(p):
    """T2* with NaN and infinity in some voxels"""
    data = p.noise()
    data[0, 0, :3] = np.nan, np.inf, -np.inf
    p.save(p.t2star, data)


@refused("sub-01_T2starw.nii.gz has no value above zero")
def negative_image(p):
    """T2* with values below zero only"""
    p.save(p.t2star, -p.noise())


@refused("is no magnitude image: ")
def signed_phase(p):
    """Phase image from -4096 to 4095 under the name of the T2* magnitude"""
    p.save(p.t2star, p.rng.integers(-4096, 4096, (24, 24, 24)).astype(np.int16))


@accepted("looks like a phase image: its background has values of the whole range; do not use the result")
def positive_phase(p):
    """Phase image from 0 to 4095 under the name of the T2* magnitude"""
    data = p.rng.integers(0, 4096, (64, 64, 40))
    data[16:48, 16:48, 10:30] = 900
    p.save(p.t2star, (data // 8).astype(np.int16))


@refused("is a phase image by its ImageType")
def phase_by_sidecar(p):
    """T2* whose sidecar says ImageType P (phase)"""
    p.sidecar({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"], "EchoTime": 0.02})


@accepted("of the values are below zero; the image is lifted to zero")
def normalised_t1w(p):
    """T1w normalised to zero mean"""
    p.save(p.path("T1w"), p.rng.normal(0, 1, (8, 9, 5)).astype(np.float32))


@refused("holds complex numbers")
def complex_image(p):
    """T2* of complex numbers"""
    p.save(p.t2star, (p.noise() + 1j).astype(np.complex64))


@refused("is a colour image")
def colour_image(p):
    """T2* in red, green and blue"""
    p.save(p.t2star, np.zeros((8, 9, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


@refused("has 4 dimensions (8, 9, 5, 3), not 3")
def series(p):
    """T2* with three volumes"""
    p.save(p.t2star, p.noise((8, 9, 5, 3)))


@refused("is a single slice or empty (8, 9, 1)")
def single_slice(p):
    """T2* of one slice"""
    p.save(p.t2star, p.noise((8, 9, 1)))


@refused("sub-01_T2starw.nii.gz")
def axis_of_length_zero(p):
    """Header with an axis of length zero"""
    _header(p.t2star, 42, np.array([8, 0, 5], np.int16))


def _mask_has_shape(ran, shape) -> None:
    mask = nib.load(ran.place.out / "sub-01/anat/sub-01_space-T2starw_label-CMB_mask.nii.gz")
    assert mask.shape == shape, mask.shape


@accepted(check=lambda ran: _mask_has_shape(ran, (8, 9, 5)))
def trailing_axes(p):
    """T2* of shape 8 x 9 x 5 x 1 x 1"""
    p.save(p.t2star, p.noise((8, 9, 5, 1, 1)))


@accepted(check=lambda ran: _mask_has_shape(ran, (8, 9, 600)))
def many_slices(p):
    """T2* of 600 slices"""
    p.save(p.t2star, p.noise((8, 9, 600)))


@accepted("covers only 12 mm: counts are of this slab")
def slab_of_few_slices(p):
    """T2* slab of 3 slices, 12 mm"""
    p.save(p.t2star, p.noise((104, 104, 3)), np.diag([1.0, 1.0, 4.0, 1.0]))


@accepted()
def scaled_integers(p):
    """T2* as 16-bit integers with slope and intercept"""
    image = nib.Nifti1Image((p.noise() * 40).astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    image.header.set_slope_inter(0.025, 1)
    nib.save(image, p.t2star)


@accepted()
def large_floats(p):
    """T2* as 32-bit floats of some ten thousands (see also `--dry-run` on floats up to 8e6)"""
    p.save(p.t2star, p.noise() * 9)


@accepted("finished: 2 sessions would run")
def floats_of_millions(p):
    """T2* as 32-bit floats up to 8e6, with `--dry-run`"""
    p.save(p.t2star, p.noise() * np.float32(5e4))
    return ["--dry-run"]


@accepted()
def big_endian(p):
    """Big-endian T2*"""
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(p.noise().astype(">i2"), np.diag([1.0, 1.0, 2.0, 1.0]), header), p.t2star)


@accepted()
def nifti_2(p):
    """T2* in NIfTI-2"""
    p.save(p.t2star, image_class=nib.Nifti2Image)


@accepted()
def uncompressed(p):
    """Uncompressed T2*"""
    content = bytes(_content(p.t2star))
    p.t2star.unlink()
    p.t2star.with_suffix("").write_bytes(content)
