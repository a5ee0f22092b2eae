"""The networks of the candidate classifier: small ones that see a candidate's neighbourhood in three dimensions.

They differ in the seed they were trained with, and answer together (:class:`LesionEnsemble`). Their answer is one of
the features of :mod:`mbseg_bids.detection.candidates.classifier`, beside measures that have names. The weights lie
beside that model, which holds their SHA-256.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mbseg_bids.detection.candidates.neighbourhoods import N_CHANNELS, T2STAR_HEIGHTS_MM, extract_neighbourhoods
from mbseg_bids.errors import UnreadableDataError

SIDE = 24
"""Side of the square that the network sees, voxels of 1 mm."""
WIDTHS = (32, 64, 96)
"""Channels of its three levels, each at half the resolution of the one before."""
THICK_MM = 5.0
"""Slices as thick as this are 1 in the channel that says how thick they are."""

_N_T2STAR = len(T2STAR_HEIGHTS_MM)
_NEAR = slice(_N_T2STAR // 2 - 2, _N_T2STAR // 2 + 3)
_REMEDY = "install the package again, or switch the candidate classifier off with --no-false-positive-reduction"


class LesionNetwork(nn.Module):
    """Log odds of a microbleed from a neighbourhood."""

    def __init__(self) -> None:
        """Make the network, its weights drawn from torch's generator."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = N_CHANNELS + 3
        for width in WIDTHS:
            layers += [_convolution(channels, width), _convolution(width, width), nn.MaxPool2d(2)]
            channels = width
        self.features = nn.Sequential(*layers[:-1])
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(2 * channels, 1)

    def forward(self, squares: torch.Tensor, slice_spacing: torch.Tensor) -> torch.Tensor:
        """Return the log odds, shape (N,).

        Parameters
        ----------
        squares
            Shape (N, N_CHANNELS, SIDE, SIDE), 0-1, as :func:`extract_neighbourhoods` gives them.
        slice_spacing
            Shape (N,), mm.
        """
        t2star = squares[:, :_N_T2STAR]
        thickness = (slice_spacing / THICK_MM)[:, None, None, None].expand(-1, 1, *squares.shape[2:])
        # What a reader looks at to see a vessel: the minimum over slices, near and far.
        near, far = t2star[:, _NEAR].amin(1, keepdim=True), t2star.amin(1, keepdim=True)
        maps = self.features(torch.cat([squares, near, far, thickness], dim=1))
        middle = maps.shape[-1] // 2
        centre = maps[:, :, middle - 1 : middle + 1, middle - 1 : middle + 1].mean((2, 3))
        return self.output(self.dropout(torch.cat([centre, maps.mean((2, 3))], dim=1)))[:, 0]


class LesionEnsemble(nn.Module):
    """Networks that answer with the mean of their log odds; arguments as for :class:`LesionNetwork`."""

    def __init__(self, members: Sequence[LesionNetwork]) -> None:
        """Put networks together; ValueError if there are none."""
        if not members:
            raise ValueError("an ensemble needs a network")
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, squares: torch.Tensor, slice_spacing: torch.Tensor) -> torch.Tensor:
        """Return the log odds, shape (N,)."""
        return torch.stack([member(squares, slice_spacing) for member in self.members]).mean(0)


def lesion_log_odds(
    network: LesionNetwork | LesionEnsemble,
    stack: npt.NDArray[np.float32],
    voxels: npt.NDArray[np.integer],
    slice_spacing: float,
) -> npt.NDArray[np.float64]:
    """Return the log odds of a microbleed about each voxel, the mean of eight views: turned by 90 degrees, mirrored.

    The eight views of a voxel are a batch of their own, so its value depends on no other voxel.

    Parameters
    ----------
    network
        As trained; it is set to evaluation.
    stack
        Shape (3, I, J, K): T2*, T2w, T1w on the detection grid, 0-100; axis K runs through the slices.
    voxels
        Shape (N, 3), indices: the middles of candidates.
    slice_spacing
        Distance of slices, of :func:`mbseg_bids.detection.candidates.neighbourhoods.slices_apart`.

    Returns
    -------
    Shape (N,).
    """
    network.eval()
    thickness = torch.full((8,), float(slice_spacing))
    log_odds = np.empty(len(voxels))
    for n, voxel in enumerate(np.asarray(voxels).reshape(-1, 3)):
        # An odd square keeps its middle when it is turned; the last row and column are then left out.
        square = torch.from_numpy(extract_neighbourhoods(stack, voxel[None], slice_spacing, SIDE + 1))[0]
        turned = [square.rot90(turns, (1, 2)) for turns in range(4)]
        views = torch.stack([*turned, *(view.transpose(1, 2) for view in turned)])[:, :, :SIDE, :SIDE]
        with torch.inference_mode():
            log_odds[n] = float(network(views.contiguous(), thickness).double().mean())
    return log_odds


def save_lesion_networks(path: Path, members: Sequence[LesionNetwork]) -> str:
    """Write the weights at half precision; return the SHA-256 of the file."""
    from safetensors.torch import save

    state = {name: value.contiguous() for name, value in LesionEnsemble(members).state_dict().items()}
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    content = save(tensors)
    Path(path).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_lesion_networks(path: Path, sha256: str) -> LesionEnsemble:
    """Read what :func:`save_lesion_networks` has written.

    Raises
    ------
    UnreadableDataError
        If the file is missing, another than the one of this hash, or not of these networks.
    """
    from safetensors.torch import load

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableDataError(
            f"cannot read the weights of the candidate classifier {path}: {error}", _REMEDY
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UnreadableDataError(f"{path} is not the file that the candidate classifier was fitted with", _REMEDY)
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in load(content).items()}
    numbers = {name.split(".")[1] for name in tensors if name.startswith("members.")}
    try:
        network = LesionEnsemble([LesionNetwork() for _ in numbers])
        network.load_state_dict(tensors)
    except (ValueError, RuntimeError) as error:
        raise UnreadableDataError(f"{path} holds the weights of another network", _REMEDY) from error
    return network.eval()


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
