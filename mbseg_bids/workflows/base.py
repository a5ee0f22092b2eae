"""The whole workflow: one sub-workflow for each session, from its images to its derivatives."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from mbseg_bids import __version__
from mbseg_bids.bids.inputs import Session
from mbseg_bids.bids.outputs import (
    PHASE_OUTPUTS,
    Output,
    name_in_scans,
    output_path,
    outputs_of,
    regions_table,
    sidecar_of,
)
from mbseg_bids.imaging.template import DEFAULT_TEMPLATE
from mbseg_bids.interfaces.anatomy import KEYS
from mbseg_bids.interfaces.bids import FinishSession, WriteDerivative, WriteIfGiven
from mbseg_bids.interfaces.images import MeanOfEchoes
from mbseg_bids.settings import Settings
from mbseg_bids.workflows import quality
from mbseg_bids.workflows.anatomy import DETECTION_GRID, init_anatomy_wf, outputs_with
from mbseg_bids.workflows.detection import INPUTS as DETECTION_INPUTS
from mbseg_bids.workflows.detection import init_detection_wf
from mbseg_bids.workflows.sheets import FROM_ANATOMY, FROM_DETECTION, init_sheets_wf
from mbseg_bids.workflows.spaces import PLACED_TABLES, init_lesions_in_space_wf, init_places_wf

WORKFLOW_NAME = f"mbseg_{__version__.replace('.', '_')}_wf"
"""With the version: a work folder never serves one version's steps to another."""


class SessionPlan(Protocol):
    """A session that will run, with what it reuses."""

    @property
    def session(self) -> Session:
        """Its images."""

    @property
    def fingerprint(self) -> str:
        """Of inputs and settings."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the summary says before anything is computed: inputs, settings, software, warnings."""

    @property
    def reused(self) -> Mapping[str, Path]:
        """Files by input of the anatomy workflow."""


def init_mbseg_wf(
    *,
    plans: Sequence[SessionPlan],
    bids_dir: Path,
    output_dir: Path,
    work_dir: Path,
    settings: Settings,
    hide: Mapping[str, str] | None = None,
) -> Workflow:
    """Build the workflow of a run.

    Parameters
    ----------
    plans
        Sessions to run.
    bids_dir, output_dir, work_dir
        Roots of input, derivatives and intermediate results.
    settings
        Settings of the run.
    hide
        Folders of this machine and what the summaries say instead of them.

    Returns
    -------
    Workflow with one independent sub-workflow for each session, named after it.
    """
    workflow = Workflow(name=WORKFLOW_NAME, base_dir=str(work_dir))
    workflow.add_nodes(
        [
            init_session_wf(plan=plan, bids_dir=bids_dir, output_dir=output_dir, settings=settings, hide=hide or {})
            for plan in plans
        ]
    )
    return workflow


def session_workflow_name(session: Session) -> str:
    """Return the name of the sub-workflow of a session, which crash files are matched by."""
    return re.sub(r"\W", "_", session.label) + "_wf"


