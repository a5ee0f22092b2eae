"""nipype adapters around the anatomy: files in, files out.

Each node leaves a ``record`` (a dictionary): its seconds, its warnings and what it measured; they are gathered in one
JSON file. Nothing heavy is imported before a node runs.
"""

import json
import time
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, File, InputMultiObject, SimpleInterface, TraitedSpec, traits

from mbseg_bids.contrasts import CONTRASTS
from mbseg_bids.interfaces.files import given
from mbseg_bids.interfaces.memory import PeakMemory

KEYS = {"T1w": "t1w", "T2w": "t2w", "T2starw": "t2star"}
"""Contrasts as they are called in names of fields and records."""


class _PrepareImageInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="scan on its native grid")
    contrast = traits.Enum(*CONTRASTS, mandatory=True, desc="what the scan shows")
    anatomical = traits.Bool(False, usedefault=True, desc="whether the anatomy is found on it: it must show a brain")
    brain_mask = File(exists=True, desc="brain mask to use, in the space of the scan")
    iterations = traits.Int(50, usedefault=True, desc="largest number of N4 iterations at each level")


class _PrepareImageOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="bias corrected, native grid")
    brain = File(exists=True, desc="brain mask, or the head where no brain was found")
    brain_found = traits.Bool(desc="whether ``brain`` is one")
    record = traits.Dict(desc="seconds, warnings, measures")


class PrepareImage(SimpleInterface):
    """Outline the brain and correct the bias of one scan."""

    input_spec = _PrepareImageInputSpec
    output_spec = _PrepareImageOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from mbseg_bids.imaging.grids import Grid
        from mbseg_bids.imaging.preparation import prepare_image
        from mbseg_bids.imaging.transforms import resample
        from mbseg_bids.imaging.volume import Volume
        from mbseg_bids.interfaces.files import read_volume, write_volume

        started, memory = time.monotonic(), PeakMemory()
        image = read_volume(self.inputs.in_file)
        mask = None
        if given(self.inputs.brain_mask):
            stored = read_volume(self.inputs.brain_mask)
            stored = stored.with_data((stored.data > 0).astype(np.uint8))
            mask = resample(stored, Grid(image.shape, image.affine), order=0).data > 0
        prepared = prepare_image(
            image,
            self.inputs.contrast,
            brain_mask=mask,
            must_show_brain=self.inputs.anatomical,
            iterations=self.inputs.iterations,
        )
        brain = Volume(prepared.brain.astype(np.uint8), image.affine)
        folder = Path(runtime.cwd)
        self._results["out_file"] = write_volume(folder / "corrected.nii.gz", prepared.image, self.inputs.in_file)
        self._results["brain"] = write_volume(folder / "brain.nii.gz", brain, self.inputs.in_file)
        self._results["brain_found"] = prepared.brain_found
        self._results["record"] = {
            "durations": {f"prepare_{self.inputs.contrast}": round(time.monotonic() - started, 1)},
            "memory_gb": {f"prepare_{self.inputs.contrast}": memory.gb()},
            "warnings": list(prepared.warnings),
            "brain_ml": {self.inputs.contrast: round(float(brain.data.sum() * brain.voxel_volume / 1000), 1)}
            if prepared.brain_found
            else {},
        }
        return runtime


class _RegisterRigidInputSpec(BaseInterfaceInputSpec):
    fixed = File(exists=True, mandatory=True, desc="T2*, bias corrected")
    fixed_brain = File(exists=True, mandatory=True, desc="brain outlined on T2*")
    fixed_brain_found = traits.Bool(True, usedefault=True, desc="whether ``fixed_brain`` is a brain")
    moving = File(exists=True, mandatory=True, desc="T1w or T2w, bias corrected")
    moving_brain = File(exists=True, mandatory=True, desc="brain outlined on it")
    moving_brain_found = traits.Bool(True, usedefault=True, desc="whether ``moving_brain`` is a brain")
    name = traits.Str(mandatory=True, desc="of the registration in records, such as t1w_to_t2star")


class _RegisterRigidOutputSpec(TraitedSpec):
    transform = File(exists=True, desc="4 x 4 text: takes points of the moving image to points of T2*, RAS+ mm")
    record = traits.Dict(desc="seconds, warnings, the check of the registration")


