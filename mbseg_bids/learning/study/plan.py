"""What a study of hyper-parameters consists of: factors, their values, and the single trainings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from mbseg_bids.learning.examples.augmentation import NONE, Augmentation
from mbseg_bids.learning.stages.stage import MICROBLEED_STAGE
from mbseg_bids.learning.training.batches import Precision, TrainingSettings

FACTORS: dict[str, tuple[float, ...]] = {
    "patch": (14, 28, 52, 56, 70),
    "freeze": (0, 5, 10, 15, 20),
    "batch": (20, 40, 60, 80, 100),
    "rate": (0.002, 0.004, 0.006, 0.008, 0.010),
    "rotations": (0, 4, 9, 14, 19, 24, 29),
}
"""Values of Dadar et al. 2022: patch size in mm, frozen layers, mini-batch, learning rate; random rotations."""

BASE: dict[str, float] = {"patch": 28, "freeze": 5, "batch": 40, "rate": 0.006, "rotations": 0}
"""What the others are while one is changed: the paper's best. It added rotations last, so the base has none."""

REPETITIONS, EPOCHS, INPUT_SIZE = 5, 10, 224
"""Of the paper."""


@dataclass(frozen=True)
class Run:
    """One training: a value of each factor, and which repetition."""

    patch: int
    freeze: int
    batch: int
    rate: float
    rotations: int
    repetition: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return "_".join(f"{key}-{value:g}" for key, value in asdict(self).items())


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes
    ----------
    values
        Values of each factor that is studied.
    repetitions, epochs, steps, input_size
        As in the paper, or less; ``steps`` overrides epochs.
    score_patches
        Largest number of patches of each kind in validation and in test; None for all.
    init
        Starting weights, as in :func:`mbseg_bids.learning.stages.initial.starting_network`; the last layer is new.
    seed
        Of the split and, with the repetition, of order, augmentation and the last layer.
    note
        Words about the data, for table and figures.
    """

    values: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: dict(FACTORS))
    repetitions: int = REPETITIONS
    epochs: int = EPOCHS
    steps: int | None = None
    input_size: int = INPUT_SIZE
    score_patches: int | None = None
    init: str = "random"
    seed: int = 0
    note: str = ""

    def runs(self) -> list[Run]:
        """Return the different runs; the one of all base values serves every factor."""
        found = [self.run(f, v, r) for r in range(self.repetitions) for f, vs in self.values.items() for v in vs]
        return list(dict.fromkeys(found))

    def run(self, factor: str, value: float, repetition: int) -> Run:
        """Return the run with one factor changed."""
        v = BASE | {factor: value}
        return Run(int(v["patch"]), int(v["freeze"]), int(v["batch"]), v["rate"], int(v["rotations"]), repetition)

    @property
    def scale(self) -> str:
        """``full``, or in what this study is smaller than the paper's; with the note about the data."""
        less = []
        if self.steps is not None:
            less.append(f"{self.steps} mini-batches a run")
        elif self.epochs != EPOCHS:
            less.append(f"{self.epochs} epochs")
        if self.input_size != INPUT_SIZE:
            less.append(f"input {self.input_size} px")
        if self.repetitions < REPETITIONS:
            less.append(f"{self.repetitions} repetitions")
        if self.score_patches is not None:
            less.append(f"scored on {self.score_patches} patches of a kind")
        if any(set(values) < set(FACTORS[factor]) for factor, values in self.values.items()):
            less.append("fewer values")
        return "; ".join(["reduced: " + ", ".join(less) if less else "full", *([self.note] if self.note else [])])

    def settings(self, run: Run, workers: int = 1, precision: Precision = "float32") -> TrainingSettings:
        """Return how a run is trained."""
        return replace(
            MICROBLEED_STAGE,
            epochs=self.epochs,
            steps=self.steps,
            batch_size=run.batch,
            learning_rate=run.rate,
            frozen_layers=run.freeze,
            augmentation=Augmentation(rotations=run.rotations) if run.rotations else NONE,
            patch_size=run.patch,
            input_size=self.input_size,
            seed=1000 * self.seed + run.repetition,
            workers=workers,
            precision=precision,
        )
