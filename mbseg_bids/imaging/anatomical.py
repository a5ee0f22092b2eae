"""Anatomy from another image than a T1w: which one, and how it is made to look like a T1w.

On T2w and T2* the order of CSF, grey and white matter is that of a T1w turned upside down. Inverted inside the brain,
such an image can be registered to the T1w template, and segmented, as a T1w is.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mbseg_bids.imaging.volume import Volume

ANATOMICAL_ORDER = ("T1w", "T2w", "T2starw")
"""Contrasts by how much anatomy they show, best first."""


def anatomical_contrast(contrasts: Iterable[str]) -> str:
    """Return the contrast that brain, tissue and regions are found on: T1w, else T2w, else T2starw."""
    have = set(contrasts)
    return next(contrast for contrast in ANATOMICAL_ORDER if contrast in have)


def like_t1w(image: Volume, brain: npt.NDArray[np.bool_], contrast: str) -> Volume:
    """Return the brain with the order of tissues of a T1w: CSF darkest, white matter brightest, zero outside.

    Parameters
    ----------
    image
        Bias corrected.
    brain
        Its mask.
    contrast
        Of the image. A T1w is only masked; any other is inverted below the 99th percentile of the brain, which is CSF.
    """
    values = np.asarray(image.data, np.float32)
    if contrast == "T1w":
        return image.with_data(np.where(brain, values, 0).astype(np.float32))
    top = float(np.percentile(values[brain], 99))
    # What is as bright as CSF must stay above zero, which means outside.
    return image.with_data(np.where(brain, np.clip(top - values, 0.01 * top, None), 0).astype(np.float32))
