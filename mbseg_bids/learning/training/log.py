"""What a training shows: ``log.csv`` always; a progress bar and TensorBoard where wanted."""

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from mbseg_bids.errors import CannotWriteError, UsageError


class Scores(Protocol):
    """What a look at validation finds; as a text, it is one line for people."""

    def as_row(self) -> dict[str, float]:
        """Return the scores as flat columns."""


@dataclass(frozen=True)
class Display:
    """What to show beside the log.

    Attributes
    ----------
    bar
        A progress bar on the error stream.
    tensorboard
        Curves for TensorBoard in the folder of the training; needs the package ``tensorboard``.
    """

    bar: bool = False
    tensorboard: bool = False


QUIET = Display()


class TrainingLog:
    """``log.csv``: one row for each look at validation.

    Parameters
    ----------
    folder
        Where it is written.
    steps
        Of the whole training.
    done
        Steps done before; later rows of an earlier attempt are dropped.
    display
        What else to show.

    Raises
    ------
    UsageError
        If TensorBoard is wanted and not installed.
    """

    _columns = ("step", "learning_rate", "training_loss", "steps_per_second")

    def __init__(
        self, folder: Path, steps: int, done: int = 0, losses: Sequence[float] = (), display: Display = QUIET
    ) -> None:
        self.losses: list[float] = list(losses)
        self._path, self._steps = folder / "log.csv", steps
        self._start, self._timed = time.monotonic(), 0
        self._rows = _rows_until(self._path, done)
        self._curves = _summary_writer(folder) if display.tensorboard else None
        self._bar = tqdm(total=steps, initial=done, unit="step", disable=not display.bar, dynamic_ncols=True)

    def step(self, loss: float) -> None:
        """Note the loss of one step."""
        self.losses.append(loss)
        self._timed += 1
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    def look(self, step: int, rate: float, scores: Scores) -> str:
        """Write a row about the steps since the last look; return it as one line for people."""
        loss, seconds = float(np.mean(self.losses)), time.monotonic() - self._start
        speed = self._timed / max(seconds, 1e-9)
        row: dict[str, Any] = dict(
            zip(self._columns, (step, f"{rate:.6f}", f"{loss:.5f}", f"{speed:.2f}"), strict=True)
        )
        validation = {f"validation_{name}": value for name, value in scores.as_row().items()}
        self._rows.append(row | {name: f"{value:.5f}" for name, value in validation.items()})
        self._write()
        if self._curves is not None:
            for name, value in ({"training_loss": loss, "learning_rate": rate} | validation).items():
                self._curves.add_scalar(name, value, step)
            self._curves.flush()
        self.losses, self._start, self._timed = [], time.monotonic(), 0
        return f"step {step}/{self._steps} loss {loss:.4f} {speed:.2f} steps/s; validation {scores}"

    def close(self) -> None:
        """End the bar and the curves."""
        self._bar.close()
        if self._curves is not None:
            self._curves.close()

    def _write(self) -> None:
        try:
            with open(self._path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(self._rows[-1]), extrasaction="ignore", restval="")
                writer.writeheader()
                writer.writerows(self._rows)
        except OSError as error:
            raise CannotWriteError(
                f"cannot write {self._path}: {error}", "free space, or give another --out"
            ) from error


def check_display(display: Display) -> None:
    """Raise a UsageError now if TensorBoard is wanted and not installed."""
    if display.tensorboard:
        _tensorboard()


def _rows_until(path: Path, step: int) -> list[dict]:
    if not step or not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) <= step]


def _summary_writer(folder: Path) -> Any:
    return _tensorboard().SummaryWriter(str(folder / "tensorboard"))


def _tensorboard() -> Any:
    try:
        from torch.utils import tensorboard
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs the package tensorboard, which is not installed",
            "pip install tensorboard, or read log.csv",
        ) from error
    return tensorboard
