"""Training of a network of the candidate classifier."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from mbseg_bids.detection.candidates.neighbourhoods import HEIGHTS_MM
from mbseg_bids.detection.candidates.network import SIDE, LesionNetwork
from mbseg_bids.learning.candidates.neighbourhood_set import NeighbourhoodSet
from mbseg_bids.learning.examples.augmentation import Augmentation, draw_variation, vary_patches

CONTRASTS = tuple(contrast for contrast, heights in enumerate(HEIGHTS_MM) for _ in heights)
"""By channel of a neighbourhood: which contrast it shows."""

VARIED = Augmentation(
    rotations=9,
    mirror=True,
    exact=0.5,
    gain=0.2,
    noise=0.03,
    gamma=0.3,
    shift=1.0,
    blur=0.3,
    drop=(0.2, 0.15),
    decentre=1.3,
)


@dataclass(frozen=True)
class LesionNetworkSettings:
    """How it is trained.

    Attributes
    ----------
    epochs
        Examples shown, as multiples of the set.
    batch_size
        Examples of a step.
    lesion_share
        Of them, microbleeds.
    sure, sure_weight
        What the first network gave a probability above ``sure`` is shown so many times as often as the rest.
    learning_rate, weight_decay
        Largest rate of the one-cycle schedule; of AdamW.
    between_slices
        Share of examples moved across slices, by up to half a step of heights.
    seed
        Decides everything that is drawn.
    """

    epochs: float = 9.0
    batch_size: int = 48
    lesion_share: float = 1 / 3
    sure: float = 0.3
    sure_weight: float = 2.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    between_slices: float = 0.4
    seed: int = 0


def train_lesion_network(
    examples: NeighbourhoodSet,
    settings: LesionNetworkSettings,
    report: Callable[[int, float, LesionNetwork], None],
    *,
    initial: LesionNetwork | None = None,
    device: torch.device | None = None,
    report_every: int = 500,
) -> LesionNetwork:
    """Train a network.

    Parameters
    ----------
    examples
        Of scans that neither the candidate classifier is fitted to nor anything is measured on.
    settings
        How.
    report, report_every
        Called with step, running mean of the loss, and the network, after so many steps and at the end.
    initial
        Network to go on with, changed in place; None starts from random weights.
    device
        Where to compute; examples lie in its memory and are varied there.

    Returns
    -------
    The network on the CPU, set to evaluation.

    Raises
    ------
    ValueError
        If there are no microbleeds, or nothing else.
    """
    lesions, others = np.flatnonzero(examples.is_microbleed), np.flatnonzero(~examples.is_microbleed)
    if not len(lesions) or not len(others):
        raise ValueError("training needs microbleeds and what is none")
    weights = np.where(examples.first_probability[others] > settings.sure, settings.sure_weight, 1.0)
    weights /= weights.sum()
    device = device or torch.device("cpu")
    rng, noise = np.random.default_rng(settings.seed), torch.Generator(device).manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    network = (LesionNetwork() if initial is None else initial).to(device, memory_format=torch.channels_last)
    steps = max(1, round(settings.epochs * len(examples) / settings.batch_size))
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=steps + 1, pct_start=0.15
    )
    squares = torch.from_numpy(examples.squares).to(device)
    spacing = torch.from_numpy(examples.slice_spacing).to(device)
    truth = torch.from_numpy(examples.is_microbleed.astype(np.float32)).to(device)
    n_lesions, mean_loss = round(settings.batch_size * settings.lesion_share), float("nan")
    for step in range(1, steps + 1):
        rows = torch.from_numpy(
            np.concatenate(
                [rng.choice(lesions, n_lesions), rng.choice(others, settings.batch_size - n_lesions, p=weights)]
            )
        ).to(device)
        varied = vary(squares[rows], settings.between_slices, rng, noise)
        network.train()
        log_odds = network(varied, spacing[rows])
        loss = functional.binary_cross_entropy_with_logits(log_odds, truth[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        mean_loss = loss.item() if step == 1 else 0.98 * mean_loss + 0.02 * loss.item()
        if step % report_every == 0 or step == steps:
            report(step, mean_loss, network.eval())
    return network.cpu().eval()


def vary(
    squares: torch.Tensor, between_slices: float, rng: np.random.Generator, noise: torch.Generator
) -> torch.Tensor:
    """Return network squares (N, N_CHANNELS, SIDE, SIDE), 0-1, of stored ones (N, N_CHANNELS, WIDE, WIDE), varied.

    As patches are (:data:`VARIED`); half are turned upside down; a share is moved across slices. ``rng`` draws all but
    the noise, which the device of the squares draws.
    """
    n, device = len(squares), squares.device
    upside_down = torch.from_numpy(rng.random(n) < 0.5).to(device)
    moved = np.where(rng.random(n) < between_slices, rng.uniform(-0.5, 0.5, n), 0.0).astype(np.float32)
    squares = torch.where(upside_down[:, None, None, None], squares[:, _UPSIDE_DOWN], squares).float()
    parts, first = [], HEIGHTS_MM[0][1] - HEIGHTS_MM[0][0]
    for contrast, heights in enumerate(HEIGHTS_MM):
        channels = np.flatnonzero(np.equal(CONTRASTS, contrast))
        steps = torch.from_numpy(moved * np.float32(first / (heights[1] - heights[0]))).to(device)
        parts.append(_across(squares[:, channels], steps))

    def field(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=noise, device=device)

    return vary_patches(torch.cat(parts, 1), SIDE, draw_variation(n, VARIED, rng), field, CONTRASTS)


_UPSIDE_DOWN = np.concatenate(
    [np.flatnonzero(np.equal(CONTRASTS, contrast))[::-1] for contrast in range(len(HEIGHTS_MM))]
)


def _across(squares: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Move channels, in order of height, by so many steps of height each; the outermost is continued."""
    share = steps[:, None, None, None]
    above = torch.cat([squares[:, 1:], squares[:, -1:]], 1)
    below = torch.cat([squares[:, :1], squares[:, :-1]], 1)
    return squares + share.clamp_min(0) * (above - squares) + (-share).clamp_min(0) * (below - squares)
