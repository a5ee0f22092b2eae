"""The anatomy workflow: masks, tissue, regions and all contrasts on the detection grid."""

from collections.abc import Collection, Iterable

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from mbseg_bids.contrasts import CONTRASTS
from mbseg_bids.imaging.anatomical import anatomical_contrast
from mbseg_bids.imaging.template import DEFAULT_TEMPLATE
from mbseg_bids.interfaces.anatomy import (
    KEYS,
    AssembleDetectionGrid,
    GatherRecords,
    PrepareImage,
    RegisterRigid,
    RegisterTemplate,
    SegmentRegions,
)
from mbseg_bids.settings import AnatomySettings

INPUTS = ("t1w", "t2w", "t2star", "brain_mask", "wmh_mask", "aseg", "t1w_aseg_space")
DETECTION_GRID = ("t2star_det", "t2w_det", "t1w_det", "brain_det", "tissue_det", "regions_det", "atlas_det")
NATIVE = ("t2star_native_preproc", "t2w_native_preproc", "t1w_native_preproc", "brain_native", "regions_native")
T1W_SPACE = ("t1w_preproc", "brain_t1w", "tissue_t1w", "regions_t1w")
TRANSFORMS = ("t1w_to_t2star", "t2w_to_t2star", "anat_to_t2star", "anat_to_template", "template_to_anat")
OUTPUTS = (*DETECTION_GRID, *NATIVE, *T1W_SPACE, "places", *TRANSFORMS, "qc_json")
"""Of a session with all three contrasts."""


def outputs_with(contrasts: Iterable[str]) -> tuple[str, ...]:
    """Return the outputs of a session with these contrasts, in the order of :data:`OUTPUTS`."""
    left_out = set()
    if "T1w" not in contrasts:
        left_out |= {"t1w_det", "t1w_native_preproc", "t1w_to_t2star", *T1W_SPACE}
    if "T2w" not in contrasts:
        left_out |= {"t2w_det", "t2w_native_preproc", "t2w_to_t2star"}
    if anatomical_contrast(contrasts) == "T2starw":
        left_out.add("anat_to_t2star")
    return tuple(name for name in OUTPUTS if name not in left_out)


