"""The network: a ResNet-50 with two outputs, as in Dadar et al. 2022, and which of its first layers are frozen."""

import copy
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
"""Bottleneck blocks in each stage of a ResNet-50 (He et al. 2016)."""

_shim: list[torch.library.Library] = []
"""Keeps the declared operators alive; a library that is collected takes its operators with it."""


def build_network(num_classes: int = 2, *, seed: int | None = None) -> nn.Module:
    """Return a ResNet-50 with random weights.

    Parameters
    ----------
    num_classes
        Outputs of the last layer.
    seed
        Seed of the random weights; the global random state of torch is left as it was. None draws from that state.

    Returns
    -------
    A module that maps (N, 3, S, S) float32, values about 0-1, to (N, num_classes) logits.
    """
    models = _torchvision_models()
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        model = models.resnet50(weights=None, num_classes=num_classes)
    # Blocks without a projection start as the identity: without weights of natural images to start from, a deep network
    # trains faster so (Goyal et al. 2017, section 5.1).
    for _, block in _blocks(model):
        if block.downsample is None:
            nn.init.zeros_(block.bn3.weight)
    return model.to(memory_format=torch.channels_last)


def new_last_layer(model: nn.Module, num_classes: int = 2, *, seed: int = 0) -> None:
    """Replace the fully connected layer by one with random weights, as at the start of each training stage."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.fc = nn.Linear(model.fc.in_features, num_classes)


def to_network_input(patches: torch.Tensor, input_size: int) -> torch.Tensor:
    """Resize patches (N, 3, size, size) bilinearly to the side the network takes, channels last in memory."""
    if patches.shape[-1] != input_size:
        patches = functional.interpolate(patches, size=(input_size, input_size), mode="bilinear", align_corners=False)
    return patches.contiguous(memory_format=torch.channels_last)


def matlab_layers() -> list[str | None]:
    """Return the modules of a ResNet-50 in the order of MATLAB's ``resnet50`` layer list.

    The paper counts frozen layers in that list. Element n - 1 is the name of MATLAB's layer n here, or None where that
    layer has no weights (input, relu, pooling, addition).
    """
    layers: list[str | None] = [None, "conv1", "bn1", None, None]
    for stage, blocks in _BLOCKS.items():
        for b in range(blocks):
            block = f"{stage}.{b}"
            layers += [f"{block}.conv1", f"{block}.bn1", None, f"{block}.conv2", f"{block}.bn2", None]
            if b == 0:
                layers += [f"{block}.conv3", f"{block}.downsample.0", f"{block}.bn3", f"{block}.downsample.1"]
            else:
                layers += [f"{block}.conv3", f"{block}.bn3"]
            layers += [None, None]
    return [*layers, None, "fc", None, None]


def frozen_modules(n_layers: int) -> list[str]:
    """Return the names of the modules with weights among the first ``n_layers`` layers of MATLAB's list."""
    layers = matlab_layers()
    if not 0 <= n_layers <= len(layers):
        raise ValueError(f"can freeze 0 to {len(layers)} layers, not {n_layers}")
    return [name for name in layers[:n_layers] if name is not None]


def frozen_parameters(model: nn.Module, n_layers: int) -> list[nn.Parameter]:
    """Return the parameters of the first ``n_layers`` layers of MATLAB's list."""
    return [p for module in _present(model, n_layers) for p in module.parameters()]


def freeze(model: nn.Module, n_layers: int) -> None:
    """Stop the gradients of the first ``n_layers`` layers, and let those of all others flow."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for parameter in frozen_parameters(model, n_layers):
        parameter.requires_grad_(False)


def training_mode(model: nn.Module, n_layers: int, *, fixed_statistics: bool = False) -> None:
    """Switch to training; the batch norms among the frozen layers, or all, keep and use their running statistics."""
    model.train()
    if fixed_statistics:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    for module in _present(model, n_layers):
        module.eval()


def _present(model: nn.Module, n_layers: int) -> list[nn.Module]:
    """Return the frozen modules, without those of blocks that were left out."""
    modules = dict(model.named_modules())
    return [modules[name] for name in frozen_modules(n_layers) if name in modules]


def leave_out_identity_blocks(model: nn.Module) -> list[str]:
    """Take those blocks out of a network, in place, that pass on their input unchanged.

    The last batch norm of a new network's blocks has weight and bias zero (see :func:`build_network`), so that a block
    without a projection adds nothing until it is trained. Leaving such blocks out changes no result and saves their
    time, in training (blocks can be grown later) and in inference.

    Returns
    -------
    The names of the blocks left out; :func:`put_back_blocks` makes the network whole.
    """
    left_out = identity_blocks(model)
    for name in left_out:
        stage, index = name.split(".")
        model.get_submodule(stage)[int(index)] = nn.Identity()
    return left_out


def identity_blocks(model: nn.Module) -> list[str]:
    """Return the names of the blocks that pass on their input unchanged, see :func:`leave_out_identity_blocks`."""
    if not isinstance(getattr(model, "layer4", None), nn.Sequential):
        return []  # no ResNet
    return [
        name
        for name, block in _blocks(model)
        if block.downsample is None and not block.bn3.weight.any() and not block.bn3.bias.any()
    ]


def put_back_blocks(model: nn.Module, *, seed: int = 0) -> nn.Module:
    """Return a whole ResNet-50 with the weights of a network whose identity blocks were left out."""
    whole = build_network(model.fc.out_features, seed=seed)
    whole.load_state_dict(model.state_dict(), strict=False)
    return whole.train(model.training)


def fuse_batch_norms(model: nn.Module) -> nn.Module:
    """Return a copy for inference: batch norms folded into the convolutions before them, identity blocks left out.

    Faster, with the same result but for rounding.
    """
    fuse = torch.nn.utils.fusion.fuse_conv_bn_eval
    fused = copy.deepcopy(model).eval()
    leave_out_identity_blocks(fused)
    fused.conv1, fused.bn1 = fuse(fused.conv1, fused.bn1), nn.Identity()
    for stage in _BLOCKS:
        for block in fused.get_submodule(stage):
            if isinstance(block, nn.Identity):
                continue
            for n in (1, 2, 3):
                setattr(block, f"conv{n}", fuse(getattr(block, f"conv{n}"), getattr(block, f"bn{n}")))
                setattr(block, f"bn{n}", nn.Identity())
            if block.downsample is not None:
                block.downsample = fuse(block.downsample[0], block.downsample[1])
    return fused.to(memory_format=torch.channels_last)


def imagenet_weights() -> Any:
    """Return torchvision's description of the ResNet-50 trained on ImageNet by the plain recipe, as the paper's was."""
    return _torchvision_models().ResNet50_Weights.IMAGENET1K_V1


def _blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the bottleneck blocks that are there, with their names."""
    blocks = [
        (f"{stage}.{index}", model.get_submodule(f"{stage}.{index}"))
        for stage, n in _BLOCKS.items()
        for index in range(n)
    ]
    return [(name, block) for name, block in blocks if not isinstance(block, nn.Identity)]


def _torchvision_models() -> ModuleType:
    _declare_missing_operators()
    return importlib.import_module("torchvision.models")


def _declare_missing_operators() -> None:
    """Declare torchvision's compiled operators where its build does not fit that of torch.

    The wheel of torchvision is a CUDA build; beside a CPU-only torch its library cannot be loaded, and its import dies
    on the missing operator ``nms``. The network needs none of these operators.
    """
    if _shim:
        return
    spec = importlib.util.find_spec("torchvision")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    for library in sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _shim.append(library)
