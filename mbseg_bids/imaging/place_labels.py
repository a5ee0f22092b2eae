"""Numbers and names of the places in which a reader counts microbleeds.

The places are those of the Microbleed Anatomical Rating Scale (Gregoire et al. 2009, doi:10.1212/WNL.0b013e3181c34a7d).
A label is the number of a place, plus 20 on the right, plus 40 on the midline, which only the two unpaired places have.
"""

LEFT, RIGHT, MIDLINE = "left", "right", "midline"
SIDES: dict[str, int] = {LEFT: 0, RIGHT: 20, MIDLINE: 40}
"""Side of the patient -> what it adds to the number of a place."""
_STEP = 20

FRONTAL, PARIETAL, TEMPORAL, OCCIPITAL, INSULA = 1, 2, 3, 4, 5
BASAL_GANGLIA, THALAMUS, INTERNAL_CAPSULE, EXTERNAL_CAPSULE, CORPUS_CALLOSUM, DEEP_WM = 6, 7, 8, 9, 10, 11
BRAINSTEM_PLACE, CEREBELLUM = 12, 13

PLACES: dict[int, str] = {
    FRONTAL: "frontal",
    PARIETAL: "parietal",
    TEMPORAL: "temporal",
    OCCIPITAL: "occipital",
    INSULA: "insula",
    BASAL_GANGLIA: "basal_ganglia",
    THALAMUS: "thalamus",
    INTERNAL_CAPSULE: "internal_capsule",
    EXTERNAL_CAPSULE: "external_capsule",
    CORPUS_CALLOSUM: "corpus_callosum",
    DEEP_WM: "deep_periventricular_wm",
    BRAINSTEM_PLACE: "brainstem",
    CEREBELLUM: "cerebellum",
}
"""The first five are lobes: cortex and the white matter beneath it."""
LOBES = (FRONTAL, PARIETAL, TEMPORAL, OCCIPITAL, INSULA)
TRACTS = (INTERNAL_CAPSULE, EXTERNAL_CAPSULE, CORPUS_CALLOSUM)
UNPAIRED = (CORPUS_CALLOSUM, BRAINSTEM_PLACE)


def place_label(place: int, side: str) -> int:
    """Return the label of a place on a side (``left``, ``right`` or ``midline``)."""
    return place + SIDES[side]


def split_label(label: int) -> tuple[str, str]:
    """Return place and side of a label, by name.

    Raises
    ------
    ValueError
        If no place has this label.
    """
    if label not in PLACE_LABELS:
        raise ValueError(f"no place has the label {label}")
    return PLACES[label % _STEP], next(side for side, offset in SIDES.items() if offset == label - label % _STEP)


PLACE_LABELS: dict[int, str] = {
    place_label(place, side): f"{side}_{name}"
    for side in SIDES
    for place, name in PLACES.items()
    if side != MIDLINE or place in UNPAIRED
}
"""Every label an image of places may hold, and its name (``left_frontal``)."""
