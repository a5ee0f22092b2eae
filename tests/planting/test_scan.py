"""What is read of an output folder, and what is refused."""

import pytest

from mbseg_bids.errors import InvalidDatasetError, MissingImageError, NothingSelectedError, UsageError
from mbseg_bids.planting.plant import Acquisition
from mbseg_bids.planting.scan import acquisition_of, detection_settings, finished_sessions, read_scan


def said(metadata, **more):
    return {"inputs": {"T2starw": {"metadata": metadata} | more}}


def test_acquisition():
    scan = {"EchoTime": 0.02, "MagneticFieldStrength": 1.5}
    assert acquisition_of(said(scan)) == Acquisition(20.0, 1.5)
    assert acquisition_of(said(scan), 30.0, 7.0) == Acquisition(30.0, 7.0)
    nothing = acquisition_of({})
    assert (nothing.echo_time, nothing.field_strength, len(nothing.assumed)) == (25.0, 3.0, 2)
    several = acquisition_of(said(scan, paths=["a", "b"]))
    assert (several.echo_time, several.field_strength) == (25.0, 1.5)
    assert "echo time" in several.assumed[0]


def test_settings_of_the_run():
    run = {"settings": {"detection": {"ratio_threshold": 1.3, "of_a_later_version": 1, "second_look": True}}}
    settings = detection_settings(run, second_look_threshold=0.4, weights=None)
    assert (settings.ratio_threshold, settings.second_look_threshold, settings.weights) == (1.3, 0.4, "default")
    own = {"settings": {"detection": {"weights": "<weights_dir>/mine.safetensors"}}}
    with pytest.raises(UsageError, match=r"mine\.safetensors"):
        detection_settings(own)
    assert detection_settings(own, weights="default").weights == "default"


def test_sessions(output_dir, tmp_path):
    assert [files.key.prefix for files in finished_sessions(output_dir)] == ["sub-01", "sub-02"]
    assert [files.key.prefix for files in finished_sessions(output_dir, ["sub-02"])] == ["sub-02"]
    (output_dir / "logs" / "sub-02_done.json").unlink()
    with pytest.raises(NothingSelectedError):
        finished_sessions(output_dir, ["02"])
    with pytest.raises(InvalidDatasetError):
        finished_sessions(tmp_path)


def test_scan(output_dir, phantom):
    files = finished_sessions(output_dir)[0]
    scan = read_scan(files)
    assert scan.slice_thickness == 2
    assert (scan.reported > 0).sum() == (phantom.lesions > 0).sum()
    assert scan.head.native_shape == phantom.t2star.shape
    assert not scan.others[0].any(), "there is no T2w"
    next(files.folder.glob("*seg-CMB_dseg.nii.gz")).unlink()
    with pytest.raises(MissingImageError, match="seg-CMB_dseg"):
        read_scan(finished_sessions(output_dir)[0])
