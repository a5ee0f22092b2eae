"""The anatomy workflow is connected as promised; it is not run here."""

import pytest

from mbseg_bids.settings import AnatomySettings
from mbseg_bids.workflows.anatomy import INPUTS, OUTPUTS, init_anatomy_wf, outputs_with


def test_every_output_has_a_source():
    workflow = init_anatomy_wf(name="anatomy", settings=AnatomySettings())
    graph = workflow._graph
    outputnode = workflow.get_node("outputnode")
    fed = {target for _, _, data in graph.in_edges(outputnode, data=True) for _, target in data["connect"]}
    assert fed == set(OUTPUTS)


def test_every_input_is_used():
    workflow = init_anatomy_wf(name="anatomy", settings=AnatomySettings())
    inputnode = workflow.get_node("inputnode")
    used = {source for _, _, data in workflow._graph.out_edges(inputnode, data=True) for source, _ in data["connect"]}
    assert used == set(INPUTS)


def test_settings_reach_the_nodes():
    workflow = init_anatomy_wf(settings=AnatomySettings(registration="coarse", n4_iterations=7))
    assert workflow.get_node("register_template").inputs.preset == "coarse"
    assert {workflow.get_node(f"prepare_{key}").inputs.iterations for key in ("t1w", "t2w", "t2star")} == {7}


def test_nodes_declare_memory():
    workflow = init_anatomy_wf(settings=AnatomySettings())
    heavy = [n for n in workflow.list_node_names() if n.startswith(("prepare", "register", "segment", "assemble"))]
    assert all(workflow.get_node(name).mem_gb >= 1 for name in heavy)
    assert all(workflow.get_node(name).mem_gb <= 4 for name in heavy)


def nodes_of(*contrasts):
    workflow = init_anatomy_wf(settings=AnatomySettings(), contrasts=contrasts)
    return workflow, set(workflow.list_node_names())


def fed(workflow, name):
    """Return the fields of a node that something is connected to, with the name of where it comes from."""
    edges = workflow._graph.in_edges(workflow.get_node(name), data=True)
    return {target: source.name for source, _, data in edges for _, target in data["connect"]}


@pytest.mark.parametrize("contrasts", [("T1w", "T2w", "T2starw"), ("T1w", "T2starw"), ("T2w", "T2starw"), ("T2starw",)])
def test_every_output_of_any_set_of_contrasts_has_a_source(contrasts):
    workflow, _ = nodes_of(*contrasts)
    assert set(fed(workflow, "outputnode")) == set(outputs_with(contrasts))


def test_without_t2w_its_nodes_are_left_out_and_the_t1w_gives_the_anatomy():
    workflow, nodes = nodes_of("T1w", "T2starw")
    assert nodes.isdisjoint({"prepare_t2w", "register_t2w"})
    assert fed(workflow, "register_template")["anat"] == "prepare_t1w"
    assert {"t1w_det", "t1w_preproc"} <= set(outputs_with(("T1w", "T2starw")))
    assert {"t2w_det", "t2w_to_t2star"}.isdisjoint(outputs_with(("T1w", "T2starw")))


def test_without_t1w_the_t2w_gives_the_anatomy_and_there_is_no_t1w_space():
    workflow, nodes = nodes_of("T2w", "T2starw")
    assert nodes.isdisjoint({"prepare_t1w", "register_t1w"})
    assert fed(workflow, "segment_regions")["anat"] == "prepare_t2w"
    assert fed(workflow, "outputnode")["anat_to_t2star"] == "register_t2w"
    assert workflow.get_node("prepare_t2w").inputs.anatomical
    assert not workflow.get_node("prepare_t2star").inputs.anatomical
    assert {workflow.get_node(name).inputs.contrast for name in ("register_template", "segment_regions")} == {"T2w"}
    assert not any("t1w" in name for name in outputs_with(("T2w", "T2starw")))


def test_t2star_alone_gives_the_anatomy_and_is_registered_to_nothing_but_the_template():
    workflow, nodes = nodes_of("T2starw")
    assert nodes.isdisjoint({"prepare_t1w", "prepare_t2w", "register_t1w", "register_t2w"})
    assert fed(workflow, "register_template")["anat"] == "prepare_t2star"
    assert "anat_to_t2star" not in outputs_with(("T2starw",))
    assert workflow.get_node("assemble").inputs.anatomical == "T2starw"
