"""Rating sheets of a session: where a reader would say that its lesions lie."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node
from niworkflows.engine.workflows import LiterateWorkflow as Workflow

from mbseg_bids.interfaces.sheets import RateLesions

FROM_ANATOMY = {"places": "places", "anat_to_t2star": "anat_to_t2star", "regions_native": "regions"}
"""Outputs of the anatomy workflow, and the inputs they are here."""
FROM_DETECTION = ("cmb_dseg", "cmb_dseg_tsv", "candidates_dseg", "candidates_tsv")
OUTPUTS = ("mars_dseg", "mars_tsv", "bombs_tsv")


def init_sheets_wf(*, name: str) -> Workflow:
    """Build the workflow that fills in the sheets of MARS and BOMBS.

    Workflow graph: places, regions, lesions and candidates -> sheets.

    Parameters
    ----------
    name
        Of the workflow.

    Inputs
    ------
    places
        Labels of places on the grid of the anatomical image.
    anat_to_t2star
        Its transform; left out where that image is T2* itself.
    regions, cmb_dseg, candidates_dseg
        Native T2* grid.
    cmb_dseg_tsv, candidates_tsv
        Tables of the detection.

    Outputs
    -------
    mars_dseg
        Places, native T2* grid.
    mars_tsv, bombs_tsv
        Sheets; columns in ``data/columns.json``.
    """
    workflow = Workflow(name=name)
    workflow.__desc__ = (
        "The places of the microbleeds were counted as on the rating sheets of MARS (Gregoire 2009) and BOMBS "
        "(Cordonnier 2009).\n\n"
    )
    fields = [*FROM_ANATOMY.values(), *FROM_DETECTION]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputnode = Node(IdentityInterface(fields=list(OUTPUTS)), name="outputnode")
    rate_lesions = Node(RateLesions(), name="rate_lesions", mem_gb=0.8)
    workflow.connect(
        [
            (inputnode, rate_lesions, [(field, field) for field in fields]),
            (rate_lesions, outputnode, [(field, field) for field in OUTPUTS]),
        ]
    )
    return workflow
