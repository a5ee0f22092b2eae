"""The anatomy workflow: masks, tissue, regions and all contrasts on the detection grid."""

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from mbseg_bids.imaging.template import DEFAULT_TEMPLATE
from mbseg_bids.interfaces.anatomy import (
    AssembleDetectionGrid,
    GatherRecords,
    PrepareImage,
    RegisterRigid,
    RegisterTemplate,
    SegmentRegions,
)
from mbseg_bids.settings import AnatomySettings

INPUTS = ("t1w", "t2w", "t2star", "brain_mask", "wmh_mask", "aseg", "t1w_aseg_space")
DETECTION_GRID = ("t2star_det", "t2w_det", "t1w_det", "brain_det", "tissue_det", "regions_det")
NATIVE = ("t2star_native_preproc", "brain_native", "regions_native")
T1W_SPACE = ("t1w_preproc", "brain_t1w", "tissue_t1w", "regions_t1w")
TRANSFORMS = ("t1w_to_t2star", "t2w_to_t2star", "t1w_to_template", "template_to_t1w")
OUTPUTS = (*DETECTION_GRID, *NATIVE, *T1W_SPACE, *TRANSFORMS, "qc_json")


def init_anatomy_wf(
    *, name: str = "anatomy_wf", settings: AnatomySettings, omp_nthreads: int = 1, template: str = DEFAULT_TEMPLATE
) -> Workflow:
    """Build the anatomy workflow of one session.

    Workflow graph: each contrast is prepared on its own (brain, bias); T1w and T2w are registered rigidly to T2*, T1w
    to the template; tissue and regions are found on T1w; all meet on the detection grid.

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

    Inputs
    ------
    t1w, t2w, t2star
        Three-dimensional scans.
    brain_mask, wmh_mask
        Optional masks in the space of T1w.
    aseg, t1w_aseg_space
        Optional FreeSurfer, FastSurfer or SynthSeg segmentation, and the T1w on its grid.

    Outputs
    -------
    t2star_det, t2w_det, t1w_det, brain_det, tissue_det, regions_det
        Detection grid; images 0-100.
    t2star_native_preproc, brain_native, regions_native
        Native T2* grid, its affine to the bit.
    t1w_preproc, brain_t1w, tissue_t1w, regions_t1w
        T1w grid; the image 0-100.
    t1w_to_t2star, t2w_to_t2star
        4 x 4 text: take points of the moving image to points of T2*, RAS+ mm.
    t1w_to_template, template_to_t1w
        ITK displacement fields, affine included, that bring images of the first space to the second.
    qc_json
        ``registration`` (checks by name), ``reuse``, ``warnings``, ``durations`` in s, volumes.
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(fields=list(INPUTS)), name="inputnode")
    outputnode = Node(IdentityInterface(fields=list(OUTPUTS)), name="outputnode")
    prepare = {key: _prepare(key, contrast, settings) for key, contrast in _CONTRASTS.items()}
    register = {key: _register(key) for key in ("t1w", "t2w")}
    to_template = Node(
        RegisterTemplate(template=template, preset=settings.registration), name="register_template", mem_gb=3
    )
    segment = Node(SegmentRegions(), name="segment_regions", mem_gb=2)
    assemble = Node(AssembleDetectionGrid(), name="assemble", mem_gb=2)
    gather = Node(GatherRecords(), name="gather", run_without_submitting=True)
    for key, node in prepare.items():
        workflow.connect(inputnode, key, node, "in_file")
    workflow.connect(inputnode, "brain_mask", prepare["t1w"], "brain_mask")
    for key, node in register.items():
        _connect_rigid(workflow, prepare["t2star"], prepare[key], node)
        workflow.connect(node, "transform", assemble, f"{key}_to_t2star")
        workflow.connect(node, "transform", outputnode, f"{key}_to_t2star")
    workflow.connect(
        [
            (prepare["t1w"], to_template, [("out_file", "t1w"), ("brain", "brain")]),
            (prepare["t1w"], segment, [("out_file", "t1w"), ("brain", "brain")]),
            (to_template, segment, [("template_to_t1w", "template_to_t1w")]),
            (inputnode, segment, [(field, field) for field in ("aseg", "t1w_aseg_space", "wmh_mask")]),
            (
                prepare["t2star"],
                assemble,
                [("out_file", "t2star"), ("brain", "t2star_brain"), ("brain_found", "t2star_brain_found")],
            ),
            (prepare["t2w"], assemble, [("out_file", "t2w")]),
            (prepare["t1w"], assemble, [("out_file", "t1w"), ("brain", "brain")]),
            (segment, assemble, [("tissue", "tissue"), ("regions", "regions")]),
            (segment, outputnode, [("t1w", "t1w_preproc"), ("tissue", "tissue_t1w"), ("regions", "regions_t1w")]),
            (prepare["t1w"], outputnode, [("brain", "brain_t1w")]),
            (to_template, outputnode, [(way, way) for way in ("t1w_to_template", "template_to_t1w")]),
            (assemble, outputnode, [(field, field) for field in (*DETECTION_GRID, *NATIVE)]),
            (inputnode, gather, [("brain_mask", "brain_mask")]),
            (gather, outputnode, [("out_file", "qc_json")]),
        ]
    )
    recorded = [*prepare.values(), *register.values(), to_template, segment, assemble]
    records = Node(Merge(len(recorded)), name="records", run_without_submitting=True)
    for number, node in enumerate(recorded, start=1):
        workflow.connect(node, "record", records, f"in{number}")
    workflow.connect(records, "out", gather, "records")
    return workflow


_CONTRASTS = {"t1w": "T1w", "t2w": "T2w", "t2star": "T2starw"}


def _prepare(key: str, contrast: str, settings: AnatomySettings) -> Node:
    interface = PrepareImage(contrast=contrast, iterations=settings.n4_iterations)
    return Node(interface, name=f"prepare_{key}", mem_gb=2.5)


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