def init_session_wf(
    *, plan: SessionPlan, bids_dir: Path, output_dir: Path, settings: Settings, hide: Mapping[str, str]
) -> Workflow:
    """Build the workflow of one session.

    Workflow graph: T2* and what there is of T1w and T2w -> anatomy -> detection -> lesions in other spaces ->
    derivatives -> summary.
    """
    workflow = Workflow(name=session_workflow_name(plan.session))
    inputs = _init_inputs(workflow, plan)
    have = plan.session.contrasts
    anatomy = init_anatomy_wf(
        name="anatomy_wf", settings=settings.anatomy, omp_nthreads=settings.execution.omp_nthreads, contrasts=have
    )
    detection = init_detection_wf(name="detection_wf", settings=settings, phase=plan.session.phase)
    contrasts = [(KEYS[contrast], f"inputnode.{KEYS[contrast]}") for contrast in have]
    reused = [(role, f"inputnode.{role}") for role in plan.reused]
    detection_fields = [field for field in DETECTION_GRID if field in outputs_with(have) and field in DETECTION_INPUTS]
    detection_fields += ["brain_native"] if _has_phase(plan) else []
    workflow.connect(
        [
            (inputs, anatomy, contrasts + reused),
            (inputs, detection, [("t2star", "inputnode.t2star")]),
            (anatomy, detection, [(f"outputnode.{name}", f"inputnode.{name}") for name in detection_fields]),
        ]
    )
    sources = {"anatomy": (anatomy, "outputnode."), "detection": (detection, "outputnode.")}
    sources["sheets"] = (_init_sheets(workflow, anatomy, detection, have), "outputnode.")
    sources["placed"] = (_init_places(workflow, anatomy, detection, have), "outputnode.")
    outputs = outputs_of(have, settings.outputs.spaces, DEFAULT_TEMPLATE, phase=_has_phase(plan))
    sources["quality"] = (_init_quality(workflow, anatomy, detection, plan, outputs), "outputnode.")
    for name, space in (("in_t1w", "T1w"), ("in_template", "template")):
        if any(output.source[0] == name for output in outputs):
            sources[name] = (_init_mapping(workflow, anatomy, detection, space, have), "outputnode.")
    _connect_outputs(workflow, plan, outputs, sources, inputs, bids_dir, output_dir, hide)
    return workflow


def _has_phase(plan: SessionPlan) -> bool:
    return plan.session.phase is not None and bool(plan.session.phase.echoes)


def _init_inputs(workflow: Workflow, plan: SessionPlan) -> Node:
    """Return the node that gives one three-dimensional file for each contrast, and the reused results."""
    fields = [*(KEYS[contrast] for contrast in plan.session.contrasts), *plan.reused]
    inputs = Node(IdentityInterface(fields=fields), name="inputs")
    for role, path in plan.reused.items():
        setattr(inputs.inputs, role, str(path))
    for contrast in plan.session.contrasts:
        name = KEYS[contrast]
        mean = Node(MeanOfEchoes(), name=f"mean_{name}", mem_gb=1)
        mean.inputs.in_files = [str(path) for path in plan.session.images[contrast].paths]
        workflow.connect(mean, "out_file", inputs, name)
    return inputs


def _init_mapping(
    workflow: Workflow, anatomy: Workflow, detection: Workflow, space: str, contrasts: Sequence[str]
) -> Workflow:
    """Connect and return the workflow that brings the lesions into another space."""
    mapping = init_lesions_in_space_wf(name=f"in_{space.lower()}_wf", space=space)
    wanted = ["anat_to_t2star", "anat_to_template"] if space == "template" else ["t1w_to_t2star"]
    transforms = [(f"outputnode.{name}", f"inputnode.{name}") for name in wanted if name in outputs_with(contrasts)]
    if space == "T1w":
        transforms.append(("outputnode.t1w_preproc", "inputnode.t1w"))
    workflow.connect(
        [
            (detection, mapping, [("outputnode.cmb_dseg", "inputnode.labels")]),
            (anatomy, mapping, transforms),
        ]
    )
    return mapping


def _init_places(workflow: Workflow, anatomy: Workflow, detection: Workflow, contrasts: Sequence[str]) -> Workflow:
    """Connect and return the workflow that says in the tables where each row lies on the template."""
    places = init_places_wf(name="places_wf")
    transforms = [name for name in ("anat_to_t2star", "template_to_anat") if name in outputs_with(contrasts)]
    workflow.connect(
        [
            (detection, places, [(f"outputnode.{name}", f"inputnode.{name}") for name in PLACED_TABLES]),
            (anatomy, places, [(f"outputnode.{name}", f"inputnode.{name}") for name in transforms]),
        ]
    )
    return places


