"""A phase is in the plan, in what a finished session is known by, and in the workflow; without one nothing is."""

import json
from pathlib import Path

from mbseg_bids.bids.inputs import find_sessions
from mbseg_bids.cli.parser import parse_request
from mbseg_bids.cli.planning import describe, plan_sessions
from mbseg_bids.settings import InputSettings, Settings
from mbseg_bids.workflows.base import init_session_wf
from mbseg_bids.workflows.detection import init_detection_wf

T2STAR = "sub-01/anat/sub-01_T2starw.nii.gz"
PHASE = "sub-01/anat/sub-01_part-phase_T2starw.nii.gz"


def planned(root, out):
    request = parse_request([str(root), str(out), "participant"])
    sessions = find_sessions(root, settings=InputSettings())
    plans, problems = plan_sessions(sessions, request)
    assert not problems
    return plans[0], describe(sessions, plans, problems, root)


def test_a_dataset_without_a_phase_runs_as_if_phase_did_not_exist(make_dataset, tmp_path):
    """The same plan, the same fingerprint and the same steps: so, to the byte, the same outputs."""
    root = make_dataset(T2STAR)
    request = parse_request([str(root), str(tmp_path / "out"), "participant"])
    seen = []
    for use in (True, False):
        sessions = find_sessions(root, settings=InputSettings(use_phase=use))
        (plan,), _ = plan_sessions(sessions, request)
        workflow = init_session_wf(plan=plan, bids_dir=root, output_dir=tmp_path / "out", settings=Settings(), hide={})
        steps = {node.fullname: node.inputs.get() for node in workflow._get_all_nodes()}
        seen.append((plan.facts, plan.fingerprint, repr(sorted(steps.items()))))
    assert seen[0] == seen[1]
    assert "judge_by_phase" not in seen[0][2]
    assert "local_phase" not in seen[0][2]


def test_the_plan_names_the_phase(make_dataset, tmp_path):
    root = make_dataset(T2STAR)
    without, text = planned(root, tmp_path / "out")
    assert "phase" not in text
    assert "phase" not in without.facts
    assert "scikit-image" not in without.facts["software"]
    make_dataset(PHASE)
    sidecar = Path(root / PHASE.replace(".nii.gz", ".json"))
    sidecar.write_text(json.dumps({"EchoTime": 0.02, "MagneticFieldStrength": 3}))
    plan, text = planned(root, tmp_path / "out")
    assert f"  phase: {PHASE} (beside the T2starw)\n" in text + "\n"
    assert plan.facts["phase"] == {"paths": [PHASE], "echo_times": [0.02], "field_strength": 3.0}
    assert plan.fingerprint != without.fingerprint
    names = init_detection_wf(settings=Settings(), phase=plan.session.phase).list_node_names()
    assert "judge_by_phase" in names
    assert "judge_by_phase" not in init_detection_wf(settings=Settings()).list_node_names()
