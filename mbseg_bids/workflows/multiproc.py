"""nipype's MultiProc plugin, made to survive a worker that dies.

A worker killed from outside (by the kernel, when memory runs out), or a result that cannot be sent back, makes the
original wait for ever: the future's exception is raised in a callback, where nobody sees it.
"""

import functools
import logging
import os
import threading
import traceback
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from mbseg_bids.workflows.account import MessageFile, set_step


def _initialise_worker(folder: str, messages: str) -> None:
    """Set up a worker as nipype does, keep its account of every node off the terminal, and that of steps in a file."""
    process_initializer(folder)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in ("nipype.workflow", "nipype.utils", "nibabel.global"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if messages:
        steps = logging.getLogger("nipype.interface")
        steps.handlers, steps.propagate = [MessageFile(messages)], False
        steps.setLevel(logging.INFO)


def _run_step(node: Any, updatehash: bool, task: int) -> dict[str, Any]:
    """Run a node as nipype does, its name known to what it logs."""
    set_step(str(node.fullname or node.name))
    return run_node(node, updatehash, task)


def _end_with_parent() -> None:
    """End this worker when the process that runs the workflow is gone; it would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class ResilientMultiProc(MultiProcPlugin):
    """MultiProc in which a lost worker is a failure of its own step only.

    All steps that the broken pool held are started once more, each in a process of its own: the innocent ones end well,
    and the one that kills its process is found out.
    """

    pool: ProcessPoolExecutor

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown()  # nothing runs in it yet
        self.pool = self._new_pool(self.processors)
        self._repeated: set[int] = set()
        self._stopped = False

    def stop(self) -> None:
        """End all workers at once; without this, a run that was stopped would wait for the steps they are at."""
        self._stopped = True
        workers = list((self.pool._processes or {}).values())
        self.pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        try:
            future = self.pool.submit(_run_step, node, updatehash, self._taskid)
        except BrokenProcessPool:
            self.pool = self._new_pool(self.processors)
            future = self.pool.submit(_run_step, node, updatehash, self._taskid)
        self._watch(future, self._taskid, node, updatehash)
        return self._taskid

    def _new_pool(self, n_workers: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=n_workers,
            initializer=_initialise_worker,
            initargs=(self._cwd, str(self.plugin_args.get("messages_dir") or "")),
            mp_context=get_context(self.plugin_args.get("mp_context")),
        )

    def _watch(self, future: Future, task: int, node: Any, updatehash: bool) -> None:
        self._task_obj[task] = future
        future.add_done_callback(functools.partial(self._keep_result, task, node, updatehash))

    def _keep_result(self, task: int, node: Any, updatehash: bool, future: Future) -> None:
        if self._stopped:
            return
        error = future.exception()
        if error is None:
            self._taskresult[task] = future.result()
        elif isinstance(error, BrokenProcessPool) and task not in self._repeated:
            self._repeated.add(task)
            pool = self._new_pool(1)
            self._watch(pool.submit(_run_step, node, updatehash, task), task, node, updatehash)
            pool.shutdown(wait=False)
        else:
            text = traceback.format_exception(error)
            self._taskresult[task] = {"result": None, "traceback": text, "taskid": task}
