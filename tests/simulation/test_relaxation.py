import numpy as np
import pytest

from mbseg_bids.simulation.protocol import Protocol, draw_protocol, label_signals
from mbseg_bids.simulation.relaxation import (
    Relaxation,
    iron_content,
    mprage,
    spoiled_gradient_echo,
    tissue_of,
    tissue_relaxation,
    turbo_spin_echo,
)

TISSUE = Relaxation(t1=1000, t2=80, t2star=50, density=0.8)


def test_spoiled_gradient_echo_at_ninety_degrees_is_saturation_recovery():
    signal = spoiled_gradient_echo(TISSUE, repetition_time=500, echo_time=20, flip_angle=90)
    assert signal == pytest.approx(0.8 * (1 - np.exp(-0.5)) * np.exp(-20 / 50))


def test_turbo_spin_echo_decays_with_t2():
    signal = turbo_spin_echo(TISSUE, repetition_time=4000, echo_time=100)
    assert signal == pytest.approx(0.8 * (1 - np.exp(-4)) * np.exp(-100 / 80))


def test_mprage_with_tiny_flip_angle_is_inversion_recovery():
    angle, tr, ti = 0.01, 3000, 900
    signal = mprage(TISSUE, repetition_time=tr, inversion_time=ti, echo_time=0, flip_angle=angle, n_echoes=2)
    e_tr, e_ti = np.exp(-tr / 1000), np.exp(-ti / 1000)
    # Perfect inversion of the steady state that recovers for TR: 1 - 2 e^-TI + ... = 1 - (1 + m) e^-TI.
    steady = (1 - e_tr) / (1 + e_tr)
    assert signal == pytest.approx(0.8 * np.sin(np.deg2rad(angle)) * abs(1 - (1 + steady) * e_ti), rel=1e-3)


@pytest.mark.parametrize("field_strength", [1.5, 3.0])
@pytest.mark.parametrize("t1w_sequence", ["mprage", "gradient_echo"])
def test_order_of_tissues_on_each_contrast(field_strength, t1w_sequence):
    tissues = tissue_relaxation(field_strength, age=70)
    protocol = Protocol(field_strength=field_strength, t1w=t1w_sequence, echo_time=25)
    t2star, t2w, t1w = label_signals(protocol, tissues)
    assert t1w["white_matter"] > t1w["cortex"] > t1w["csf"]
    assert t2w["csf"] > t2w["cortex"] > t2w["white_matter"]
    assert t2star["csf"] > t2star["cortex"]
    assert t2star["pallidum"] < min(t2star["thalamus"], t2star["white_matter"])
    assert t2w["hyperintensity"] > 1.5 * t2w["white_matter"]
    assert t1w["hyperintensity"] < t1w["white_matter"]


def test_iron_darkens_the_pallidum_with_age_and_field():
    assert iron_content("pallidum", 70) > iron_content("putamen", 70) > iron_content("caudate", 70) > 0
    assert iron_content("cortex", 70) == 0
    young, old = (tissue_relaxation(3.0, age)["pallidum"].t2star for age in (20, 80))
    assert old < young
    assert tissue_relaxation(3.0, 70)["pallidum"].t2star < tissue_relaxation(1.5, 70)["pallidum"].t2star
    # R2* of an old pallidum at 3 T is about 40 / s.
    assert 1e3 / tissue_relaxation(3.0, 75)["pallidum"].t2star == pytest.approx(41, abs=4)


def test_labels_of_freesurfer():
    expected = {2: "white_matter", 42: "cortex", 1015: "cortex", 12101: "cortex", 4010: "white_matter", 13: "pallidum"}
    assert {label: tissue_of(label) for label in expected} == expected
    assert tissue_of(0) == tissue_of(499) == "air"


def test_drawn_protocols_stay_in_the_range_of_cohorts(rng):
    for _ in range(50):
        protocol = draw_protocol(rng)
        assert protocol.field_strength in (1.5, 3.0)
        assert 15 <= protocol.echo_time <= 40
        assert 0.5 <= protocol.spacing[0] <= 1.2
        assert 0.8 <= protocol.spacing[2] <= 6