class RegisterRigid(SimpleInterface):
    """Register a contrast to T2*, check it, and try other starts where the check fails."""

    input_spec = _RegisterRigidInputSpec
    output_spec = _RegisterRigidOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from mbseg_bids.imaging.registration_check import loose_fit, register_pair
        from mbseg_bids.interfaces.files import read_volume, write_matrix

        started, memory = time.monotonic(), PeakMemory()
        brains_known = self.inputs.fixed_brain_found and self.inputs.moving_brain_found
        found = register_pair(
            read_volume(self.inputs.fixed),
            read_volume(self.inputs.moving),
            fixed_brain=read_volume(self.inputs.fixed_brain).data > 0,
            moving_brain=read_volume(self.inputs.moving_brain).data > 0,
            brains_known=brains_known,
        )
        self._results["transform"] = write_matrix(Path(runtime.cwd) / f"{self.inputs.name}.txt", found.transform)
        self._results["record"] = {
            "durations": {self.inputs.name: round(time.monotonic() - started, 1)},
            "memory_gb": {self.inputs.name: memory.gb()},
            "warnings": [
                f"{self.inputs.name}: {said}" for said in (*found.check.reasons, loose_fit(found.check)) if said
            ],
            "registration": {self.inputs.name: found.as_dict() | {"transform": np.round(found.transform, 6).tolist()}},
        }
        return runtime


class _RegisterTemplateInputSpec(BaseInterfaceInputSpec):
    anat = File(exists=True, mandatory=True, desc="anatomical image, bias corrected")
    contrast = traits.Enum(*CONTRASTS, usedefault=True, desc="what it shows")
    brain = File(exists=True, mandatory=True, desc="its brain mask")
    template = traits.Str(mandatory=True, desc="BIDS name of the template")
    preset = traits.Str("default", usedefault=True, desc="schedule of the registration")


class _RegisterTemplateOutputSpec(TraitedSpec):
    anat_to_template = File(exists=True, desc="deformation that brings anatomical images onto the template")
    template_to_anat = File(exists=True, desc="deformation that brings template images onto the anatomical image")
    record = traits.Dict(desc="seconds, warnings, the check of the registration")


class RegisterTemplate(SimpleInterface):
    """Register the anatomical image to the template; both ways are written as ITK displacement fields."""

    input_spec = _RegisterTemplateInputSpec
    output_spec = _RegisterTemplateOutputSpec

    def _run_interface(self, runtime):
        from mbseg_bids.imaging.anatomical import like_t1w
        from mbseg_bids.imaging.template import load_template
        from mbseg_bids.imaging.template_registration import register_template_checked
        from mbseg_bids.interfaces.files import read_volume, write_field

        started, memory = time.monotonic(), PeakMemory()
        template = load_template(self.inputs.template)
        brain = read_volume(self.inputs.brain).data > 0
        anat = like_t1w(read_volume(self.inputs.anat), brain, self.inputs.contrast)
        transforms, check = register_template_checked(anat, brain, template.brain, preset=self.inputs.preset)
        folder, name = Path(runtime.cwd), f"{KEYS[self.inputs.contrast]}_to_template"
        # An image goes the way against which points are taken.
        self._results["anat_to_template"] = write_field(folder / "anat_to_template.nii.gz", transforms.template_to_t1w)
        self._results["template_to_anat"] = write_field(folder / "template_to_anat.nii.gz", transforms.t1w_to_template)
        self._results["record"] = {
            "durations": {name: round(time.monotonic() - started, 1)},
            "memory_gb": {name: memory.gb()},
            "warnings": [f"{name}: {reason}" for reason in check["reasons"]],
            "registration": {name: check},
            "template": {"name": template.name, "source": template.source},
        }
        return runtime


class _SegmentRegionsInputSpec(BaseInterfaceInputSpec):
    anat = File(exists=True, mandatory=True, desc="anatomical image, bias corrected")
    contrast = traits.Enum(*CONTRASTS, usedefault=True, desc="what it shows")
    brain = File(exists=True, mandatory=True, desc="its brain mask")
    template_to_anat = File(exists=True, mandatory=True, desc="deformation that brings template images onto it")
    aseg = File(exists=True, desc="FreeSurfer, FastSurfer or SynthSeg segmentation to reuse")
    t1w_aseg_space = File(exists=True, desc="T1w on the grid of ``aseg``")
    wmh_mask = File(exists=True, desc="white-matter hyperintensities, in the space of the anatomical image")


