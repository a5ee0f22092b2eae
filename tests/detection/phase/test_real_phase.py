"""Phase of real scans, where they are at hand: what is read of it, and that an unsuitable one says nothing."""

import json

import nibabel as nib
import numpy as np
import pytest

from mbseg_bids.detection.phase.dipole import PhaseScan
from mbseg_bids.detection.phase.handedness import convention
from mbseg_bids.imaging.phase import Echo, NotPhaseError, coherence, phase_in_radians, wrapped


@pytest.fixture(scope="module")
def philips(shared_data):
    """Magnitude, stored phase, its sidecar and affine for both echoes of a 3 T scan."""
    stem = shared_data / "real" / "sub-philips" / "anat"
    if not stem.is_dir():
        pytest.skip("the scan of sub-philips is not there")
    echoes = []
    for n in (1, 2):
        magnitude, phase = (nib.load(stem / f"sub-philips_echo-{n}_part-{p}_MEGRE.nii.gz") for p in ("mag", "phase"))
        metadata = json.loads((stem / f"sub-philips_echo-{n}_part-phase_MEGRE.json").read_text())
        echoes.append((magnitude.get_fdata(dtype=np.float32), phase.get_fdata(dtype=np.float32), metadata))
    return echoes, magnitude.affine


def test_a_real_phase_is_read_and_hangs_together(philips):
    scans, _ = philips
    for magnitude, stored, metadata in scans:
        radians, _ = phase_in_radians(stored, magnitude, metadata.get("Units"))
        strong = magnitude > np.percentile(magnitude, 95) / 3
        assert coherence(radians, strong) > 0.8
        assert np.ptp(radians) > 6


def test_a_real_magnitude_is_no_phase(philips, shared_data):
    for magnitude, *_ in philips[0]:
        with pytest.raises(NotPhaseError, match="it is a magnitude"):
            phase_in_radians(magnitude, magnitude, "rad")
    path = shared_data / "partial" / "romeo7T_crop_mag.nii"
    if not path.is_file():
        pytest.skip("the 7 T crop is not there")
    echoes = nib.load(path).get_fdata(dtype=np.float32)
    for number in (1, 2):  # a later echo under the name of the phase of the first
        with pytest.raises(NotPhaseError):
            phase_in_radians(echoes[..., number], echoes[..., 0])


def test_echoes_too_short_for_t2star_leave_the_convention_open(philips):
    scans, affine = philips
    echoes = tuple(Echo(m, phase_in_radians(p, m, j.get("Units"))[0], j["EchoTime"]) for m, p, j in scans)
    assert max(echo.echo_time for echo in echoes) * 3.0 < 0.02
    brain = echoes[0].magnitude > np.percentile(echoes[0].magnitude, 95) / 3
    assert convention(PhaseScan(echoes, brain, affine, 3.0)).sign == 0


def test_the_same_scan_the_other_way_round_reads_the_other_way_round(philips):
    (magnitude, stored, metadata), _ = philips[0]
    forwards, scale = phase_in_radians(stored, magnitude, metadata.get("Units"))
    backwards, same = phase_in_radians(-stored, magnitude, metadata.get("Units"))
    assert scale == same
    assert np.abs(wrapped(forwards + backwards)).max() < 1e-3
