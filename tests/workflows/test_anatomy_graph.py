"""The anatomy workflow is connected as promised; it is not run here."""

from mbseg_bids.settings import AnatomySettings
from mbseg_bids.workflows.anatomy import INPUTS, OUTPUTS, init_anatomy_wf


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
