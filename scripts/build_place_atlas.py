"""Build the atlas of places: the region atlas divided by rules of geometry, in the space of the template.

Usage: python scripts/build_place_atlas.py [--compare ATLASES_DIR]

Deep grey matter, brainstem and cerebellum are those of the region atlas. The lobes are divided by lines through
landmarks of the ICBM152 average; insula, capsules and corpus callosum are found by where they lie between other
structures. No other atlas goes in. ``--compare`` measures the agreement with two published ones in ATLASES_DIR, which
are not shipped: ``ICBM2009_CerebrA.nii.gz`` (Manera et al. 2020) and ``MARS_regions_MNI.nii.gz`` (Sundaresan et al.
2023), and writes it into the record beside the atlas.
"""

import argparse
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from mbseg_bids.clinical.mars import LOCATION_OF_PLACE
from mbseg_bids.imaging.place_labels import (
    BASAL_GANGLIA,
    BRAINSTEM_PLACE,
    CEREBELLUM,
    CORPUS_CALLOSUM,
    DEEP_WM,
    EXTERNAL_CAPSULE,
    FRONTAL,
    INSULA,
    INTERNAL_CAPSULE,
    LOBES,
    OCCIPITAL,
    PARIETAL,
    PLACE_LABELS,
    PLACES,
    SIDES,
    TEMPORAL,
    THALAMUS,
)
from mbseg_bids.imaging.rating_places import LATERAL_VENTRICLES, deep_white_matter
from mbseg_bids.imaging.template import DEFAULT_TEMPLATE, load_region_atlas, place_atlas_file

CENTRAL_SULCUS = ((-20.0, 5.0), (10.0, -4.0), (30.0, -11.0), (50.0, -21.0), (60.0, -26.0), (75.0, -32.0))
"""(z, y) in mm: frontal in front of it, parietal behind."""
SYLVIAN_FISSURE = ((-45.0, 26.0), (-30.0, 17.0), (-20.0, 10.0), (0.0, 2.0), (12.0, -8.0), (20.0, -14.0))
"""(y, z): temporal below it. Behind its end, the lower border of the parietal lobe falls to the preoccipital notch."""
PARIETAL_FLOOR = ((-70.0, 8.0), (-45.0, 26.0))
"""(y, z) behind the end of the fissure."""
PARIETO_OCCIPITAL = ((-20.0, -62.0), (0.0, -66.0), (20.0, -70.0), (40.0, -80.0))
"""(z, y) on the side of the brain: occipital behind it. From the preoccipital notch to where the sulcus reaches it."""
PARIETO_OCCIPITAL_MEDIAL = ((-20.0, -52.0), (5.0, -58.0), (20.0, -68.0), (38.0, -80.0))
"""(z, y) within 20 mm of the midline, along the sulcus itself."""
MEDIAL, MEDIAL_FLOOR = 20.0, -4.0
"""Within so many mm of the midline, the temporal lobe lies below z = -4 mm."""
TEMPORAL_FRONT = 22.0
"""y, mm: nothing of the temporal lobe lies in front of it."""

CALLOSUM_WIDTH = 8.0
"""mm from the midline. What lies farther out is within 10 mm of the lateral ventricle, so deep in any case."""
MIDLINE_WIDTH = 2.0
"""Brainstem and corpus callosum within so many mm of the mid-plane are on the midline."""
CAPSULE_SPAN = 13.0
"""Distances (mm) to the lentiform nucleus and to caudate or thalamus add up to no more in the internal capsule."""
EXTERNAL_REACH, INSULA_REACH, INSULA_SIDE = 6.0, 13.0, 44.0
"""mm: from the putamen to the outer edge of the external capsule, to that of the insula; the opercula lie farther out
than 44 mm from the midline."""
SMALLEST_ISLAND = 200

LEFT_RIGHT = {
    "cortex": (3, 42),
    "white": (2, 41),
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "ganglia": (11, 12, 13, 26, 28, 50, 51, 52, 58, 60),
    "medial_temporal": (17, 18, 53, 54),
    "cerebellum": (7, 8, 46, 47),
    "brainstem": (16,),
}
CEREBRA_LOBES = {
    FRONTAL: (1, 7, 8, 15, 16, 22, 30, 32, 35, 38, 42, 44),
    PARIETAL: (9, 10, 13, 31, 33, 47, 51),
    TEMPORAL: (3, 14, 18, 24, 28, 36, 45),
    OCCIPITAL: (6, 12, 34, 43),
    INSULA: (23,),
}
"""Parcels of CerebrA on the right by lobe; those on the left are 51 higher. Cingulate: front half frontal."""
LOCATIONS = ("lobar", "deep", "infratentorial")
MARS_NUMBERS = (12, 13, 6, 7, 8, 9, 10, 11, 1, 2, 3, 4, 5)
"""Place of each region of MARS_regions_MNI, whose values are the squares of 1 to 13."""


