"""What the anatomy of one session costs: seconds of each step (wall and CPU), largest memory, folding.

Every step runs in this process, one after the other, on one thread. CPU seconds are user and system time together, and
are what can be compared between machines that also do other things. The peak is that of the process so far, so that
the step in which it rises is the one that needs it.

    python benchmarks/anatomy.py T1W T2W T2STAR [--preset default] [--work FOLDER]
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import networkx
from nipype.pipeline.plugins.base import PluginBase

from mbseg_bids.settings import AnatomySettings
from mbseg_bids.workflows.anatomy import init_anatomy_wf

HEADER = f"{'step':<22}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}"


class MeasuringPlugin(PluginBase):
    """Run the nodes one after the other in this process and print what each took."""

    def run(self, graph, config, updatehash=False) -> None:
        """Run all nodes of a workflow graph in order; signature of nipype."""
        print(HEADER, flush=True)
        for node in networkx.topological_sort(graph):
            wall, cpu = time.monotonic(), _cpu_seconds()
            node.run(updatehash=updatehash)
            print(_row(node.name, time.monotonic() - wall, _cpu_seconds() - cpu), flush=True)


def main() -> None:
    """Run the workflow once and print the costs and the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for contrast in ("t1w", "t2w", "t2star"):
        parser.add_argument(contrast, type=Path)
    parser.add_argument("--preset", choices=("default", "coarse"), default="default")
    parser.add_argument("--work", type=Path, help="keep the work folder here; else it is deleted")
    args = parser.parse_args()
    if args.work:
        measure(args, args.work)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Run the workflow in ``folder``; what is there from an earlier run is done again."""
    workflow = init_anatomy_wf(name="anatomy", settings=AnatomySettings(registration=args.preset))
    workflow.base_dir = str(folder.resolve())
    workflow.config["execution"] = {"stop_on_first_rerun": "false", "crashdump_dir": str(folder.resolve())}
    for contrast in ("t1w", "t2w", "t2star"):
        setattr(workflow.inputs.inputnode, contrast, str(getattr(args, contrast).resolve()))
    for node in workflow._get_all_nodes():
        node.overwrite = True
    wall, cpu = time.monotonic(), _cpu_seconds()
    workflow.run(plugin=MeasuringPlugin())
    print(_row("all", time.monotonic() - wall, _cpu_seconds() - cpu))
    record = json.loads((folder / "anatomy" / "gather" / "anatomy.json").read_text())
    print(json.dumps({key: record[key] for key in ("registration", "region_ml", "warnings")}, indent=1))


def _cpu_seconds() -> float:
    """Return user and system seconds of this process and of the children that have ended."""
    return sum(_usage(lambda u: u.ru_utime + u.ru_stime))


def _row(name: str, wall: float, cpu: float) -> str:
    return f"{name:<22}{wall:>9.1f}{cpu:>9.1f}{max(_usage(lambda u: u.ru_maxrss)) / 1024:>9.0f}"


def _usage(measure: Callable[[resource.struct_rusage], float]) -> list[float]:
    return [measure(resource.getrusage(who)) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


if __name__ == "__main__":
    main()
