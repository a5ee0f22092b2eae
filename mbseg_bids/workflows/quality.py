"""Quality of a session's T2*-weighted scan."""

import hashlib
from collections.abc import Mapping
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from mbseg_bids.data import QUALITY_RANGES
from mbseg_bids.interfaces.quality import MeasureQuality

FROM_ANATOMY = {"t2star_det": "t2star", "brain_det": "brain", "regions_det": "regions", "qc_json": "anatomy"}
"""Outputs of the anatomy workflow, and the inputs they are here."""
FROM_DETECTION = {"result_json": "detection"}
OUTPUTS = ("quality_json", "scans_tsv")


def init_quality_wf(*, name: str, scan: Mapping[str, Any], filename: str) -> Workflow:
    """Build the workflow that says how good a T2*-weighted scan is.

    Workflow graph: T2*, masks, what anatomy and detection found -> measures beside those of the training scans.

    Parameters
    ----------
    name
        Of the workflow.
    scan
        What is known of the scan: ``spacing`` (mm, in the order of its axes), ``metadata`` (of its sidecar), ``paths``
        where it is the mean of several echoes.
    filename
        Of the T2* image in the derivatives, relative to the folder of the table.

    Inputs
    ------
    t2star, brain, regions
        Detection grid.
    anatomy, detection
        JSON of these workflows.

    Outputs
    -------
    quality_json
        Measures with their ranges, reasons, warnings; see :mod:`mbseg_bids.imaging.quality_ranges`.
    scans_tsv
        One row; columns ``quality`` in ``data/columns.json``.
    """
    workflow = Workflow(name=name)
    fields = [*FROM_ANATOMY.values(), *FROM_DETECTION.values()]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputnode = Node(IdentityInterface(fields=list(OUTPUTS)), name="outputnode")
    measure_quality = Node(
        MeasureQuality(
            scan=dict(scan), filename=filename, ranges_state=hashlib.sha256(QUALITY_RANGES.read_bytes()).hexdigest()
        ),
        name="measure_quality",
        mem_gb=1,
    )
    workflow.connect(
        [
            (inputnode, measure_quality, [(field, field) for field in fields]),
            (measure_quality, outputnode, [(field, field) for field in OUTPUTS]),
        ]
    )
    return workflow