def main() -> int:
    """Divide, write, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", type=Path, metavar="ATLASES_DIR")
    args = parser.parse_args()
    regions = load_region_atlas()
    places = divide(regions.data, regions.affine)
    agreement = (
        compare(with_deep_white_matter(places, regions.data), regions.affine, args.compare) if args.compare else {}
    )
    write(places, regions.affine, agreement)
    return 0


def divide(labels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the label of a place for each voxel of brain tissue of the region atlas, uint8."""
    axes = [np.arange(n) * affine[a, a] + affine[a, 3] for a, n in enumerate(labels.shape)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    tissue = {name: np.isin(labels, numbers) for name, numbers in LEFT_RIGHT.items()}
    cerebrum = tissue["cortex"] | tissue["white"]
    places = np.zeros(labels.shape, np.uint8)
    places[cerebrum] = lobes(np.abs(x), y, z)[cerebrum]
    places = without_islands(places)
    places[tissue["medial_temporal"]] = TEMPORAL
    inner = tissue["white"] & (z > -22)
    lentiform = distance(tissue["putamen"] | tissue["pallidum"])
    central = distance(tissue["caudate"] | tissue["thalamus"])
    putamen = distance(tissue["putamen"])
    side_of_putamen = lateral_edge(tissue["putamen"], np.abs(x))
    outside = (np.abs(x) >= side_of_putamen) & (putamen <= EXTERNAL_REACH)
    places[tissue["cortex"] & (putamen <= INSULA_REACH) & (np.abs(x) <= INSULA_SIDE) & (np.abs(x) >= 26)] = INSULA
    places[inner & (lentiform + central <= CAPSULE_SPAN) & ~outside] = INTERNAL_CAPSULE
    places[inner & outside & (z > -14)] = EXTERNAL_CAPSULE
    places[callosum(tissue["white"], x, z)] = CORPUS_CALLOSUM
    places[tissue["ganglia"]] = BASAL_GANGLIA
    places[tissue["thalamus"]] = THALAMUS
    places[tissue["cerebellum"]] = CEREBELLUM
    places[tissue["brainstem"]] = BRAINSTEM_PLACE
    side = np.where(x < 0, SIDES["left"], SIDES["right"])
    sided = places + np.broadcast_to(side, places.shape).astype(np.uint8)
    middle = np.isin(places, (CORPUS_CALLOSUM, BRAINSTEM_PLACE)) & (np.abs(x) <= MIDLINE_WIDTH)
    sided[middle] = places[middle] + SIDES["midline"]
    sided[places == 0] = 0
    return sided


def lobes(ax: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the lobe at each point; ``ax`` is the distance to the midline, all in mm, broadcast together."""
    shape = np.broadcast_shapes(ax.shape, y.shape, z.shape)
    lobe = np.where(y >= line(CENTRAL_SULCUS, z), FRONTAL, PARIETAL)
    lobe = np.broadcast_to(lobe, shape).copy()
    end = SYLVIAN_FISSURE[0][0]
    roof = np.where(y >= end, line(SYLVIAN_FISSURE, y), line(PARIETAL_FLOOR, y))
    roof = np.where(ax < MEDIAL, MEDIAL_FLOOR, roof)
    lobe[np.broadcast_to((z < roof) & (y < TEMPORAL_FRONT), shape)] = TEMPORAL
    border = np.where(ax < MEDIAL, line(PARIETO_OCCIPITAL_MEDIAL, z), line(PARIETO_OCCIPITAL, z))
    lobe[np.broadcast_to(y < border, shape)] = OCCIPITAL
    medial_front = (ax < MEDIAL) & (y > 0) & (z < roof)  # gyrus rectus and what lies above it
    lobe[np.broadcast_to(medial_front, shape)] = FRONTAL
    return lobe


def line(points: tuple[tuple[float, float], ...], at: np.ndarray) -> np.ndarray:
    """Return the second coordinate of a broken line at values of the first."""
    first, second = zip(*points, strict=True)
    return np.interp(at, first, second)


def callosum(white: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the largest piece of white matter that crosses the midline above the anterior commissure, widened."""
    crossing = (white & (np.abs(x) <= 1.5) & (z > -4)).any(axis=0)
    pieces, count = ndimage.label(crossing)
    largest = 1 + np.argmax(np.bincount(pieces.ravel(), minlength=count + 1)[1:])
    return white & (np.abs(x) <= CALLOSUM_WIDTH) & ndimage.binary_dilation(pieces == largest)[None]


def lateral_edge(structure: np.ndarray, ax: np.ndarray) -> np.ndarray:
    """Return for each (y, z) how far out (mm) the structure reaches; where there is none, as nearby."""
    edge = np.where(structure, ax, 0).max(axis=0)
    nearest = ndimage.distance_transform_edt(edge == 0, return_distances=False, return_indices=True)
    return edge[tuple(nearest)][None]


def distance(structure: np.ndarray) -> np.ndarray:
    """Return the distance (mm) to a structure, computed within 20 mm of it and large elsewhere."""
    box = ndimage.find_objects(structure.astype(np.uint8))[0]
    box = tuple(slice(max(0, b.start - 20), b.stop + 20) for b in box)
    far = np.full(structure.shape, 99, np.float32)
    far[box] = ndimage.distance_transform_edt(~structure[box])
    return far


def without_islands(places: np.ndarray) -> np.ndarray:
    """Give small pieces of a lobe to the nearest other one."""
    doubtful = np.zeros(places.shape, bool)
    for place in LOBES[:4]:
        pieces, _ = ndimage.label(places == place)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = SMALLEST_ISLAND
        doubtful |= (sizes < SMALLEST_ISLAND)[pieces]
    kept = np.where(doubtful, 0, places)
    nearest = ndimage.distance_transform_edt(kept == 0, return_distances=False, return_indices=True)
    return np.where(doubtful, kept[tuple(nearest)], places)


def with_deep_white_matter(places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the places with deep white matter, measured on the ventricles of the region atlas as on a person's own."""
    white = np.isin(labels, LEFT_RIGHT["white"]) & np.isin(places % 20, LOBES)
    deep = deep_white_matter(white, np.isin(labels, LATERAL_VENTRICLES), (1.0, 1.0, 1.0))
    return np.where(deep, places - places % 20 + DEEP_WM, places).astype(np.uint8)


def compare(places: np.ndarray, affine: np.ndarray, folder: Path) -> dict[str, dict[str, float]]:
    """Return for each place the part (%) of the other atlas's voxels, of those we label too, that agree."""
    cerebra = nib.load(folder / "ICBM2009_CerebrA.nii.gz")
    lobe_of = np.zeros(256, np.uint8)
    for lobe, numbers in CEREBRA_LOBES.items():
        lobe_of[list(numbers) + [n + 51 for n in numbers]] = lobe
    mars = nib.load(folder / "MARS_regions_MNI.nii.gz")
    number_of = np.array([0, *MARS_NUMBERS], np.uint8)
    root = np.rint(np.sqrt(np.asarray(mars.dataobj, np.float32))).astype(int)
    return {
        "CerebrA, cortex": agreement(places, affine, lobe_of[np.asarray(cerebra.dataobj).astype(int)], cerebra.affine),
        "MARS_regions_MNI": agreement(places, affine, number_of[root], mars.affine),
    }


def agreement(places: np.ndarray, affine: np.ndarray, other: np.ndarray, other_affine: np.ndarray) -> dict[str, float]:
    """Return the agreement for each place, and that of lobes with lobes."""
    index = np.argwhere(other > 0)
    to_ours = np.linalg.inv(affine) @ other_affine
    ours = np.rint(index @ to_ours[:3, :3].T + to_ours[:3, 3]).astype(int)
    inside = ((ours >= 0) & (ours < places.shape)).all(axis=1)
    theirs, here = other[tuple(index[inside].T)], places[tuple(ours[inside].T)] % 20
    both = here > 0
    theirs, here = theirs[both], here[both]
    found = {PLACES[n]: 100 * float((here[theirs == n] == n).mean()) for n in PLACES if (theirs == n).any()}
    lobar = np.isin(theirs, LOBES) & np.isin(here, LOBES)
    found["lobes_given_lobar_in_both"] = 100 * float((theirs == here)[lobar].mean())
    if (theirs == DEEP_WM).any():
        location = np.array([0] + [LOCATIONS.index(LOCATION_OF_PLACE[name]) for name in PLACES.values()])
        for number, name in enumerate(LOCATIONS):
            found[name] = 100 * float((location[here] == number)[location[theirs] == number].mean())
    return {name: round(value, 1) for name, value in found.items()}


def write(places: np.ndarray, affine: np.ndarray, agreement_found: dict) -> None:
    """Write the atlas and what is to be known about it into the package."""
    image = nib.Nifti1Image(places, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"places of the Microbleed Anatomical Rating Scale"
    nib.save(image, str(place_atlas_file("nii.gz")))
    record = {
        "Name": "Place atlas of the mbseg-bids package",
        "Space": DEFAULT_TEMPLATE,
        "Resolution": "1 mm isotropic, the grid of the template",
        "Labels": {str(n): name for n, name in PLACE_LABELS.items() if (places == n).any()},
        "Sources": "the region atlas of this package (Apache-2.0) and landmarks of the ICBM152 average; no other atlas",
        "License": "Apache-2.0",
        "Method": "lobes by broken lines through landmarks; insula, capsules and corpus callosum by their distance "
        "from, and place between, structures of the region atlas; deep and periventricular white matter is not in the "
        "atlas, as it is measured on each person's own ventricles",
        "Code": "scripts/build_place_atlas.py",
        "Agreement": {
            "Description": "Part (%) of the voxels of a place in the other atlas, of those this one labels too, that "
            "have the same place here. The other atlases did not go into this one. Their borders differ from one "
            "another. White matter within 10 mm of the region atlas's lateral ventricles was made deep first, as on a "
            "person; MARS_regions_MNI goes by a map of white matter instead, which reaches farther than 10 mm.",
            **agreement_found,
        },
    }
    Path(str(place_atlas_file("json"))).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record["Agreement"], indent=2))


if __name__ == "__main__":
    sys.exit(main())