def init_anatomy_wf(
    *,
    name: str = "anatomy_wf",
    settings: AnatomySettings,
    omp_nthreads: int = 1,
    template: str = DEFAULT_TEMPLATE,
    contrasts: Collection[str] = CONTRASTS,
) -> Workflow:
    """Build the anatomy workflow of one session.

    Workflow graph: each contrast is prepared on its own (brain, bias); T1w and T2w are registered rigidly to T2*. The
    anatomical image, which is the T1w, without one the T2w, without both T2*, is registered to the template; tissue and
    regions are found on it; all meet on the detection grid.

    Parameters
    ----------
    name
        Of the workflow.
    settings
        How the anatomy is found.
    omp_nthreads
        Threads a node may use. Every node here computes on one, whatever this says, so that results are the same.
    template
        BIDS name of the template.
    contrasts
        Images the session has; T2starw is always one of them. Nodes, inputs and outputs of others are left out.

    Inputs
    ------
    t1w, t2w, t2star
        Three-dimensional scans.
    brain_mask, wmh_mask
        Optional masks in the space of the anatomical image.
    aseg, t1w_aseg_space
        Optional FreeSurfer, FastSurfer or SynthSeg segmentation, and the T1w on its grid.

    Outputs
    -------
    t2star_det, t2w_det, t1w_det, brain_det, tissue_det, regions_det
        Detection grid; images 0-100.
    atlas_det
        FreeSurfer numbers of the warped region atlas, detection grid.
    t2star_native_preproc, t2w_native_preproc, t1w_native_preproc, brain_native, regions_native
        Native T2* grid, its affine to the bit; images 0-100.
    t1w_preproc, brain_t1w, tissue_t1w, regions_t1w
        T1w grid; the image 0-100.
    places
        Places of a reader (:mod:`mbseg_bids.imaging.place_labels`), grid of the anatomical image.
    t1w_to_t2star, t2w_to_t2star, anat_to_t2star
        4 x 4 text: take points of the moving image to points of T2*, RAS+ mm. The last is one of the first two.
    anat_to_template, template_to_anat
        ITK displacement fields, affine included, that bring images of the first space to the second.
    qc_json
        ``registration`` (checks by name), ``reuse``, ``warnings``, ``durations`` in s, volumes,
        ``anatomical_contrast``, ``fluid_to_white_matter`` (signal of one over that of the other, by contrast),
        ``coverage`` (part of the brain in the field of view of ``T2starw``).
    """
    workflow = Workflow(name=name)
    anatomical = anatomical_contrast(contrasts)
    keys = [KEYS[contrast] for contrast in CONTRASTS if contrast in contrasts]
    outputs = outputs_with(contrasts)
    inputnode = Node(IdentityInterface(fields=[*keys, *INPUTS[3:]]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=list(outputs)), name="outputnode")
    prepare = {KEYS[c]: _prepare(c, settings, anatomical=c == anatomical) for c in CONTRASTS if c in contrasts}
    register = {key: _register(key) for key in keys if key != "t2star"}
    to_template = Node(
        RegisterTemplate(contrast=anatomical, template=template, preset=settings.registration),
        name="register_template",
        mem_gb=3,
    )
    segment = Node(SegmentRegions(contrast=anatomical), name="segment_regions", mem_gb=2)
    assemble = Node(AssembleDetectionGrid(anatomical=anatomical), name="assemble", mem_gb=2)
    gather = Node(GatherRecords(), name="gather", run_without_submitting=True)
    anat = prepare[KEYS[anatomical]]
    for key, node in prepare.items():
        workflow.connect(inputnode, key, node, "in_file")
    workflow.connect(inputnode, "brain_mask", anat, "brain_mask")
    for key, node in register.items():
        _connect_rigid(workflow, prepare["t2star"], prepare[key], node)
        workflow.connect(prepare[key], "out_file", assemble, key)
        workflow.connect(node, "transform", assemble, f"{key}_to_t2star")
        workflow.connect(node, "transform", outputnode, f"{key}_to_t2star")
    if anatomical != "T2starw":
        workflow.connect(register[KEYS[anatomical]], "transform", outputnode, "anat_to_t2star")
    of_t2star = [("out_file", "t2star"), ("brain", "t2star_brain"), ("brain_found", "t2star_brain_found")]
    on_grids = [(field, field) for field in (*DETECTION_GRID, *NATIVE) if field in outputs]
    workflow.connect(
        [
            (anat, to_template, [("out_file", "anat"), ("brain", "brain")]),
            (anat, segment, [("out_file", "anat"), ("brain", "brain")]),
            *((to_template, node, [("template_to_anat", "template_to_anat")]) for node in (segment, assemble)),
            (inputnode, segment, [(field, field) for field in ("aseg", "t1w_aseg_space", "wmh_mask")]),
            (prepare["t2star"], assemble, of_t2star),
            (anat, assemble, [("brain", "brain")]),
            (segment, assemble, [("tissue", "tissue"), ("regions", "regions")]),
            (to_template, outputnode, [(way, way) for way in ("anat_to_template", "template_to_anat")]),
            (assemble, outputnode, on_grids),
            (segment, outputnode, [("places", "places")]),
            (inputnode, gather, [("brain_mask", "brain_mask")]),
            (gather, outputnode, [("out_file", "qc_json")]),
        ]
    )
    if anatomical == "T1w":
        _connect_t1w_space(workflow, anat, segment, outputnode)
    recorded = [*prepare.values(), *register.values(), to_template, segment, assemble]
    records = Node(Merge(len(recorded)), name="records", run_without_submitting=True)
    for number, node in enumerate(recorded, start=1):
        workflow.connect(node, "record", records, f"in{number}")
    workflow.connect(records, "out", gather, "records")
    return workflow


def _connect_t1w_space(workflow: Workflow, anat: Node, segment: Node, outputnode: Node) -> None:
    """Give out what lies on the T1w grid."""
    workflow.connect(
        [
            (segment, outputnode, [("anat", "t1w_preproc"), ("tissue", "tissue_t1w"), ("regions", "regions_t1w")]),
            (anat, outputnode, [("brain", "brain_t1w")]),
        ]
    )


def _prepare(contrast: str, settings: AnatomySettings, *, anatomical: bool) -> Node:
    interface = PrepareImage(contrast=contrast, anatomical=anatomical, iterations=settings.n4_iterations)
    return Node(interface, name=f"prepare_{KEYS[contrast]}", mem_gb=2.5)


def _register(key: str) -> Node:
    return Node(RegisterRigid(name=f"{key}_to_t2star"), name=f"register_{key}", mem_gb=2)


def _connect_rigid(workflow: Workflow, fixed: Node, moving: Node, register: Node) -> None:
    workflow.connect(
        [
            (
                fixed,
                register,
                [("out_file", "fixed"), ("brain", "fixed_brain"), ("brain_found", "fixed_brain_found")],
            ),
            (
                moving,
                register,
                [("out_file", "moving"), ("brain", "moving_brain"), ("brain_found", "moving_brain_found")],
            ),
        ]
    )