class _SegmentRegionsOutputSpec(TraitedSpec):
    anat = File(exists=True, desc="anatomical image, bias corrected, 0-100")
    tissue = File(exists=True, desc="1 CSF, 2 GM, 3 WM on its grid")
    regions = File(exists=True, desc="regions 1 to 6 on its grid")
    places = File(exists=True, desc="places of a reader on its grid")
    record = traits.Dict(desc="seconds, warnings, what was reused, volumes")


class SegmentRegions(SimpleInterface):
    """Find tissue and regions, from the image and the atlas or from a segmentation to reuse."""

    input_spec = _SegmentRegionsInputSpec
    output_spec = _SegmentRegionsOutputSpec

    def _run_interface(self, runtime):
        from mbseg_bids.imaging.intensity import standardise
        from mbseg_bids.imaging.segmentation import segment
        from mbseg_bids.interfaces.files import read_field, read_volume, write_volume

        started, memory = time.monotonic(), PeakMemory()
        anat, brain = read_volume(self.inputs.anat), read_volume(self.inputs.brain)
        optional = {
            name: read_volume(value)
            for name in ("aseg", "t1w_aseg_space", "wmh_mask")
            if given(value := getattr(self.inputs, name))
        }
        field = read_field(self.inputs.template_to_anat)
        found = segment(anat, brain.data > 0, field, contrast=self.inputs.contrast, **optional)
        folder, like = Path(runtime.cwd), self.inputs.anat
        standard = anat.with_data(standardise(anat.data, brain.data > 0))
        self._results["anat"] = write_volume(folder / "anat_preproc.nii.gz", standard, like)
        self._results["tissue"] = write_volume(folder / "tissue.nii.gz", anat.with_data(found.tissue), like)
        self._results["regions"] = write_volume(folder / "regions.nii.gz", anat.with_data(found.regions), like)
        self._results["places"] = write_volume(folder / "places.nii.gz", anat.with_data(found.places), like)
        self._results["record"] = {
            "durations": {"segment_regions": round(time.monotonic() - started, 1)},
            "memory_gb": {"segment_regions": memory.gb()},
            "warnings": list(found.warnings),
            "reuse": {name: str(getattr(self.inputs, name)) for name in optional},
            "region_ml": found.volumes(anat.voxel_volume),
            "anatomical_contrast": [self.inputs.contrast],
        }
        return runtime


class _AssembleInputSpec(BaseInterfaceInputSpec):
    t2star = File(exists=True, mandatory=True, desc="T2*, bias corrected, native grid")
    t2star_brain = File(exists=True, mandatory=True, desc="brain outlined on T2*")
    t2star_brain_found = traits.Bool(True, usedefault=True, desc="whether it is a brain")
    t2w = File(exists=True, desc="T2w, bias corrected")
    t1w = File(exists=True, desc="T1w, bias corrected")
    t1w_to_t2star = File(exists=True, desc="4 x 4 text")
    t2w_to_t2star = File(exists=True, desc="4 x 4 text")
    anatomical = traits.Enum(*CONTRASTS, usedefault=True, desc="contrast on whose grid the next three lie")
    brain = File(exists=True, mandatory=True, desc="brain mask, grid of the anatomical image")
    tissue = File(exists=True, mandatory=True, desc="tissue, same grid")
    regions = File(exists=True, mandatory=True, desc="regions, same grid")
    template_to_anat = File(exists=True, mandatory=True, desc="deformation that brings template images onto it")


class _AssembleOutputSpec(TraitedSpec):
    t2star_det = File(exists=True, desc="T2*, detection grid, 0-100")
    t2w_det = File(exists=True, desc="T2w, detection grid, 0-100")
    t1w_det = File(exists=True, desc="T1w, detection grid, 0-100")
    brain_det = File(exists=True, desc="brain mask, detection grid")
    tissue_det = File(exists=True, desc="tissue, detection grid")
    regions_det = File(exists=True, desc="regions, detection grid")
    atlas_det = File(exists=True, desc="FreeSurfer numbers of the region atlas, detection grid")
    t2star_native_preproc = File(exists=True, desc="T2*, native grid, 0-100")
    brain_native = File(exists=True, desc="brain mask, native T2* grid")
    t2w_native_preproc = File(exists=True, desc="T2w, native T2* grid, 0-100")
    t1w_native_preproc = File(exists=True, desc="T1w, native T2* grid, 0-100")
    regions_native = File(exists=True, desc="regions, native T2* grid")
    record = traits.Dict(desc="seconds, warnings, the grid")


