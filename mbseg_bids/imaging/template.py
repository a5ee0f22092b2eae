"""The template brain and the region atlas on it.

The default is the ICBM152 2009a symmetric T1 average that nilearn carries, so that a run needs no network and gives the
same result everywhere; ``MNI152NLin2009cAsym`` is used where asked for and a local TemplateFlow has it.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np

from mbseg_bids.errors import UsageError
from mbseg_bids.imaging.volume import Volume

DEFAULT_TEMPLATE = "MNI152NLin2009aSym"
TEMPLATES = (DEFAULT_TEMPLATE, "MNI152NLin2009cAsym")
"""BIDS names of the spaces. Both are ICBM152 averages in the same millimetre frame."""


TEMPLATE_URLS = {
    DEFAULT_TEMPLATE: "https://www.bic.mni.mcgill.ca/~vfonov/icbm/2009/mni_icbm152_nlin_sym_09a_nifti.zip",
    "MNI152NLin2009cAsym": "https://templateflow.s3.amazonaws.com/tpl-MNI152NLin2009cAsym/"
    "tpl-MNI152NLin2009cAsym_res-01_desc-brain_T1w.nii.gz",
}
"""Where each template is to be had; written beside what lies on it."""


@dataclass(frozen=True, eq=False)
class Template:
    """A T1w average without the skull.

    Attributes
    ----------
    name
        BIDS identifier of the space.
    brain
        T1w signal, zero outside the brain, 1 mm.
    source
        Where it came from, for provenance.
    """

    name: str
    brain: Volume
    source: str


def load_template(name: str = DEFAULT_TEMPLATE) -> Template:
    """Load a template from this machine; the network is never used.

    Raises
    ------
    UsageError
        If the name is unknown, or TemplateFlow's local folder does not have it.
    """
    if name == DEFAULT_TEMPLATE:
        from nilearn.datasets import load_mni152_template

        image = load_mni152_template(resolution=1)
        return Template(name, _volume(image), "ICBM152 2009a symmetric T1 average, as distributed with nilearn")
    if name in TEMPLATES:
        return Template(name, _templateflow_brain(name), f"TemplateFlow {name}, res-01 desc-brain T1w")
    raise UsageError(f"unknown template {name}", f"one of: {', '.join(TEMPLATES)}")


def load_region_atlas() -> Volume:
    """Load the region atlas: FreeSurfer numbers (500 and up outside the brain) at 1 mm on the default template's grid.

    Its making and sources are in the JSON file beside it; ``scripts/build_region_atlas.py`` makes it.
    """
    with resources.as_file(atlas_file("nii.gz")) as path:
        image = nib.load(path)
        return Volume(np.asarray(image.dataobj).astype(np.int16), image.affine)


def region_atlas_provenance() -> dict:
    """Return what is recorded about the region atlas."""
    return json.loads(atlas_file("json").read_text(encoding="utf-8"))


def load_place_atlas() -> Volume:
    """Load the atlas of places (:mod:`mbseg_bids.imaging.place_labels`), uint8, on the grid of the region atlas.

    Its making and its error are in the JSON file beside it; ``scripts/build_place_atlas.py`` makes it.
    """
    with resources.as_file(place_atlas_file("nii.gz")) as path:
        image = nib.load(path)
        return Volume(np.asarray(image.dataobj).astype(np.uint8), image.affine)


def place_atlas_file(extension: str):
    """Return the resource of the atlas of places with an extension (``nii.gz`` or ``json``)."""
    name = f"tpl-{DEFAULT_TEMPLATE}_res-01_atlas-places_dseg.{extension}"
    return resources.files("mbseg_bids.data").joinpath("atlas", name)


def atlas_file(extension: str):
    """Return the resource of the atlas with an extension (``nii.gz`` or ``json``)."""
    name = f"tpl-{DEFAULT_TEMPLATE}_res-01_atlas-SynthSeg14_dseg.{extension}"
    return resources.files("mbseg_bids.data").joinpath("atlas", name)


def _volume(image: nib.Nifti1Image) -> Volume:
    return Volume(np.asarray(image.dataobj, np.float32), np.asarray(image.affine, np.float64))


def _templateflow_brain(name: str) -> Volume:
    from templateflow.conf import TF_HOME

    folder = Path(TF_HOME) / f"tpl-{name}"
    stem = f"tpl-{name}_res-01"
    head, mask = folder / f"{stem}_T1w.nii.gz", folder / f"{stem}_desc-brain_mask.nii.gz"
    missing = [path.name for path in (head, mask) if not path.is_file() or path.stat().st_size == 0]
    if missing:
        raise UsageError(f"TemplateFlow has no local {' and '.join(missing)}", f"fetch it, or use {DEFAULT_TEMPLATE}")
    brain = _volume(nib.load(head))
    return brain.with_data(brain.data * (np.asarray(nib.load(mask).dataobj) > 0))