def _init_sheets(workflow: Workflow, anatomy: Workflow, detection: Workflow, contrasts: Sequence[str]) -> Workflow:
    """Connect and return the workflow that fills in the rating sheets."""
    sheets = init_sheets_wf(name="sheets_wf")
    of_anatomy = {field: name for field, name in FROM_ANATOMY.items() if field in outputs_with(contrasts)}
    workflow.connect(
        [
            (anatomy, sheets, [(f"outputnode.{field}", f"inputnode.{name}") for field, name in of_anatomy.items()]),
            (detection, sheets, [(f"outputnode.{name}", f"inputnode.{name}") for name in FROM_DETECTION]),
        ]
    )
    return sheets


def _init_quality(
    workflow: Workflow, anatomy: Workflow, detection: Workflow, plan: SessionPlan, outputs: Sequence[Output]
) -> Workflow:
    """Connect and return the workflow that says how good the T2* scan is."""
    (image,) = (output for output in outputs if output.name == "t2star")
    measured = quality.init_quality_wf(
        name="quality_wf",
        scan=plan.facts["inputs"]["T2starw"],
        filename=name_in_scans(image, plan.session.participant, plan.session.session),
    )
    workflow.connect(
        [
            (anatomy, measured, [(f"outputnode.{f}", f"inputnode.{name}") for f, name in quality.FROM_ANATOMY.items()]),
            (detection, measured, [(f"outputnode.{f}", f"inputnode.{n}") for f, n in quality.FROM_DETECTION.items()]),
        ]
    )
    return measured


def _connect_outputs(
    workflow: Workflow,
    plan: SessionPlan,
    outputs: Sequence[Output],
    sources: Mapping[str, tuple[Any, str]],
    inputs: Node,
    bids_dir: Path,
    output_dir: Path,
    hide: Mapping[str, str],
) -> None:
    """Write every output, then the summary, then the mark that the session is done."""
    session = plan.session
    images = {contrast: image.paths for contrast, image in session.images.items()}
    phase = session.phase
    # nipype compares files by content: without overwrite, a work folder used for another output folder gives old paths.
    written = Node(Merge(len(outputs)), name="written", run_without_submitting=True, overwrite=True)
    for number, output in enumerate(outputs, start=1):
        write = WriteIfGiven if output in PHASE_OUTPUTS else WriteDerivative
        node = Node(write(output_dir=str(output_dir)), name=f"write_{output.name}", run_without_submitting=True)
        node.inputs.path = output_path(output, session.participant, session.session).as_posix()
        if output.source[0] == "placed":
            node.inputs.columns = {"contrasts": ",".join(session.contrasts)}
        if output.extension != ".tsv" or output.table:
            node.inputs.metadata = sidecar_of(output, images, bids_dir, phase=phase.paths if phase else ())
        if output.table == "regions":
            node.inputs.table = regions_table()
        if output.native:
            workflow.connect(inputs, "t2star", node, "reference")
        if output.name == "probseg":
            workflow.connect(*_field(sources["detection"], "result_json"), node, "computed")
        source, prefix = sources[output.source[0]]
        workflow.connect(source, prefix + output.source[1], node, "in_file")
        workflow.connect(node, "out_file", written, f"in{number}")
    finish = Node(FinishSession(output_dir=str(output_dir)), name="finish", run_without_submitting=True)
    finish.inputs.label = session.label
    finish.inputs.fingerprint = plan.fingerprint
    finish.inputs.facts = dict(plan.facts)
    finish.inputs.hide = dict(hide)
    workflow.connect(written, "out", finish, "out_files")
    workflow.connect(*_field(sources["anatomy"], "qc_json"), finish, "anatomy")
    workflow.connect(*_field(sources["detection"], "result_json"), finish, "detection")
    workflow.connect(*_field(sources["quality"], "quality_json"), finish, "quality")


def _field(source: tuple[Any, str], name: str) -> tuple[Any, str]:
    node, prefix = source
    return node, prefix + name
