"""Whether each scan shows the contrast it is named for: how bright fluid is beside white matter.

Fluid (CSF) has the longest T1 and T2 of the brain and white matter the shortest: fluid is dark on T1w, brighter than
white matter on T2w, and in between on T2*, whose repetition time is short. So the quotient of the two signals rises
from T1w over T2* to T2w, whatever the scanner. Where they are is taken from the warped atlas, not from the tissue found
on the T1w: that is found by its signal, and so it would be in order on any image.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.contrasts import TITLES
from mbseg_bids.imaging.tissue_from_atlas import VENTRICLES

WHITE_MATTER = (2, 41)
"""FreeSurfer numbers of cerebral white matter."""
ORDER = ("T1w", "T2starw", "T2w")
"""Contrasts by the quotient of fluid and white matter, smallest first."""
CLEARLY = 1.2
"""Factor by which two quotients must be in the wrong order, or one on the wrong side of 1, to be told."""
SMALLEST_PLACE = 20
"""Voxels of ventricle and of white matter, each, below which nothing is said."""


def fluid_to_white_matter(
    image: npt.NDArray, brain: npt.NDArray[np.bool_], atlas: npt.NDArray[np.integer]
) -> float | None:
    """Return the median signal of the lateral ventricles over that of cerebral white matter.

    Parameters
    ----------
    image
        Shape (i, j, k), bias corrected, zero without signal; the unit does not matter.
    brain
        Mask of that shape; only voxels inside count.
    atlas
        FreeSurfer numbers of the warped region atlas, same shape.

    Returns
    -------
    None where there are too few voxels of either, or white matter gives no signal.
    """
    fluid, white = (_core(brain & np.isin(atlas, numbers)) for numbers in (VENTRICLES, WHITE_MATTER))
    if min(np.count_nonzero(fluid), np.count_nonzero(white)) < SMALLEST_PLACE:
        return None
    reference = float(np.median(image[white]))
    return float(np.median(image[fluid])) / reference if reference > 0 else None


def measure_contrasts(
    images: Mapping[str, npt.NDArray], brain: npt.NDArray[np.bool_], atlas: npt.NDArray[np.integer]
) -> dict[str, float]:
    """Return :func:`fluid_to_white_matter` of each image by its contrast, without those of which it is not known."""
    found = {name: fluid_to_white_matter(image, brain, atlas) for name, image in images.items()}
    return {name: round(value, 4) for name, value in found.items() if value is not None}


def contrast_warnings(quotients: Mapping[str, float]) -> list[str]:
    """Return a sentence for what is clearly not the contrast it is named for.

    Parameters
    ----------
    quotients
        Fluid over white matter (see :func:`fluid_to_white_matter`) by contrast: ``T1w``, ``T2w``, ``T2starw``;
        those there are.

    Returns
    -------
    The two whose order is most wrong, by name and figure, then each other T1w or T2w that is wrong by itself: fluid
    brighter than white matter on T1w, or darker on T2w. Empty where nothing is clearly wrong.
    """
    known = {name: quotients[name] for name in ORDER if quotients.get(name, 0) > 0}
    pairs = [(first, second) for n, first in enumerate(known) for second in list(known)[n + 1 :]]
    first, second = max(pairs, key=lambda pair: known[pair[0]] / known[pair[1]], default=("", ""))
    told, sentences = set(), []
    if pairs and known[first] / known[second] >= CLEARLY:
        told = {first, second}
        sentences.append(
            f"{TITLES[first]} and {TITLES[second]} look swapped: fluid is {known[first]:.2f} times as bright as white "
            f"matter on {TITLES[first]} and {known[second]:.2f} times on {TITLES[second]}, the other way round is "
            "expected; do not use the result before their names are checked"
        )
    wrong = {"T1w": known.get("T1w", 0) >= CLEARLY, "T2w": known.get("T2w", CLEARLY) <= 1 / CLEARLY}
    expected = {"T1w": "darker", "T2w": "brighter"}
    sentences += [
        f"{name} does not look like a {name}: fluid is {known[name]:.2f} times as bright as white matter, and should "
        f"be {expected[name]}; do not use the result before its name is checked"
        for name in wrong
        if wrong[name] and name not in told
    ]
    return sentences


def _core(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the mask without its border, which may be another tissue, where enough is left."""
    core = ndimage.binary_erosion(mask)
    return core if np.count_nonzero(core) >= SMALLEST_PLACE else mask
