"""Build the region atlas: label maps of 14 people, registered to the template brain, carried there and voted on.

Usage: python scripts/build_region_atlas.py LABELMAPS_DIR WORK_DIR

LABELMAPS_DIR holds ``labelmap_*.nii.gz`` of BBillot/SynthSeg (Apache-2.0; ``data/training_label_maps`` there). Each map
is given plain T1w-like intensities, registered with the package's own coarse preset, and its labels are brought to the
1-mm template grid by the nearest voxel. A vote with votes smoothed by 0.7 mm decides; islands go to the runner-up.
WORK_DIR keeps the carried maps, so that a second call only votes.
"""

import argparse
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.registration import register_template
from mbseg_bids.imaging.template import DEFAULT_TEMPLATE, atlas_file, load_template
from mbseg_bids.imaging.transforms import resample
from mbseg_bids.imaging.volume import Volume

INTENSITIES = {
    20: (4, 5, 14, 15, 24, 43, 44),
    60: (3, 42, 8, 47, 17, 53, 18, 54),
    70: (11, 50, 12, 51, 26, 58),
    80: (10, 49, 13, 52, 28, 60),
    100: (2, 41, 7, 46, 16, 77, 85, 25, 57),
}
"""T1w-like signal of each label inside the skull; everything else is zero."""
MERGED = {25: 2, 57: 41, 77: 2}
"""White-matter lesions of single people are white matter in an atlas."""
VENTRICLE_PARTS = {136: 4, 137: 5, 163: 43, 164: 44}
"""Labels of these maps that lie along the ventricles and have no name in FreeSurfer's table."""
COMPARED = {
    "thalamus": (10, 49),
    "caudate": (11, 50),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "hippocampus": (17, 53),
    "lateral_ventricles": (4, 43),
    "cerebral_cortex": (3, 42),
    "cerebral_white_matter": (2, 41),
    "cerebellar_cortex": (8, 47),
    "cerebellar_white_matter": (7, 46),
    "brainstem": (16,),
}
VOTE_SMOOTHING = 0.7
VOTE_MARGIN = 4
SMALLEST_ISLAND = 30


def main() -> int:
    """Carry the labels, vote, and write the atlas with its record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("work", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    template = load_template().brain
    sources = sorted(args.labelmaps.glob("labelmap_*.nii.gz"))
    carried = [carry(path, args.work / path.name, template) for path in sources]
    maps = np.stack(carried)
    agreement = leave_one_out(maps)
    atlas = vote(maps)
    for part, ventricle in VENTRICLE_PARTS.items():
        atlas[atlas == part] = ventricle
    write(atlas, template, agreement, len(maps))
    return 0


def carry(source: Path, target: Path, template: Volume) -> np.ndarray:
    """Return one label map on the template grid, from ``target`` where an earlier call has left it."""
    if not target.exists():
        image = nib.load(source)
        labels = np.asarray(image.dataobj).astype(np.int16)
        signal = np.zeros(labels.max() + 1, np.float32)
        for value, numbers in INTENSITIES.items():
            signal[[n for n in numbers if n < len(signal)]] = value
        affine = np.asarray(image.affine, np.float64)
        transforms = register_template(Volume(signal[labels], affine), template, preset="coarse")
        grid = Grid(template.shape, template.affine)
        moved = resample(Volume(labels, affine), grid, [transforms.template_to_t1w], order=0).data
        nib.save(nib.Nifti1Image(moved, template.affine), target)
        print(f"{source.name}: folded {transforms.folded:.4f}", flush=True)
    labels = np.asarray(nib.load(target).dataobj).astype(np.int16)
    for lesion, tissue in MERGED.items():
        labels[labels == lesion] = tissue
    return labels


def vote(maps: np.ndarray) -> np.ndarray:
    """Return the label with most votes at each voxel, after a little smoothing; islands go to their surroundings."""
    best = np.full(maps.shape[1:], -1, np.float32)
    winner = np.zeros(maps.shape[1:], np.int16)
    for label in np.unique(maps):
        chosen = maps == label
        box = ndimage.find_objects(chosen.any(axis=0).astype(np.uint8))[0]
        box = tuple(slice(max(0, b.start - VOTE_MARGIN), b.stop + VOTE_MARGIN) for b in box)
        votes = ndimage.gaussian_filter(chosen[:, *box].mean(axis=0, dtype=np.float32), VOTE_SMOOTHING)
        ahead = votes > best[box]
        best[box][ahead], winner[box][ahead] = votes[ahead], label
    return without_islands(winner)


def without_islands(labels: np.ndarray) -> np.ndarray:
    """Give to the nearest other label all but the largest part of a structure, and small parts of a tissue."""
    doubtful = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        parts, count = ndimage.label(labels == label)
        if count < 2:
            continue
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        limit = sizes.max() if 0 < label < 100 and label not in (3, 42, 24, 5, 44) else SMALLEST_ISLAND
        doubtful |= (sizes < limit)[parts] & (parts > 0)
    nearest = ndimage.distance_transform_edt(doubtful, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]


def leave_one_out(maps: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the Dice overlap of each person with the vote of the others: mean and smallest."""
    classes = np.zeros(int(maps.max()) + 1, np.uint8)
    for number, labels in enumerate(COMPARED.values(), start=1):
        classes[list(labels)] = number
    grouped = classes[maps]
    total = np.stack([(grouped == n).sum(axis=0, dtype=np.int8) for n in range(len(COMPARED) + 1)])
    scores: dict[str, list[float]] = {name: [] for name in COMPARED}
    for person in grouped:
        others = (total - (np.arange(len(COMPARED) + 1)[:, None, None, None] == person)).argmax(axis=0)
        for number, name in enumerate(COMPARED, start=1):
            a, b = person == number, others == number
            scores[name].append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return {name: {"mean": round(float(np.mean(s)), 3), "min": round(float(min(s)), 3)} for name, s in scores.items()}


def write(atlas: np.ndarray, template: Volume, agreement: dict, people: int) -> None:
    """Write the atlas and what is to be known about it into the package."""
    image = nib.Nifti1Image(atlas.astype(np.uint16), template.affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"region atlas, FreeSurfer numbers"
    nib.save(image, str(atlas_file("nii.gz")))
    record = {
        "Name": "Region atlas of the mbseg-bids package",
        "Space": DEFAULT_TEMPLATE,
        "Resolution": "1 mm isotropic, the grid of the template",
        "Labels": "FreeSurfer numbers; 24 = CSF outside the ventricles; 500 and up = tissue outside the brain",
        "LabelsPresent": [int(n) for n in np.unique(atlas)],
        "Sources": f"{people} label maps of github.com/BBillot/SynthSeg (data/training_label_maps), Apache-2.0",
        "License": "Apache-2.0",
        "Method": "signal simulated from the labels, affine and deformable registration to the template brain (Greedy, "
        "2 mm, NCC), labels carried by the nearest voxel, vote smoothed by 0.7 mm, islands removed",
        "Code": "scripts/build_region_atlas.py",
        "LeaveOneOutDice": agreement,
    }
    Path(str(atlas_file("json"))).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    sys.exit(main())
