"""Distribution pattern of microbleeds, as far as six regions can tell it.

The Microbleed Anatomical Rating Scale (Gregoire 2009) speaks of lobar, deep and infratentorial microbleeds. It counts
the corpus callosum, the internal and external capsule and the white matter within about 10 mm of the ventricles as
deep. The regions of this package have one cerebral white matter, so a lesion there is taken as lobar; the pattern is
therefore an approximation of the rating scale, and everything that prints it says so. For the same reason the
haemorrhagic part of the Boston criteria 2.0, which hangs on the absence of deep lesions, is not derived here.
"""

from collections.abc import Mapping

LOBAR, DEEP, INFRATENTORIAL = "lobar", "deep", "infratentorial"

LOCATION_OF_REGION: dict[str, str] = {
    "cortical_gm": LOBAR,
    "cerebral_wm": LOBAR,
    "deep_gm": DEEP,
    "brainstem": INFRATENTORIAL,
    "cerebellar_gm": INFRATENTORIAL,
    "cerebellar_wm": INFRATENTORIAL,
}
"""Location of each region; see the module's note on white matter."""

NO_LESION = "none"
STRICTLY_LOBAR = "strictly_lobar"
STRICTLY_DEEP = "strictly_deep_or_infratentorial"
MIXED = "mixed"
UNDETERMINED = "undetermined"

PATTERN_CAVEAT = (
    "Cerebral white matter counts as lobar: deep and periventricular white matter, the capsules and the corpus "
    "callosum, which the Microbleed Anatomical Rating Scale counts as deep, are not told apart from it."
)
"""To be printed wherever the pattern is printed."""

_CEREBELLAR = ("cerebellar_gm", "cerebellar_wm")


def distribution_pattern(counts: Mapping[str, int]) -> str:
    """Return the distribution pattern of the microbleeds counted by region.

    Strictly lobar allows cerebellar lesions beside the lobar ones. Cerebellar lesions alone are infratentorial.
    Lesions of a region without a location (``unassigned``) could be anywhere: they leave ``mixed`` as it is and
    make every other pattern ``undetermined``.

    Parameters
    ----------
    counts
        Region name to number of microbleeds; absent regions count zero.

    Returns
    -------
    str
        ``none``, ``strictly_lobar``, ``strictly_deep_or_infratentorial``, ``mixed`` or ``undetermined``.
    """
    lobar = sum(n for region, n in counts.items() if LOCATION_OF_REGION.get(region) == LOBAR)
    cerebellar = sum(counts.get(region, 0) for region in _CEREBELLAR)
    central = sum(n for region, n in counts.items() if LOCATION_OF_REGION.get(region) in (DEEP, INFRATENTORIAL))
    central -= cerebellar
    unlocated = sum(n for region, n in counts.items() if region not in LOCATION_OF_REGION)
    if lobar and central:
        return MIXED
    if unlocated:
        return UNDETERMINED
    if lobar:
        return STRICTLY_LOBAR
    if central or cerebellar:
        return STRICTLY_DEEP
    return NO_LESION
