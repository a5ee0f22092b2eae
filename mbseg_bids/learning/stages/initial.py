"""Weights that a stage starts from: random, of natural images, shipped with the package, or a file."""

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mbseg_bids.detection.network.resnet import build_network, imagenet_weights
from mbseg_bids.detection.network.weights import WeightsMetadata, load_weights
from mbseg_bids.errors import UnreadableDataError, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
"""By which torchvision's networks expect their channels to be normalised."""

WORDS = ("random", "imagenet", "shipped")


@dataclass(frozen=True, eq=False)
class Start:
    """A network to train on from.

    Attributes
    ----------
    model
        With two outputs.
    source
        Where its weights come from, in a few words, for the metadata of what is trained.
    metadata
        Of the weights; None for random and ImageNet.
    """

    model: nn.Module
    source: str
    metadata: WeightsMetadata | None = None

    def keeps_last_layer(self, stage: str) -> bool:
        """Return whether the last layer fits the stage: fine-tuning, instead of the paper's transfer."""
        return self.metadata is not None and self.metadata.task == stage


def starting_network(source: str, seed: int = 0) -> Start:
    """Return the network that ``--init`` names.

    Parameters
    ----------
    source
        ``random``; ``imagenet``, from torchvision's cache alone: nothing is downloaded; ``shipped``, the default
        microbleed weights of the package; a name of shipped weights; or a file: ``.safetensors`` that this program
        wrote, or ``.pth`` with torchvision's ResNet-50.
    seed
        Of random weights.

    Raises
    ------
    UsageError
        If there is no such source.
    UnreadableDataError
        If the file is missing, damaged, or of another network.
    """
    if source == "random":
        return Start(build_network(seed=seed), "random")
    if source == "imagenet":
        return _imagenet_from_cache(seed)
    if Path(source).suffix in (".pth", ".pt"):
        return Start(_from_torchvision(Path(source), seed), f"ImageNet, {Path(source).name}")
    model, metadata = load_weights("default" if source == "shipped" else source)
    return Start(model, f"{metadata.name}, SHA-256 {metadata.sha256}", metadata)


def fold_normalisation(model: nn.Module) -> None:
    """Change the first layer, in place, so that a network of normalised images takes values 0-1 as they are.

    A convolution of (x - mean) / sd is that of x with its kernels divided by sd, minus a constant; the constant goes
    into the mean of the batch norm after it. Exact but at the border, where the convolution pads with zeros.
    """
    mean, sd = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_SD))
    with torch.no_grad():
        model.conv1.weight.div_(sd)
        model.bn1.running_mean.add_((model.conv1.weight * mean).sum(dim=(1, 2, 3)))


def _imagenet_from_cache(seed: int) -> Start:
    weights = imagenet_weights()
    name = weights.url.rsplit("/", 1)[-1]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise UsageError(
            f"no ImageNet weights in the cache of torch: {path} is missing, and nothing is downloaded here",
            f"fetch {weights.url} and put it there, or give the file to --init",
        )
    expected = path.stem.rsplit("-", 1)[-1]  # torchvision puts the first digits of the SHA-256 into the name
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(expected):
        raise UnreadableDataError(f"{path} is damaged: SHA-256 {found[:8]}..., not {expected}...", "fetch it again")
    return Start(_from_torchvision(path, seed), f"ImageNet, torchvision {weights}")


def _from_torchvision(path: Path, seed: int) -> nn.Module:
    """Return torchvision's network with a new last layer of two outputs, for values 0-1."""
    if not path.is_file():
        raise UnreadableDataError(f"no file {path}", "give the path of a file to --init")
    model = build_network(seed=seed)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        own = model.state_dict()
        model.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")} | {
            k: v for k, v in own.items() if k.startswith("fc.")
        })  # fmt: skip
    except (RuntimeError, AttributeError, TypeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        raise UnreadableDataError(
            f"{path} does not hold the weights of torchvision's ResNet-50: {str(error)[:200]}",
            "give the file that torchvision names, or one that mbseg train wrote",
        ) from error
    fold_normalisation(model)
    return model
