"""Lesions in other spaces than that of the T2*-weighted image, and their places on the template."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from mbseg_bids.interfaces.images import MaskOfLabels
from mbseg_bids.interfaces.labels import MapLabelsToT1w, MapLabelsToTemplate
from mbseg_bids.interfaces.places import PlaceOnTemplate

PLACED_TABLES = ("cmb_dseg_tsv", "candidates_tsv")
"""Outputs of the detection that get the columns of places."""


def init_lesions_in_space_wf(*, name: str, space: str) -> Workflow:
    """Build the workflow that brings lesion labels to T1w space or to the template.

    Workflow graph: labels -> mapped labels -> mask.

    Parameters
    ----------
    name
        Of the workflow.
    space
        ``T1w`` or ``template``.

    Inputs
    ------
    labels
        Lesions on the native T2* grid.
    t1w, t1w_to_t2star
        For ``T1w``: image that gives the grid, and its transform.
    anat_to_t2star, anat_to_template
        For ``template``: transforms of the anatomical image; the first is left out where that is T2* itself.

    Outputs
    -------
    cmb_dseg, cmb_mask
        The same labels, and 1 where there is any.
    """
    workflow = Workflow(name=name)
    to_template = space == "template"
    target = "template space" if to_template else "the space of the T1w"
    workflow.__desc__ = f"Microbleeds were brought to {target} one by one, so that none was lost or merged.\n\n"
    used = ["anat_to_t2star", "anat_to_template"] if to_template else ["t1w_to_t2star", "t1w"]
    inputnode = Node(IdentityInterface(fields=["labels", *used]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["cmb_dseg", "cmb_mask"]), name="outputnode")
    map_labels = Node(MapLabelsToTemplate() if to_template else MapLabelsToT1w(), name="map_labels", mem_gb=1)
    mask = Node(MaskOfLabels(), name="mask", run_without_submitting=True)
    workflow.connect(
        [
            (inputnode, map_labels, [(field, field) for field in ["labels", *used]]),
            (map_labels, mask, [("out_file", "in_file")]),
            (map_labels, outputnode, [("out_file", "cmb_dseg")]),
            (mask, outputnode, [("out_file", "cmb_mask")]),
        ]
    )
    return workflow


def init_places_wf(*, name: str) -> Workflow:
    """Build the workflow that adds side and place on the template to the tables of lesions and candidates.

    Workflow graph: each table -> table with the columns ``places`` of ``data/columns.json``.

    Parameters
    ----------
    name
        Of the workflow.

    Inputs
    ------
    cmb_dseg_tsv, candidates_tsv
        Tables of the detection.
    anat_to_t2star, template_to_anat
        Transforms of the anatomical image; the first is left out where that is T2* itself.

    Outputs
    -------
    cmb_dseg_tsv, candidates_tsv
        The same rows with more columns.
    """
    workflow = Workflow(name=name)
    transforms = ["anat_to_t2star", "template_to_anat"]
    inputnode = Node(IdentityInterface(fields=[*PLACED_TABLES, *transforms]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=list(PLACED_TABLES)), name="outputnode")
    for table in PLACED_TABLES:
        place = Node(PlaceOnTemplate(), name=f"place_{table.removesuffix('_tsv')}", mem_gb=0.8)
        workflow.connect(
            [
                (inputnode, place, [(table, "table"), *((field, field) for field in transforms)]),
                (place, outputnode, [("out_file", table)]),
            ]
        )
    return workflow
