"""What happens to a head and its microbleeds from one visit to the next."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.geometry import small_move
from mbseg_bids.simulation.lesions import draw_microbleeds
from mbseg_bids.simulation.susceptibility import Feature, Sphere

USUAL_NEW = 2.0
"""Mean number of new microbleeds from one visit to the next where none is asked for."""
USUAL_TURN = 0.04
"""Standard deviation, radians about each axis, of how differently a head lies at the next visit."""
GROWTH = 1.35
"""Of the radius of a microbleed that grows: 2.5 times the volume of haemosiderin."""


@dataclass(frozen=True)
class VisitPlan:
    """How each later visit differs from the one before.

    Attributes
    ----------
    new
        Microbleeds that appear; None: a Poisson number, `USUAL_NEW` on average.
    grown, gone
        Microbleeds that grow, and that vanish, as far as there are that many; none does both.
    turn
        Angle (degrees) by which the head lies turned against the first visit, about an axis drawn anew; None: a little.
    spacing
        T2* voxels (mm) of later visits; None: those of the first.
    """

    new: int | None = None
    grown: int = 0
    gone: int = 0
    turn: float | None = None
    spacing: tuple[float, float, float] | None = None


def next_microbleeds(
    lesions: dict[int, Feature], n_so_far: int, anatomy: Anatomy, plan: VisitPlan, rng: np.random.Generator
) -> dict[int, Feature]:
    """Return the microbleeds of the next visit, by the number that each keeps for life.

    Parameters
    ----------
    lesions
        Those of this visit, by number.
    n_so_far
        How many there ever were: the next new one gets this number.
    anatomy, plan, rng
        Head, what happens, and the source of everything random.
    """
    chosen = [int(n) for n in rng.permutation(list(lesions))] if plan.gone or plan.grown else []
    gone, growing = chosen[: plan.gone], chosen[plan.gone : plan.gone + plan.grown]
    kept = {n: grown(lesion) if n in growing else lesion for n, lesion in lesions.items() if n not in gone}
    n_new = int(rng.poisson(USUAL_NEW)) if plan.new is None else plan.new
    places = [lesion.centre for lesion in lesions.values()]  # where one has vanished, none appears
    new = draw_microbleeds(anatomy, n_new, rng, avoid=places)
    return kept | dict(enumerate(new, start=n_so_far))


def grown(lesion: Feature, factor: float = GROWTH) -> Feature:
    """Return a microbleed larger about its centre by a factor of its radius."""
    centre = lesion.centre

    def larger(source: Sphere) -> Sphere:
        place = centre + factor * (np.asarray(source.centre) - centre)
        return replace(source, centre=tuple(place.tolist()), radius=factor * source.radius)

    spheres = [larger(source) for source in lesion.sources if isinstance(source, Sphere)]
    return replace(lesion, sources=tuple(spheres))


def reposition(visit: int, plan: VisitPlan, centre: npt.ArrayLike, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return how the head lies at a visit (0 is the first), 4 x 4, from its own world to that of the scanner."""
    move = small_move(rng, 3.0, USUAL_TURN if plan.turn is None else 0.0, np.asarray(centre))
    if plan.turn is None or visit == 0:
        return move
    turned: npt.NDArray[np.float64] = np.matmul(move, turn_about(centre, rng.normal(size=3), plan.turn))
    return turned


def turn_about(centre: npt.ArrayLike, axis: npt.ArrayLike, degrees: float) -> npt.NDArray[np.float64]:
    """Return the rotation (4 x 4) by an angle about an axis through a point, by Rodrigues' formula."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    turn[:3, 3] = np.asarray(centre) - turn[:3, :3] @ np.asarray(centre)
    return turn
