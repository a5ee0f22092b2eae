"""Nipype adapters of the detection: files in, files out, each a few lines around pure functions.

Arrays, torch and tables are imported when a node runs: building or drawing a workflow needs none of them.
"""

import json
import time
from pathlib import Path

from nipype import logging
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec, traits

from mbseg_bids.interfaces.files import given
from mbseg_bids.interfaces.memory import PeakMemory

LOGGER = logging.getLogger("nipype.interface")


class _ClassifyCandidatesInputSpec(BaseInterfaceInputSpec):
    t2star = File(exists=True, mandatory=True, desc="T2*, detection grid, 0-100")
    t2w = File(exists=True, desc="T2w, detection grid, 0-100; where missing, a channel of zeros")
    t1w = File(exists=True, desc="T1w, detection grid, 0-100; where missing, a channel of zeros")
    brain = File(exists=True, mandatory=True, desc="brain mask, detection grid")
    tissue = File(exists=True, mandatory=True, desc="three-class tissue segmentation, detection grid")
    settings = traits.Dict(mandatory=True, desc="fields of DetectionSettings")
    weights_state = traits.Str(desc="changes with the content of the weights, so that no cached result outlives them")
    batch_size = traits.Int(0, usedefault=True, desc="patches a batch; 0: what suits the device")
    device = traits.Enum("auto", "cpu", "cuda", usedefault=True, desc="where the network runs")
    runtime = traits.Enum("auto", "pytorch", "openvino", usedefault=True, desc="library that computes the network")
    precision = traits.Enum("auto", "float32", usedefault=True, desc="auto: lower where it decides nothing")
    n_workers = traits.Int(1, usedefault=True, nohash=True, desc="CPU threads; the result does not depend on it")
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="takes its turn on the GPU, as nipype counts them")


class _ClassifyCandidatesOutputSpec(TraitedSpec):
    probability = File(exists=True, desc="probability of a microbleed, detection grid; 0 where not searched")
    search = traits.Dict(desc="numbers of voxels, highest probability, weights, seconds")


class ClassifyCandidates(SimpleInterface):
    """Ask the network about the search mask: first the local minima, then around the positive ones."""

    input_spec = _ClassifyCandidatesInputSpec
    output_spec = _ClassifyCandidatesOutputSpec

    def _run_interface(self, runtime):
        from mbseg_bids.detection.network.classify import classifier
        from mbseg_bids.detection.network.weights import load_weights
        from mbseg_bids.detection.search.mask import search_region
        from mbseg_bids.detection.search.region_growing import search_outwards
        from mbseg_bids.errors import UnreadableDataError
        from mbseg_bids.imaging.quality import shares
        from mbseg_bids.imaging.quality_ranges import PROBABILITY_EDGES
        from mbseg_bids.settings import DetectionSettings

        started, memory = time.monotonic(), PeakMemory()
        settings = DetectionSettings(**self.inputs.settings)
        t2star = _read(self.inputs.t2star)
        brain = _read(self.inputs.brain).data > 0
        if not brain.any():
            raise UnreadableDataError("the brain mask is empty", "look at the T2* image, or give a brain mask")
        stack = _read_stack(t2star.data, self.inputs.t2w, self.inputs.t1w)
        tissue = _read(self.inputs.tissue).data
        mask, seeds = search_region(stack[0], brain, tissue, t2star.spacing, settings)

        model, weights = load_weights(settings.weights, task="microbleed")

        ask = classifier(
            model,
            weights,
            stack,
            batch_size=self.inputs.batch_size or None,
            device=self.inputs.device,
            runtime=self.inputs.runtime,
            exact_from=settings.followed if self.inputs.precision == "auto" else None,
            n_workers=self.inputs.n_workers,
            progress=_log_progress(),
        )
        probability, asked = search_outwards(mask, seeds, ask, settings.followed)
        self._results["probability"] = _write(probability, t2star.affine, runtime.cwd, "probability.nii.gz")
        self._results["search"] = {
            "exhaustive": settings.exhaustive,
            "n_brain_voxels": int(brain.sum()),
            "n_mask_voxels": int(mask.sum()),
            "n_searched_voxels": int(asked.sum()),
            "n_positive_voxels": int((probability[asked] >= settings.probability_threshold).sum()),
            "highest_probability": round(float(probability.max()), 4),
            "probability_histogram": shares(probability[asked], PROBABILITY_EDGES),
            **ask.describe(),
            "weights": _describe(weights),
            "duration_s": round(time.monotonic() - started, 1),
            "memory_gb": memory.gb(),
        }
        return runtime


