"""Settings of a run: frozen dataclasses passed down; never global.

Every value has one default here, can be set in a TOML file (one table for each class below) or on the command line,
and is written back to ``logs/`` beside the results.
"""

import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from mbseg_bids.errors import UsageError

Device = Literal["auto", "cpu", "cuda"]
Runtime = Literal["auto", "pytorch", "openvino"]
Precision = Literal["auto", "float32"]
RegistrationPreset = Literal["default", "coarse"]


@dataclass(frozen=True)
class InputSettings:
    """Which images are taken."""

    t2star_suffix: tuple[str, ...] = ()
    """Suffixes (or ``acq-swi_T2starw``-like endings) of the T2*-weighted image, best first; empty: every known name."""
    t2star_echo: str = "mean"
    """Of a multi-echo magnitude: ``mean`` of the echoes from 10 to 45 ms, or the number of one echo."""
    required: tuple[str, ...] = ()
    """Contrasts (``T1w``, ``T2w``) without which a session does not run; ``T2starw`` is always needed."""
    exclude_scans: tuple[str, ...] = ()
    """``COLUMN=VALUE`` of ``scans.tsv`` that mark a scan as not to be used."""
    use_phase: bool = True
    """Use the phase beside the T2*-weighted image, where there is one, to tell calcium from blood."""


@dataclass(frozen=True)
class OutputSettings:
    """In which spaces the results are written, beside the native T2* grid."""

    spaces: tuple[str, ...] = ("T1w", "template")
    """``T1w`` and ``template`` (the one that the anatomy is registered to)."""


@dataclass(frozen=True)
class AnatomySettings:
    """How the anatomy is found."""

    registration: RegistrationPreset = "default"
    """``default``: deformable registration to 1 mm; ``coarse``: to 2 mm, for demos and tests."""
    n4_iterations: int = 50
    """Largest number of N4 iterations at each of the levels."""
    random_seed: int = 0


@dataclass(frozen=True)
class DetectionSettings:
    """How voxels become lesions."""

    patch_size: int = 28
    """Side of a patch, voxels of the detection grid: mm, but for scans coarser than 1.6 mm in plane."""
    probability_threshold: float = 0.3
    """Smallest probability, by the first network, of a lesion voxel. What is doubtful there the candidate classifier
    judges better."""
    ratio_threshold: float = 1.2
    """Smallest mean-of-ring / voxel intensity quotient that keeps a border voxel."""
    ratio_threshold_deep_gm: float = 1.4
    reader_criteria: bool = True
    """Reject what the ratio rule leaves where it fails a reader's criteria: not in parenchyma, bright core, a vessel
    that goes on, longer than the maximum diameter. Without these and the candidate classifier it is the method of the
    paper."""
    second_look: bool = True
    """Judge what the ratio rule and the criteria leave by shape and surroundings."""
    second_look_threshold: float = 0.4
    """Smallest probability, after the candidate classifier, of a lesion: below, it is a mimic."""
    definite_threshold: float = 0.8
    """Smallest probability, after the candidate classifier, of a definite lesion: below, it is a possible one."""
    search_quotient: float = 1.1
    """Smallest local-median / voxel quotient of a candidate voxel."""
    seed_quotient: float = 1.2
    """The same for the local minima that are classified first."""
    follow_threshold: float = 0.2
    """Smallest probability from which the search grows. A lesion's darkest voxel may get less than its neighbours."""
    exhaustive: bool = False
    """Classify every brain voxel instead of the search mask."""
    minimum_diameter: float = 0.0
    """Lesions of smaller equal-sphere diameter (mm) are not counted; 0 keeps all, as in the paper."""
    maximum_diameter: float = 10.0
    """Lesions of larger equal-sphere diameter (mm) are listed apart as macrohaemorrhages; with the reader's criteria,
    of larger longest diameter, too."""
    weights: str = "default"
    """Name of shipped weights, or the path of a safetensors file."""

    @property
    def followed(self) -> float:
        """Smallest probability from which the search grows: never one above that of a lesion."""
        return min(self.follow_threshold, self.probability_threshold)


@dataclass(frozen=True)
class ExecutionSettings:
    """What the run may use."""

    n_procs: int = 1
    omp_nthreads: int = 1
    mem_gb: float | None = None
    device: Device = "auto"
    runtime: Runtime = "auto"
    """Library that computes the network: OpenVINO on the CPUs it suits, where it is installed; else PyTorch."""
    precision: Precision = "auto"
    """``auto``: lower where it is faster, and float32 for every probability that decides something."""
    batch_size: int | None = None
    """Patches classified at once; none: what suits the device and its memory."""
    stop_on_first_crash: bool = False
    resource_monitor: bool = False
    write_graph: bool = False
    clean_workdir: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything that decides the result of a run, and what it may use."""

    inputs: InputSettings = field(default_factory=InputSettings)
    anatomy: AnatomySettings = field(default_factory=AnatomySettings)
    detection: DetectionSettings = field(default_factory=DetectionSettings)
    outputs: OutputSettings = field(default_factory=OutputSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)

    def override(self, **tables: dict[str, Any]) -> "Settings":
        """Return these settings with single values replaced, table by table.

        Raises
        ------
        UsageError
            On an unknown table or key, or a value of the wrong kind; the message names the valid ones.
        """
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {}
        for table, values in tables.items():
            if table not in known:
                raise UsageError(f"unknown settings table [{table}]", f"one of: {', '.join(known)}")
            changed[table] = _replace_checked(known[table], table, values)
        return replace(self, **changed)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the settings as nested plain values."""
        return asdict(self)

    def to_toml(self) -> str:
        """Return the settings as TOML text that :func:`from_toml` reads back."""
        lines: list[str] = []
        for table, values in self.as_dict().items():
            lines.append(f"[{table}]")
            lines += [f"{key} = {_toml_value(value)}" for key, value in values.items() if value is not None]
            lines.append("")
        return "\n".join(lines)


def from_toml(path: Path, base: Settings | None = None) -> Settings:
    """Read settings from a TOML file; what the file leaves out keeps the value of ``base``."""
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read settings file {path}: {error}", "give a TOML file") from error
    return (base or Settings()).override(**tables)


def _replace_checked(settings: Any, table: str, values: Any) -> Any:
    if not isinstance(values, dict):
        raise UsageError(f"settings [{table}] is not a table", "write [table] and key = value lines")
    defaults = {f.name: getattr(type(settings)(), f.name) for f in fields(settings)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in defaults:
            raise UsageError(f"unknown setting {table}.{key}", f"one of: {', '.join(defaults)}")
        kind = type(defaults[key])
        if kind is tuple:
            if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
                raise UsageError(f"setting {table}.{key} cannot be {value!r}", "give a list of texts")
            checked[key] = tuple(value)
            continue
        accepted = (int, float, type(None)) if kind in (float, type(None)) else (kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(f"setting {table}.{key} cannot be {value!r}", f"give a {kind.__name__}")
        checked[key] = value
    return replace(settings, **checked)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
