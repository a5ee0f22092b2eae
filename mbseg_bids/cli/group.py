"""The group level: tables of all sessions in the output folder."""

import logging

from mbseg_bids.bids.validation import check_distinct, check_writable
from mbseg_bids.cli.environment import scratch_folders
from mbseg_bids.cli.parser import Request
from mbseg_bids.errors import NothingSelectedError
from mbseg_bids.wording import counted

LOGGER = logging.getLogger("mbseg")


def run_group(request: Request) -> str:
    """Gather the tables of the sessions that the participant level has finished; return what was done.

    Raises
    ------
    NothingSelectedError
        If no session is finished.
    MbsegError
        If the model asked for cannot be fitted; the tables and the page are written before.
    """
    marks = sorted((request.output_dir / "logs").glob("sub-*_done.json"))
    if not marks:
        raise NothingSelectedError(
            f"no finished session in {request.output_dir}", "run the participant level first, with the same folder"
        )
    if request.dry_run:
        return f"dry run: the group tables would be made from {counted(len(marks), 'session')}"
    check_distinct(request.output_dir, request.bids_dir)
    check_writable(request.output_dir, "output folder")
    with scratch_folders():
        from mbseg_bids.group.build import build_group

        folders = request.output_dir, request.bids_dir if request.bids_dir.is_dir() else None
        result = build_group(*folders, model=request.model, reviewed=request.reviewed)
    for problem in result.problems:
        LOGGER.warning("%s", problem)
    if request.model:
        for warning in result.model.warnings:
            LOGGER.warning("model: %s", warning)
        if result.model.error is not None:
            raise result.model.error
    return f"group tables of {counted(len(marks), 'session')} are in {request.output_dir / 'phenotype'}"