class _FindLesionsInputSpec(BaseInterfaceInputSpec):
    t2star = File(exists=True, mandatory=True, desc="T2*, detection grid, 0-100")
    t2w = File(exists=True, desc="T2w, detection grid, 0-100; where missing, the second look does without")
    t1w = File(exists=True, desc="T1w, detection grid, 0-100; where missing, the second look does without")
    tissue = File(exists=True, mandatory=True, desc="three-class tissue segmentation, detection grid")
    probability = File(exists=True, mandatory=True, desc="probability of a microbleed, detection grid")
    brain = File(exists=True, mandatory=True, desc="brain mask, detection grid")
    regions = File(exists=True, mandatory=True, desc="regions, detection grid")
    settings = traits.Dict(mandatory=True, desc="fields of DetectionSettings")
    model_state = traits.Str(desc="changes with the second look, so that no cached result outlives them")


class _FindLesionsOutputSpec(TraitedSpec):
    candidates = File(exists=True, desc="labels of all candidates, detection grid")
    survivors = File(exists=True, desc="labels of what passed the intensity ratio rule, detection grid")
    evidence = File(exists=True, desc="JSON: what was found out about each of them")


class FindLesions(SimpleInterface):
    """Apply components, intensity ratio, regions, criteria and the second look on the detection grid."""

    input_spec = _FindLesionsInputSpec
    output_spec = _FindLesionsOutputSpec

    def _run_interface(self, runtime):
        from dataclasses import asdict

        from mbseg_bids.detection.candidates.classifier import load_second_look
        from mbseg_bids.detection.lesions.segment import segment_lesions
        from mbseg_bids.settings import DetectionSettings

        settings = DetectionSettings(**self.inputs.settings)
        t2star = _read(self.inputs.t2star)
        result = segment_lesions(
            _read_stack(t2star.data, self.inputs.t2w, self.inputs.t1w),
            _read(self.inputs.probability).data,
            _read(self.inputs.brain).data > 0,
            _read(self.inputs.regions).data.astype("int32"),
            t2star.spacing,
            t2star.affine,
            settings,
            tissue=_read(self.inputs.tissue).data,
            second_look=load_second_look() if settings.second_look else None,
        )
        evidence = {
            "candidates": {label: asdict(e) for label, e in result.evidence_of_candidates.items()},
            "survivors": {label: asdict(e) for label, e in result.evidence_of_survivors.items()},
            "criteria": None if result.criteria is None else result.criteria.as_dict(),
        }
        path = Path(runtime.cwd) / "evidence.json"
        path.write_text(json.dumps(evidence), encoding="utf-8")
        self._results["evidence"] = str(path)
        self._results["candidates"] = _write(result.candidates, t2star.affine, runtime.cwd, "candidates.nii.gz")
        self._results["survivors"] = _write(result.survivors, t2star.affine, runtime.cwd, "survivors.nii.gz")
        return runtime


class _WriteLesionsInputSpec(BaseInterfaceInputSpec):
    t2star = File(exists=True, mandatory=True, desc="T2* as acquired: its grid and header are those of the results")
    probability = File(exists=True, mandatory=True, desc="probability of a microbleed, detection grid")
    candidates = File(exists=True, mandatory=True, desc="labels of all candidates, detection grid")
    survivors = File(exists=True, mandatory=True, desc="labels of what passed the ratio rule, detection grid")
    evidence = File(exists=True, mandatory=True, desc="JSON: what was found out about each of them")
    search = traits.Dict(mandatory=True, desc="output of ClassifyCandidates")
    phase = File(exists=True, desc="output of JudgeByPhase, of a session with a phase")
    settings = traits.Dict(mandatory=True, desc="fields of DetectionSettings")


class _WriteLesionsOutputSpec(TraitedSpec):
    cmb_mask = File(exists=True, desc="0/1, native T2* grid")
    cmb_probseg = File(exists=True, desc="probability of a microbleed, native T2* grid")
    cmb_dseg = File(exists=True, desc="one integer a lesion, native T2* grid")
    cmb_dseg_tsv = File(exists=True, desc="lesion table")
    candidates_dseg = File(exists=True, desc="one integer a candidate, native T2* grid")
    candidates_tsv = File(exists=True, desc="table of candidates")
    result_json = File(exists=True, desc="counts, search, settings, weights, seconds, warnings")


