"""Nipype adapter of the phase: files of the dataset in, what they say of the candidates out."""

import json
from pathlib import Path

from nipype import logging
from nipype.interfaces.base import File, SimpleInterface, TraitedSpec, traits

from mbseg_bids.interfaces.files import read_volume, write_volume
from mbseg_bids.interfaces.specs import LabelsInputSpec

LOGGER = logging.getLogger("nipype.interface")


class _JudgeByPhaseInputSpec(LabelsInputSpec):
    magnitudes = traits.List(File(exists=True), mandatory=True, desc="magnitude of each echo, as acquired")
    parts = traits.List(
        traits.List(File(exists=True)), mandatory=True, desc="of each echo its phase, or real and imaginary part"
    )
    echo_times = traits.List(traits.Float, mandatory=True, desc="seconds, of each echo")
    units = traits.List(traits.Str, mandatory=True, desc="Units of each phase's sidecar, or empty")
    field_strength = traits.Float(mandatory=True, desc="tesla")
    brain = File(exists=True, mandatory=True, desc="brain mask, native T2* grid")


class _JudgeByPhaseOutputSpec(TraitedSpec):
    phase = File(exists=True, desc="JSON: facts, warnings, and by label the fits of the survivors")
    local_phase = File(desc="phase without its smooth part, rad, native T2* grid; undefined where no phase is used")


class JudgeByPhase(SimpleInterface):
    """Fit a dipole about each candidate; a phase that cannot be used is named and decides nothing."""

    input_spec = _JudgeByPhaseInputSpec
    output_spec = _JudgeByPhaseOutputSpec

    def _run_interface(self, runtime):
        from dataclasses import asdict

        from mbseg_bids.detection.phase.dipole import PhaseScan
        from mbseg_bids.detection.phase.evidence import judge_by_phase
        from mbseg_bids.imaging.grids import labels_to_native
        from mbseg_bids.imaging.volume import Volume

        reference = read_volume(self.inputs.t2star)
        grid = (reference.data.shape, reference.affine)
        echoes, scales, warnings = self._echoes(grid)
        result: dict[str, dict] = {"facts": {"used": False}, "fits": {}}
        if echoes:
            brain = read_volume(self.inputs.brain).data > 0
            scan = PhaseScan(tuple(echoes), brain, reference.affine, self.inputs.field_strength)
            survivors = labels_to_native(read_volume(self.inputs.survivors), *grid).data
            candidates = labels_to_native(read_volume(self.inputs.candidates), *grid).data
            judged = judge_by_phase(scan, survivors, candidates)
            warnings += [judged.warning] if judged.warning else []
            if judged.local is not None:
                local = Volume(judged.local, reference.affine)
                self._results["local_phase"] = write_volume(
                    Path(runtime.cwd) / "local_phase.nii.gz", local, like=self.inputs.t2star
                )
            result["facts"] = judged.facts() | {"scales": scales}
            result["fits"] = {label: asdict(fit) for label, fit in judged.fits.items()}
        for warning in warnings:
            LOGGER.warning(warning)
        path = Path(runtime.cwd) / "phase.json"
        path.write_text(json.dumps(result | {"warnings": warnings}), encoding="utf-8")
        self._results["phase"] = str(path)
        return runtime

    def _echoes(self, grid):
        """Return the echoes whose phase can be used, the scales they are stored in, and why others cannot be."""
        from mbseg_bids.imaging.phase import Echo, NotPhaseError, phase_in_radians, phase_of_parts

        echoes, scales, warnings = [], [], []
        rows = zip(self.inputs.magnitudes, self.inputs.parts, self.inputs.echo_times, self.inputs.units, strict=True)
        for magnitude_file, parts, time, units in rows:
            try:
                magnitude = _on_grid(magnitude_file, grid)
                arrays = [_on_grid(path, grid) for path in parts]
                if len(arrays) == 1:
                    radians, scale = phase_in_radians(arrays[0], magnitude, units)
                else:
                    radians, scale = phase_of_parts(*arrays)[1], "real and imaginary part"
            except NotPhaseError as error:
                warnings.append(f"The phase {Path(parts[0]).name} is not used: {error}.")
                continue
            echoes.append(Echo(magnitude, radians, time))
            scales.append(scale)
        return echoes, scales, warnings


def _on_grid(path, grid):
    """Return the values of an image that must lie where the T2* image lies."""
    import numpy as np

    from mbseg_bids.errors import UnreadableDataError
    from mbseg_bids.imaging.phase import NotPhaseError

    try:
        image = read_volume(path)
    except UnreadableDataError as error:
        raise NotPhaseError("it cannot be read as an image of three axes") from error
    if np.iscomplexobj(image.data):
        raise NotPhaseError("it holds complex numbers: give phase, or real and imaginary part")
    shape, affine = grid
    if image.data.shape != tuple(shape):
        sizes = (" x ".join(map(str, size)) for size in (image.data.shape, shape))
        raise NotPhaseError("it has {} voxels, the T2* image {}".format(*sizes))
    if not np.allclose(image.affine, affine, atol=1e-2):
        raise NotPhaseError("it does not lie where the T2* image lies")
    return image.data
