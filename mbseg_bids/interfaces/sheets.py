"""nipype adapter that places lesions as a reader would, and fills in the rating sheets."""

from pathlib import Path

from nipype.interfaces.base import File, SimpleInterface, TraitedSpec

from mbseg_bids.interfaces.files import given
from mbseg_bids.interfaces.specs import AnatToT2starInputSpec


class _RateLesionsInputSpec(AnatToT2starInputSpec):
    places = File(exists=True, mandatory=True, desc="places, grid of the anatomical image")
    regions = File(exists=True, mandatory=True, desc="regions, native T2* grid")
    cmb_dseg = File(exists=True, mandatory=True, desc="lesions, native T2* grid")
    cmb_dseg_tsv = File(exists=True, mandatory=True, desc="lesion table")
    candidates_dseg = File(exists=True, mandatory=True, desc="candidates, native T2* grid")
    candidates_tsv = File(exists=True, mandatory=True, desc="table of candidates")


class _RateLesionsOutputSpec(TraitedSpec):
    mars_dseg = File(exists=True, desc="places, native T2* grid")
    mars_tsv = File(exists=True, desc="sheet of the Microbleed Anatomical Rating Scale")
    bombs_tsv = File(exists=True, desc="sheet of the Brain Observer MicroBleed Scale")


class RateLesions(SimpleInterface):
    """Bring the places to the T2* grid and count the lesions in them."""

    input_spec = _RateLesionsInputSpec
    output_spec = _RateLesionsOutputSpec

    def _run_interface(self, runtime):
        import numpy as np
        import pandas as pd

        from mbseg_bids.detection.lesions.sheets import rate
        from mbseg_bids.detection.lesions.tables import NOTHING, write_table
        from mbseg_bids.imaging.grids import Grid
        from mbseg_bids.imaging.transforms import resample
        from mbseg_bids.interfaces.files import read_matrix, read_volume, write_volume

        inputs, folder = self.inputs, Path(runtime.cwd)
        lesions, candidates = read_volume(inputs.cmb_dseg), read_volume(inputs.candidates_dseg)
        way = [np.linalg.inv(read_matrix(inputs.anat_to_t2star))] if given(inputs.anat_to_t2star) else []
        places = resample(read_volume(inputs.places), Grid(lesions.shape, lesions.affine), way, order=0)
        tables = [
            pd.read_csv(path, sep="\t", na_values=NOTHING, keep_default_na=False)
            for path in (inputs.cmb_dseg_tsv, inputs.candidates_tsv)
        ]
        sheets = rate(
            lesions.data.astype(np.int32),
            tables[0],
            candidates.data.astype(np.int32),
            tables[1],
            places.data,
            read_volume(inputs.regions).data,
            lesions.spacing,
        )
        self._results["mars_dseg"] = write_volume(folder / "mars.nii.gz", places, inputs.cmb_dseg)
        for name, table in (("mars", sheets.mars), ("bombs", sheets.bombs)):
            self._results[f"{name}_tsv"] = str(folder / f"{name}.tsv")
            write_table(table, self._results[f"{name}_tsv"])
        return runtime