class AssembleDetectionGrid(SimpleInterface):
    """Bring everything to the detection grid, and what belongs there to the native T2* grid."""

    input_spec = _AssembleInputSpec
    output_spec = _AssembleOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from mbseg_bids.imaging.contrast_order import contrast_warnings, measure_contrasts
        from mbseg_bids.imaging.intensity import standardise
        from mbseg_bids.imaging.preparation import assemble, contrasts_on_native, labels_on_native
        from mbseg_bids.imaging.template import load_region_atlas
        from mbseg_bids.imaging.transforms import Transform, resample
        from mbseg_bids.interfaces.files import read_field, read_matrix, read_volume, write_volume

        started, memory = time.monotonic(), PeakMemory()
        inputs, folder = self.inputs, Path(runtime.cwd)
        t2star = read_volume(inputs.t2star)
        others = {
            name: (read_volume(getattr(inputs, name)), read_matrix(getattr(inputs, f"{name}_to_t2star")))
            for name in ("t1w", "t2w")
            if given(getattr(inputs, name))
        }
        key = KEYS[inputs.anatomical]
        to_t2star = others[key][1] if key in others else np.eye(4)
        brain, tissue, regions = (read_volume(path) for path in (inputs.brain, inputs.tissue, inputs.regions))
        own = read_volume(inputs.t2star_brain).data > 0 if inputs.t2star_brain_found else None
        found = assemble(t2star, others, brain, tissue, regions, to_t2star, own)
        way: list[Transform] = [np.linalg.inv(to_t2star), read_field(inputs.template_to_anat)]
        atlas = resample(load_region_atlas(), found.grid, way, order=0)
        images = {name: volume.data for name, volume in (("t2star", found.t2star), *found.others.items())}
        named = {contrast: images[KEYS[contrast]] for contrast in CONTRASTS if KEYS[contrast] in images}
        quotients = measure_contrasts(named, found.brain.data > 0, atlas.data)
        native_brain, native_regions = labels_on_native(found, t2star)
        on_grid = {"t2star": found.t2star, **found.others}
        on_grid |= {"brain": found.brain, "tissue": found.tissue, "regions": found.regions, "atlas": atlas}
        for name, volume in on_grid.items():
            self._results[f"{name}_det"] = write_volume(folder / f"{name}_det.nii.gz", volume)
        native = {
            "t2star_native_preproc": t2star.with_data(standardise(t2star.data, native_brain.data > 0)),
            "brain_native": native_brain,
            "regions_native": native_regions,
        }
        moved = contrasts_on_native(others, t2star, native_brain.data > 0)
        native |= {f"{name}_native_preproc": volume for name, volume in moved.items()}
        for name, volume in native.items():
            self._results[name] = write_volume(folder / f"{name}.nii.gz", volume, inputs.t2star)
        self._results["record"] = {
            "durations": {"assemble": round(time.monotonic() - started, 1)},
            "memory_gb": {"assemble": memory.gb()},
            "warnings": [*found.warnings, *contrast_warnings(quotients)],
            "fluid_to_white_matter": quotients,
            "coverage": {"T2starw": round(found.coverage, 4)},
            "detection_grid": {"shape": list(found.grid.shape), "spacing": [round(s, 4) for s in found.grid.spacing]},
        }
        return runtime


class _GatherRecordsInputSpec(BaseInterfaceInputSpec):
    records = InputMultiObject(traits.Dict(), mandatory=True, desc="records of the nodes")
    brain_mask = File(exists=True, desc="brain mask that was reused")


class _GatherRecordsOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="JSON: registration, reuse, warnings, durations")


class GatherRecords(SimpleInterface):
    """Write what all nodes recorded as one JSON file."""

    input_spec = _GatherRecordsInputSpec
    output_spec = _GatherRecordsOutputSpec

    def _run_interface(self, runtime):
        gathered: dict[str, Any] = {"registration": {}, "reuse": {}, "warnings": [], "durations": {}}
        for record in self.inputs.records:
            for key, value in record.items():
                if isinstance(value, dict):
                    gathered.setdefault(key, {}).update(value)
                else:
                    gathered.setdefault(key, []).extend(value)
        if given(self.inputs.brain_mask):
            gathered["reuse"]["brain_mask"] = str(self.inputs.brain_mask)
        out_file = Path(runtime.cwd) / "anatomy.json"
        out_file.write_text(json.dumps(gathered, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self._results["out_file"] = str(out_file)
        return runtime
