"""The detection workflow: from registered contrasts to lesions on the native T2* grid."""

import hashlib
from dataclasses import asdict
from pathlib import Path

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from mbseg_bids.bids.phase_files import PhaseFiles
from mbseg_bids.data import CANDIDATE_CLASSIFIER, WEIGHTS_MANIFEST
from mbseg_bids.interfaces.detection import ClassifyCandidates, FindLesions, WriteLesions
from mbseg_bids.interfaces.phase import JudgeByPhase
from mbseg_bids.settings import Settings
from mbseg_bids.workflows.gpu import gpu_expected

INPUTS = ("t2star_det", "t2w_det", "t1w_det", "brain_det", "tissue_det", "regions_det", "t2star", "brain_native")
OUTPUTS = (
    "cmb_mask",
    "cmb_probseg",
    "cmb_dseg",
    "cmb_dseg_tsv",
    "candidates_dseg",
    "candidates_tsv",
    "result_json",
)


def init_detection_wf(*, settings: Settings, phase: PhaseFiles | None = None, name: str = "detection_wf") -> Workflow:
    """Build the workflow that segments the microbleeds of one session.

    Workflow Graph
        classify (search mask, network) -> find_lesions (components, ratio rule, regions, criteria, classifier)
        -> judge_by_phase (dipoles; only with a phase) -> write_lesions (native grid, size rules, files)

    Parameters
    ----------
    settings
        Of the run; ``detection`` and ``execution`` are used.
    phase
        Of the session, where there is one that may be used.
    name
        Of the workflow.

    Inputs
    ------
    t2star_det, t2w_det, t1w_det
        The contrasts on the detection grid, bias-corrected, standardised 0-100.
    brain_det, tissue_det, regions_det
        Brain mask, three-class tissue and region labels on the detection grid.
    t2star
        The T2* image as acquired; every output has its grid and header.
    brain_native
        Brain mask on that grid; used with a phase only.

    Outputs
    -------
    cmb_mask, cmb_probseg, cmb_dseg, candidates_dseg
        Images on the native T2* grid.
    cmb_dseg_tsv, candidates_tsv
        Tables; columns in ``data/columns.json``.
    local_phase
        With a phase only: its quick part, rad; undefined where the phase turns out to be of no use.
    result_json
        Counts, search, settings, weights, durations and warnings.
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(fields=list(INPUTS)), name="inputnode")
    with_phase = phase is not None and bool(phase.echoes)
    outputnode = Node(IdentityInterface(fields=[*OUTPUTS, *(["local_phase"] if with_phase else [])]), name="outputnode")
    detection, execution = asdict(settings.detection), settings.execution
    weights, on_gpu = Path(settings.detection.weights), gpu_expected(execution)
    classify = Node(
        ClassifyCandidates(
            settings=detection,
            weights_state=_state(weights if weights.is_file() else WEIGHTS_MANIFEST),
            batch_size=execution.batch_size or 0,
            device=execution.device,
            runtime=execution.runtime,
            precision=execution.precision,
            n_workers=execution.omp_nthreads,
            use_gpu=on_gpu,
        ),
        name="classify",
        # Of the CPUs a GPU leaves all but one to the anatomy of other sessions.
        n_procs=1 if on_gpu else execution.omp_nthreads,
        mem_gb=1.5 + 0.6 * execution.omp_nthreads,
    )
    find_lesions = Node(
        FindLesions(settings=detection, model_state=_state(CANDIDATE_CLASSIFIER)), name="find_lesions", mem_gb=0.8
    )
    write_lesions = Node(WriteLesions(settings=detection), name="write_lesions", mem_gb=0.8)
    # fmt: off
    workflow.connect([
        (inputnode, classify, [("t2star_det", "t2star"), ("t2w_det", "t2w"), ("t1w_det", "t1w"),
                               ("brain_det", "brain"), ("tissue_det", "tissue")]),
        (inputnode, find_lesions, [("t2star_det", "t2star"), ("t2w_det", "t2w"), ("t1w_det", "t1w"),
                                   ("brain_det", "brain"), ("tissue_det", "tissue"), ("regions_det", "regions")]),
        (inputnode, write_lesions, [("t2star", "t2star")]),
        (classify, find_lesions, [("probability", "probability")]),
        (classify, write_lesions, [("probability", "probability"), ("search", "search")]),
        (find_lesions, write_lesions, [("candidates", "candidates"), ("survivors", "survivors"),
                                       ("evidence", "evidence")]),
        (write_lesions, outputnode, [(output, output) for output in OUTPUTS]),
    ])
    # fmt: on
    if phase is not None and with_phase:
        _add_phase(workflow, phase)
    return workflow


def _add_phase(workflow: Workflow, phase: PhaseFiles) -> None:
    """Have the phase judge what passed the ratio rule, before it is written."""
    inputnode, find_lesions, write_lesions, outputnode = (
        workflow.get_node(name) for name in ("inputnode", "find_lesions", "write_lesions", "outputnode")
    )
    judge_by_phase = Node(
        JudgeByPhase(
            magnitudes=[str(echo.magnitude) for echo in phase.echoes],
            parts=[[str(path) for path in echo.parts] for echo in phase.echoes],
            echo_times=[echo.echo_time for echo in phase.echoes],
            units=[echo.units for echo in phase.echoes],
            field_strength=phase.field_strength,
        ),
        name="judge_by_phase",
        mem_gb=2.5,
    )
    # fmt: off
    workflow.connect([
        (inputnode, judge_by_phase, [("t2star", "t2star"), ("brain_native", "brain")]),
        (find_lesions, judge_by_phase, [("candidates", "candidates"), ("survivors", "survivors")]),
        (judge_by_phase, write_lesions, [("phase", "phase")]),
        (judge_by_phase, outputnode, [("local_phase", "local_phase")]),
    ])
    # fmt: on


def _state(path: Path) -> str:
    """Return what identifies a model besides its name: a work directory must not serve results of another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
