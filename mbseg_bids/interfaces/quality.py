"""nipype adapter that measures how good a T2*-weighted scan is, beside the scans that the network learned from."""

from pathlib import Path

from nipype import logging
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits

LOGGER = logging.getLogger("nipype.interface")


class _MeasureQualityInputSpec(BaseInterfaceInputSpec):
    t2star = File(exists=True, mandatory=True, desc="T2*, bias corrected, detection grid")
    brain = File(exists=True, mandatory=True, desc="brain mask, detection grid")
    regions = File(exists=True, mandatory=True, desc="regions, detection grid")
    anatomy = File(exists=True, mandatory=True, desc="JSON of the anatomy workflow: coverage")
    detection = File(exists=True, mandatory=True, desc="JSON of the detection workflow: search, weights")
    scan = traits.Dict(mandatory=True, desc="what is known of the T2* scan: spacing, metadata")
    filename = traits.Str(mandatory=True, desc="of the image that the table speaks of, relative to the table")
    ranges_state = traits.Str(desc="changes with the ranges, so that no cached result outlives them")


class _MeasureQualityOutputSpec(TraitedSpec):
    quality_json = File(exists=True, desc="measures beside their ranges, reasons why counts are unreliable, warnings")
    scans_tsv = File(exists=True, desc="one row: the image, its measures, whether counts are unreliable")


class MeasureQuality(SimpleInterface):
    """Measure, compare with the training scans, and write both as JSON and as a table of the session."""

    input_spec = _MeasureQualityInputSpec
    output_spec = _MeasureQualityOutputSpec

    def _run_interface(self, runtime):
        import json

        from mbseg_bids.imaging.quality import measure_t2star, round_measures
        from mbseg_bids.imaging.quality_ranges import (
            judge_quality,
            scan_measures,
            search_measures,
            training_ranges,
        )
        from mbseg_bids.interfaces.files import read_volume

        inputs, folder = self.inputs, Path(runtime.cwd)
        t2star = read_volume(inputs.t2star)
        anatomy, detection = (
            json.loads(Path(path).read_text(encoding="utf-8")) for path in (inputs.anatomy, inputs.detection)
        )
        search = detection.get("search") or {}
        measured = measure_t2star(
            t2star.data, read_volume(inputs.brain).data > 0, read_volume(inputs.regions).data, t2star.spacing
        )
        measured |= {"t2star_coverage": (anatomy.get("coverage") or {}).get("T2starw")}
        measured |= scan_measures(inputs.scan) | search_measures(search)
        weights = detection.get("weights")
        quality = judge_quality(
            round_measures(measured),
            training_ranges(),
            weights_sha256=weights.get("sha256") if isinstance(weights, dict) else None,
            exhaustive=bool(search.get("exhaustive")),
        )
        if quality.reasons:
            LOGGER.warning(quality.sentence)
        self._results["quality_json"] = str(folder / "quality.json")
        Path(self._results["quality_json"]).write_text(json.dumps(quality.as_dict(), indent=2) + "\n", encoding="utf-8")
        self._results["scans_tsv"] = str(folder / "scans.tsv")
        Path(self._results["scans_tsv"]).write_text(quality.as_table(inputs.filename), encoding="utf-8")
        return runtime