class WriteLesions(SimpleInterface):
    """Bring the lesions to the native T2* grid, apply the size rules there, write images and tables."""

    input_spec = _WriteLesionsInputSpec
    output_spec = _WriteLesionsOutputSpec

    def _run_interface(self, runtime):
        import nibabel as nib
        import numpy as np

        from mbseg_bids.detection.candidates.classifier import read_second_look
        from mbseg_bids.detection.lesions.summary import summarise
        from mbseg_bids.detection.lesions.tables import Evidence, tabulate, write_table
        from mbseg_bids.imaging.grids import labels_to_native, probability_to_native, slice_axis
        from mbseg_bids.settings import DetectionSettings

        started = time.monotonic()
        settings = DetectionSettings(**self.inputs.settings)
        reference = nib.load(self.inputs.t2star)
        grid = (reference.shape[:3], reference.affine)
        candidates = labels_to_native(_read(self.inputs.candidates), *grid).data
        survivors = labels_to_native(_read(self.inputs.survivors), *grid).data
        evidence = json.loads(Path(self.inputs.evidence).read_text(encoding="utf-8"))
        of_candidates, of_survivors = (
            {int(label): Evidence.from_dict(e) for label, e in evidence[kind].items()}
            for kind in ("candidates", "survivors")
        )
        phase = json.loads(Path(self.inputs.phase).read_text(encoding="utf-8")) if given(self.inputs.phase) else None
        if phase is not None:
            of_survivors = _with_phase(of_survivors, phase["fits"])
        across = slice_axis(reference.affine)
        result = tabulate(
            candidates, survivors, of_candidates, of_survivors, reference.affine, across, settings,
            with_phase=phase is not None,
        )  # fmt: skip
        probability = probability_to_native(_read(self.inputs.probability), *grid).data

        folder = Path(runtime.cwd)
        images = {
            "cmb_mask": (result.lesions > 0).astype(np.uint8),
            "cmb_probseg": np.clip(probability, 0, 1).astype(np.float32),
            "cmb_dseg": result.lesions.astype(np.min_scalar_type(max(256, result.lesions.max(initial=0)))),
            "candidates_dseg": candidates.astype(np.min_scalar_type(max(256, candidates.max(initial=0)))),
        }
        for name, data in images.items():
            self._results[name] = str(folder / f"{name}.nii.gz")
            nib.save(on_grid_of(reference, data), self._results[name])
        for name, table in (("cmb_dseg_tsv", result.lesion_table), ("candidates_tsv", result.candidate_table)):
            self._results[name] = str(folder / f"{name.removesuffix('_tsv')}.tsv")
            write_table(table, self._results[name])
        network = read_second_look().training.get("network") if settings.second_look else None
        search = dict(self.inputs.search)
        memory = {"classification": search.pop("memory_gb", None)}
        summary = summarise(result.lesion_table, result.candidate_table, search, settings, second_look_network=network)
        summary["memory_gb"] = memory
        summary["criteria"] = evidence["criteria"]
        if phase is not None:
            summary["phase"] = phase["facts"]
            summary["warnings"] += phase["warnings"]
        summary["duration_s"]["writing"] = round(time.monotonic() - started, 1)
        for warning in summary["warnings"]:
            LOGGER.warning(warning)
        self._results["result_json"] = str(folder / "result.json")
        Path(self._results["result_json"]).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        return runtime


def _with_phase(evidence, fits):
    """Return the evidence by label with what the phase says of each."""
    from dataclasses import replace

    from mbseg_bids.detection.phase.dipole import DipoleFit
    from mbseg_bids.detection.phase.evidence import with_phase

    known = {int(label): DipoleFit(**fit) for label, fit in fits.items()}
    return {label: replace(e, criteria=with_phase(e.criteria, known.get(label))) for label, e in evidence.items()}


def on_grid_of(reference, data):
    """Return an image of ``data`` whose place is that of ``reference`` to the bit: sform, qform, codes, voxel sizes.

    What the header says about the intensities of the reference (scaling, display range, intent) and its extensions,
    which may name a person, are left out.

    Parameters
    ----------
    reference
        A NIfTI image of three axes, or of four the last of which has length 1.
    data
        Shape (i, j, k) as the first three axes of the reference.
    """
    import nibabel as nib

    header = reference.header.copy()
    header.extensions.clear()
    header.set_data_dtype(data.dtype)
    header.set_slope_inter(1, 0)
    header.set_intent("none", allow_unknown=True)
    header["cal_min"] = header["cal_max"] = 0
    # An affine equal to the header's own leaves sform, qform and their codes untouched.
    return nib.Nifti1Image(data, reference.affine, header)


def _read_stack(t2star, t2w, t1w):
    """Return the contrasts as one array (3, I, J, K), float32; of a missing one (an undefined trait), zeros."""
    import numpy as np

    others = [_read(path).data if given(path) else np.zeros_like(t2star) for path in (t2w, t1w)]
    return np.stack([t2star, *others]).astype(np.float32)


def _read(path):
    import nibabel as nib
    import numpy as np

    from mbseg_bids.imaging.volume import Volume

    image = nib.load(path)
    return Volume(np.asanyarray(image.dataobj), image.affine)


def _write(data, affine, folder, name):
    import nibabel as nib

    path = str(Path(folder) / name)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def _describe(weights):
    from dataclasses import asdict

    return {key: value for key, value in asdict(weights).items() if key != "training"}


def _log_progress():
    """Return a callback that logs every tenth of the way."""
    reported = [0]

    def log(done, total):
        tenth = 10 * done // max(total, 1)
        if total > 1000 and tenth > reported[0]:  # the later rounds of a search are small
            reported[0] = tenth
            LOGGER.info("classified %d of %d voxels", done, total)

    return log
