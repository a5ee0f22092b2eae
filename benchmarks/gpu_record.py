"""What a GPU benchmark measures with, and the files it leaves: written after every section, since time may run out."""

import json
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from mbseg_bids.detection.network import classify, runtime_cuda
from mbseg_bids.detection.network.resnet import build_network

Row = dict[str, Any]

SWITCHES = {"eager": (False, False), "fused": (True, False), "graph": (False, True), "fused, graph": (True, True)}
"""FUSED_CONVOLUTIONS and GRAPHS of :mod:`mbseg_bids.detection.network.runtime_cuda`."""


@contextmanager
def switched(name: str) -> Iterator[None]:
    """Compute with these switches, whatever the defaults are."""
    before = runtime_cuda.FUSED_CONVOLUTIONS, runtime_cuda.GRAPHS
    runtime_cuda.FUSED_CONVOLUTIONS, runtime_cuda.GRAPHS = SWITCHES[name]
    classify._make.cache_clear()  # networks made with other switches
    try:
        yield
    finally:
        runtime_cuda.FUSED_CONVOLUTIONS, runtime_cuda.GRAPHS = before
        classify._make.cache_clear()


def whole_network(seed: int = 1) -> nn.Module:
    """Return a random ResNet-50 none of whose 16 blocks is the identity, so that none is left out."""
    model = build_network(seed=seed).eval()
    for name, module in model.named_modules():
        if name.endswith("bn3"):
            nn.init.constant_(module.weight, 0.2)
    return model


def wait(device: torch.device) -> None:
    """Wait until a device has computed what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed_on(device: torch.device, work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what ``work`` returns, and the seconds until the device is done with it."""
    wait(device)
    started = time.perf_counter()
    result = work()
    wait(device)
    return result, time.perf_counter() - started


def seconds_each(device: torch.device, work: Callable[[], Any], budget: float) -> float:
    """Return the seconds that ``work`` takes, over as many calls as fit into ``budget`` seconds, three at least."""
    for _ in range(2):
        work()
    _, once = timed_on(device, work)
    n = max(3, round(budget / max(once, 1e-6)))

    def often() -> None:
        for _ in range(n):
            work()

    _, seconds = timed_on(device, often)
    return seconds / n


class Record:
    """Tables of measurements, one a section, in ``gpu.json`` and ``gpu.md`` of a folder."""

    def __init__(self, folder: Path, machine: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._started = folder, time.perf_counter()
        self._content: dict[str, Any] = {"machine": machine, "sections": {}}

    def section(self, name: str, limit: float, work: Callable[[Callable[[Row], None]], None]) -> None:
        """Run a section for ``limit`` seconds at most; whatever happens, keep the rows it gave and go on."""
        rows: list[Row] = []
        entry: dict[str, Any] = {"rows": rows}
        self._content["sections"][name] = entry
        print(f"== {name}, {limit:g} s at most", flush=True)

        def add(row: Row) -> None:
            rows.append(row)
            print("  ".join(f"{key}={_plain(value)}" for key, value in row.items()), flush=True)
            self.write()

        started = time.perf_counter()
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            work(add)
        except TimeoutError as error:
            entry["error"] = str(error)
            print(f"-- {error}", flush=True)
        except Exception as error:  # the next section may still do
            entry["error"] = f"{type(error).__name__}: {error}"[:500]
            traceback.print_exc()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        entry["seconds"] = round(time.perf_counter() - started, 1)
        self.write()

    def rows(self, name: str) -> list[Row]:
        """Return what a section measured so far."""
        return self._content["sections"].get(name, {}).get("rows", [])

    def bars(self, rows: list[tuple[str, float | None, float, bool]]) -> None:
        """Keep what must be reached: name, measured or None, bar, whether the bar is a lower limit."""
        self._content["bars"] = [
            {
                "what": what,
                "measured": value,
                "bar": f"{'>=' if least else '<'} {bar:g}",
                "met": None if value is None else (value >= bar if least else value < bar),
            }
            for what, value, bar, least in rows
        ]
        self.write()

    def write(self) -> None:
        """Write both files."""
        self._content["seconds"] = round(time.perf_counter() - self._started, 1)
        (self._folder / "gpu.json").write_text(json.dumps(self._content, indent=1, default=float) + "\n")
        lines = [f"Measured on: {self._content['machine']}; {self._content['seconds']} s in all.", ""]
        tables = {"bars": {"rows": self._content.get("bars", [])}} | self._content["sections"]
        for name, entry in tables.items():
            lines += [f"## {name}", "", *_table(entry["rows"]), ""]
            lines += [f"Ended early: {entry['error']}", ""] if "error" in entry else []
        (self._folder / "gpu.md").write_text("\n".join(lines))


def _out_of_time(*_: Any) -> None:
    raise TimeoutError("the time of the section is over")


def _table(rows: list[Row]) -> list[str]:
    if not rows:
        return ["Nothing measured."]
    columns = list(pd.DataFrame(rows).columns)
    cells = [[_plain(row.get(column, "")) for column in columns] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *cells)]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
