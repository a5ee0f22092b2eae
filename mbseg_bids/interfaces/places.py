"""nipype adapter that says in a table where each row lies on the template."""

from pathlib import Path

from nipype.interfaces.base import File, SimpleInterface, TraitedSpec

from mbseg_bids.interfaces.files import given
from mbseg_bids.interfaces.specs import AnatToT2starInputSpec


class _PlaceOnTemplateInputSpec(AnatToT2starInputSpec):
    table = File(exists=True, mandatory=True, desc="TSV with x_mm, y_mm, z_mm: points of T2*, RAS+")
    template_to_anat = File(exists=True, mandatory=True, desc="deformation; takes anatomical points to the template")


class _PlaceOnTemplateOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="the same rows, with side and place on the template")


class PlaceOnTemplate(SimpleInterface):
    """Add the columns ``places`` of ``data/columns.json`` to a table of lesions or candidates."""

    input_spec = _PlaceOnTemplateInputSpec
    output_spec = _PlaceOnTemplateOutputSpec

    def _run_interface(self, runtime):
        import numpy as np

        from mbseg_bids.imaging.places import add_places
        from mbseg_bids.imaging.transforms import Transform
        from mbseg_bids.interfaces.files import read_field, read_matrix

        # The deformation that brings images from the template takes points the other way.
        way: list[Transform] = [read_field(self.inputs.template_to_anat)]
        if given(self.inputs.anat_to_t2star):
            way.insert(0, np.linalg.inv(read_matrix(self.inputs.anat_to_t2star)))
        table = Path(self.inputs.table)
        out_file = Path(runtime.cwd) / f"{table.stem}_placed.tsv"
        out_file.write_text(add_places(table.read_text(encoding="utf-8"), way), encoding="utf-8")
        self._results["out_file"] = str(out_file)
        return runtime
