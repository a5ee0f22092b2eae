"""How often the sign of a source is right where the dipole fit is sure, and how often it is sure.

Spheres of calcium and of blood in scans of 1.5 and 3 T, echo times of 15-40 ms, slices of 1-5 mm, at any place between
voxels, with noise, a sloping and bowed background, veins about them, and a candidate's centre that is up to 1 mm off.
The field comes from the dipole in Fourier space (tests/phase_scene.py), not from what is fitted.

    python benchmarks/dipole.py [--sources 200] [--seed 0] [--diameters 3 6]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from phase_scene import Scene, scene, turn

from mbseg_bids.detection.phase.dipole import DipoleFit, PhaseScan, fit_dipole
from mbseg_bids.imaging.phase import Echo

CUBE = 32
"""Edge (mm) of what is simulated; of even number whatever the slices, as half a slice more makes no difference."""
SLICES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)


def main() -> None:
    """Print the two figures by slice thickness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--diameters", type=float, nargs=2, default=(3.0, 6.0))
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    rows = [one_source(rng, SLICES[n % len(SLICES)], tuple(args.diameters)) for n in range(args.sources)]
    for name, of in [("all", rows), *((f"{s:g} mm slices", [r for r in rows if r[0] == s]) for s in SLICES)]:
        sure = [right for _, right, is_sure in of if is_sure]
        print(f"{name}: {len(of)} sources, sure of {len(sure)} ({len(sure) / max(len(of), 1):.1%}), ", end="")
        print(f"sign right in {sum(sure)} of these ({sum(sure) / max(len(sure), 1):.1%})")


def one_source(rng: np.random.Generator, slices: float, diameters: tuple[float, float]) -> tuple[float, bool, bool]:
    """Simulate and fit one source; return the thickness, whether the sign is right, and whether the fit is sure."""
    dchi = float(rng.uniform(0.6, 2.0) if rng.random() < 0.5 else -rng.uniform(0.8, 2.5))
    offset = rng.uniform(-2, 2, 3)
    voxel = (float(rng.choice([0.5, 1.0])), float(rng.choice([0.5, 1.0])), slices)
    field, time = float(rng.choice([1.5, 3.0])), float(rng.uniform(0.015, 0.04))
    rotation = turn(*rng.uniform(-25, 25, 2))
    made = scene(
        [(offset, float(rng.uniform(*diameters)), dchi)], _veins(rng), voxel=voxel, field=field, times=(time,),
        noise=float(rng.uniform(0.02, 0.1)), rotation=rotation, size=CUBE, seed=int(rng.integers(1 << 30)),
        slope=float(rng.uniform(0, 12)),
    )  # fmt: skip
    centre = _world(made, offset, voxel) + rng.uniform(-1, 1, 3) / np.sqrt(3)
    fit = fit_dipole(as_scan(made, time, field), centre)
    return slices, _sign_right(fit, dchi), fit.sure


def _veins(rng: np.random.Generator) -> list[tuple]:
    """Return up to three veins that pass the source at 3-12 mm."""
    veins = []
    for _ in range(rng.integers(0, 4)):
        direction = rng.normal(size=3)
        aside = np.cross(direction, rng.normal(size=3))
        veins.append((rng.uniform(4, 12) * aside / np.linalg.norm(aside), direction, rng.uniform(0.7, 1.5), 0.4))
    return veins


def as_scan(made: Scene, time: float, field: float) -> PhaseScan:
    """Return a scene of one echo as the fit takes it."""
    echo = Echo(np.abs(made.signal[0]), np.angle(made.signal[0]).astype(np.float32), time)
    return PhaseScan((echo,), np.ones(echo.magnitude.shape, bool), made.affine, field)


def _world(made: Scene, offset: np.ndarray, voxel: tuple[float, ...]) -> np.ndarray:
    return made.affine[:3, :3] @ ((offset + CUBE / 2) / voxel - 0.5) + made.affine[:3, 3]


def _sign_right(fit: DipoleFit, dchi: float) -> bool:
    return bool(np.sign(fit.moment) == np.sign(dchi))


if __name__ == "__main__":
    main()
