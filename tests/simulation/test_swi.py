import numpy as np
import pytest

from mbseg_bids.simulation.lesions import visible_voxels
from mbseg_bids.simulation.protocol import draw_protocol
from mbseg_bids.simulation.rendering import render
from mbseg_bids.simulation.susceptibility import Sphere, Vessel
from mbseg_bids.simulation.swi import SWI_REACH, phase_mask


def test_the_mask_of_a_known_phase():
    """One voxel in wide surroundings: the low-pass filter hardly sees it."""
    ratio = np.ones((41, 41, 1), np.complex64)
    ratio[20, 20], ratio[10, 10] = np.exp(1j * np.pi / 2), np.exp(-1j * np.pi / 2)
    mask = phase_mask(ratio, (1, 1, 1))
    assert mask[20, 20, 0] == pytest.approx(0.5**4, rel=0.1)
    assert mask[10, 10, 0] == pytest.approx(1.0, abs=0.02)  # the other sign is left as it is
    assert phase_mask(ratio, (1, 1, 1), power=1)[20, 20, 0] == pytest.approx(0.5, rel=0.05)


def test_slow_phase_is_filtered_out():
    i = np.arange(60)[:, None, None]
    ratio = np.broadcast_to(np.exp(0.02j * i), (60, 60, 2)).astype(np.complex64)
    assert phase_mask(ratio, (1, 1, 2))[20:40, 20:40].min() > 0.9


def rendered(source, spacing=(0.5, 0.5, 1.0)):
    shape = [round(24 / s) for s in spacing]
    affine = np.diag([*spacing, 1.0])
    return render([source], affine, shape, echo_time=20, field_strength=3, reach=SWI_REACH).ratio, spacing


def test_veins_along_the_field_and_microbleeds_are_darker_than_on_the_magnitude():
    vein, spacing = rendered(Vessel(((12.2, 12.1, 2), (12.2, 12.1, 22)), 0.35, 0.4))
    weighted = np.abs(vein) * phase_mask(vein, spacing)
    assert weighted.min() < 0.8 * np.abs(vein).min()
    bleed, spacing = rendered(Sphere((12.1, 12.2, 12.3), 0.8, 1.1))
    weighted = np.abs(bleed) * phase_mask(bleed, spacing)
    assert visible_voxels(weighted).sum() > visible_voxels(np.abs(bleed)).sum()


def test_calcium_is_told_from_blood_by_its_phase():
    """At the equator the mask leaves blood alone and darkens calcium."""
    masks = []
    for dchi in (1.1, -1.1):
        ratio, spacing = rendered(Sphere((12, 12, 12), 0.8, dchi))
        middle = np.array(ratio.shape) // 2
        masks.append(
            phase_mask(ratio, spacing)[middle[0] - 4 : middle[0] + 5, middle[1] - 4 : middle[1] + 5, middle[2]]
        )
    assert masks[1].mean() < masks[0].mean()


def test_a_small_share_of_protocols_is_susceptibility_weighted():
    rng = np.random.default_rng(1)
    drawn = [draw_protocol(rng) for _ in range(400)]
    assert np.mean([p.swi for p in drawn]) == pytest.approx(0.1, abs=0.04)
    assert all(p.spacing[2] <= 2 and p.repetition_time <= 50 for p in drawn if p.swi)
    assert not any(draw_protocol(rng, swi_share=0.0).swi for _ in range(50))
    assert {p.motion[0] > 0 for p in drawn} == {True, False}
