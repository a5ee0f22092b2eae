"""nipype adapters that bring lesion labels from the native T2* grid to other spaces; none is lost on the way."""

from pathlib import Path

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits

from mbseg_bids.interfaces.specs import AnatToT2starInputSpec


class _MapLabelsOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="the same labels, int32")


class _MapLabelsToT1wInputSpec(BaseInterfaceInputSpec):
    labels = File(exists=True, mandatory=True, desc="lesions on the native T2* grid")
    t1w = File(exists=True, mandatory=True, desc="image that gives the grid")
    t1w_to_t2star = File(exists=True, mandatory=True, desc="4 x 4 text: T1w points to T2* points")


class MapLabelsToT1w(SimpleInterface):
    """Bring lesions to T1w space."""

    input_spec = _MapLabelsToT1wInputSpec
    output_spec = _MapLabelsOutputSpec

    def _run_interface(self, runtime):
        from mbseg_bids.imaging.grids import Grid
        from mbseg_bids.imaging.label_mapping import map_labels
        from mbseg_bids.interfaces.files import read_matrix, read_volume, write_volume

        t1w = read_volume(self.inputs.t1w)
        way = [read_matrix(self.inputs.t1w_to_t2star)]
        moved = map_labels(read_volume(self.inputs.labels), Grid(t1w.shape, t1w.affine), way)
        self._results["out_file"] = write_volume(Path(runtime.cwd) / "labels_t1w.nii.gz", moved, self.inputs.t1w)
        return runtime


class _MapLabelsToTemplateInputSpec(AnatToT2starInputSpec):
    labels = File(exists=True, mandatory=True, desc="lesions on the native T2* grid")
    anat_to_template = File(exists=True, mandatory=True, desc="deformation that brings anatomical images onto it")
    template = traits.Str(desc="BIDS name of the template; the default one where not given")


class MapLabelsToTemplate(SimpleInterface):
    """Bring lesions to the template."""

    input_spec = _MapLabelsToTemplateInputSpec
    output_spec = _MapLabelsOutputSpec

    def _run_interface(self, runtime):
        from mbseg_bids.imaging.grids import Grid
        from mbseg_bids.imaging.label_mapping import map_labels
        from mbseg_bids.imaging.template import DEFAULT_TEMPLATE, load_template
        from mbseg_bids.imaging.transforms import Transform
        from mbseg_bids.interfaces.files import given, read_field, read_matrix, read_volume, write_volume

        name = self.inputs.template if given(self.inputs.template) else DEFAULT_TEMPLATE
        brain = load_template(name).brain
        way: list[Transform] = [read_field(self.inputs.anat_to_template)]
        if given(self.inputs.anat_to_t2star):
            way.append(read_matrix(self.inputs.anat_to_t2star))
        moved = map_labels(read_volume(self.inputs.labels), Grid(brain.shape, brain.affine), way)
        self._results["out_file"] = write_volume(Path(runtime.cwd) / "labels_template.nii.gz", moved)
        return runtime
