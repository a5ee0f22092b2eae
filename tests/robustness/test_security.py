"""Nothing of the input is executed or unpacked, nothing leaves the machine, nothing that tells who it is stays."""

import ast
import contextlib
import gzip
import hashlib
import json
import re
import socket
import struct
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cases_dataset import SECRETS
from place import LAST_LINE, Place, clean, run_app

import mbseg_bids

PACKAGE = Path(mbseg_bids.__file__).parent
ROOT = PACKAGE.parent
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "tarfile", "zipfile"}
FORBIDDEN_MODULES |= {"requests", "urllib.request", "http.client", "ftplib", "smtplib", "telnetlib", "xmlrpc"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_METHODS = {
    "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "shutil.unpack_archive",
    "pd.read_pickle", "pandas.read_pickle",
}  # fmt: skip
ALLOWED = {
    ("learning/stages/initial.py", "pickle"),
    ("learning/examples/labelled_scan.py", "zipfile"),
    ("learning/candidates/neighbourhood_set.py", "zipfile"),
    ("learning/examples/patch_set.py", "zipfile"),
}
"""They name the errors that torch's restricted reader (weights_only) and numpy's raise; none of them is of the app."""


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def dotted(node) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_executes_unpickles_unpacks_or_fetches(path):
    where = path.relative_to(PACKAGE).as_posix()
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN_MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call):
            name, options = dotted(node.func), {k.arg: k.value for k in node.keywords}
            value = {key: getattr(option, "value", None) for key, option in options.items()}
            found += [name] if name in FORBIDDEN_CALLS | FORBIDDEN_METHODS else []
            found += ["np.load"] if name in ("np.load", "numpy.load") and value.get("allow_pickle") is not False else []
            found += ["torch.load"] if name == "torch.load" and value.get("weights_only") is not True else []
            found += ["shell"] if value.get("shell") else []
            found += ["autoescape"] if name.endswith("Environment") and value.get("autoescape") is not True else []
    assert [name for name in found if (where, name) not in ALLOWED] == []


def test_shipped_weights_are_safetensors_with_the_hash_on_record():
    binaries = {p.suffix for p in (PACKAGE / "data").rglob("*") if p.is_file()} & {
        ".pt",
        ".pth",
        ".pkl",
        ".bin",
        ".npy",
    }
    assert binaries == set()
    manifest = json.loads((PACKAGE / "data/weights/manifest.json").read_text())["weights"].values()
    on_record = {entry["file"]: entry["sha256"] for entry in manifest}
    brain = json.loads((PACKAGE / "data/brain/provenance.json").read_text())["SHA256"]
    on_record |= {f"{name}.safetensors": digest for name, digest in brain.items()}
    second_look = json.loads((PACKAGE / "data/second_look/second-look.json").read_text())
    on_record["lesion-network.safetensors"] = second_look["network_sha256"]
    shipped = list((PACKAGE / "data").rglob("*.safetensors"))
    assert {path.name for path in shipped} == set(on_record)
    for path in shipped:
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == on_record[path.name], path
        (length,) = struct.unpack("<Q", content[:8])
        assert isinstance(json.loads(content[8 : 8 + length]), dict)  # the header of the format, and nothing executable


def test_a_changed_brain_network_is_not_used(tmp_path, monkeypatch):
    from mbseg_bids.errors import UnreadableDataError
    from mbseg_bids.imaging import brain_network

    content = bytearray((PACKAGE / "data/brain/locate.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "locate.safetensors").write_bytes(content)
    (tmp_path / "provenance.json").write_bytes((PACKAGE / "data/brain/provenance.json").read_bytes())
    with pytest.raises(UnreadableDataError, match="damaged"):
        brain_network.verified_file(tmp_path, "locate")


def test_every_dependency_is_pinned_to_one_version():
    lines = [line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 50
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", pin)] == []
    pinned = {re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins}
    text = (ROOT / "pyproject.toml").read_text()
    needed = re.findall(r'"([A-Za-z0-9-]+)>=', text.partition("[project.optional-dependencies]")[0])
    assert {name.lower() for name in needed} - pinned - {"setuptools"} == set()


@pytest.fixture
def no_network(monkeypatch):
    """Let any attempt to reach another machine fail the test."""
    tried = []

    def refuse(*arguments, **_):
        tried.append(arguments)
        raise OSError("the network is not to be used")

    original = socket.socket.connect
    monkeypatch.setattr(
        socket.socket, "connect", lambda s, a: original(s, a) if s.family == socket.AF_UNIX else refuse(a)
    )
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return tried


@pytest.mark.timeout(120)
def test_a_run_uses_no_network_and_keeps_nothing_that_identifies_a_person_or_the_machine(no_network):
    root = Path(tempfile.mkdtemp(prefix="odd-"))
    try:
        place = Place(root)
        for contrast in ("T1w", "T2starw"):
            place.sidecar(SECRETS | {"EchoTime": 0.02}, place.path(contrast))
            image = nib.Nifti1Image(place.noise(), np.diag([1.0, 1.0, 2.0, 1.0]))
            image.header["descrip"], image.header["db_name"] = SECRETS["PatientName"], SECRETS["PatientID"]
            image.header["aux_file"], image.header["intent_name"] = "Joe_Doe", SECRETS["DeviceSerialNumber"]
            image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SECRETS["PatientName"].encode() * 9))
            nib.save(image, place.path(contrast))
        ran = run_app(place)
        assert ran.code == 0, ran.printed
        assert LAST_LINE.fullmatch(ran.last_line)
        group = run_app(place, level="group")
        assert group.code == 0, group.printed
        assert no_network == []
        unwanted = [value for value in SECRETS.values() if len(value) > 1] + [
            "Joe_Doe",
            str(root),
            socket.gethostname(),
        ]
        for path in (p for p in place.out.rglob("*") if p.is_file()):
            content = path.read_bytes()
            content = gzip.decompress(content) if path.name.endswith(".gz") else content
            found = [text for text in unwanted if len(text) > 3 and text.encode() in content]
            assert found == [], path
    finally:
        with contextlib.suppress(OSError):
            clean(root)


def test_the_log_of_a_failure_names_no_folder_of_the_machine(tmp_path):
    from cases_machine import bug_in_a_step

    place = Place(tmp_path)
    ran = bug_in_a_step(place)()
    assert ran.code == 1
    (log,) = (place.out / "logs").glob("run-*.log")
    text = log.read_text()
    assert "ZeroDivisionError" in text
    assert re.findall(r"(?<![\w<>./])/(?:[\w.-]+/)+[\w.-]+", text) == []
