"""Patches gathered by index arithmetic on the device: a GPU gets the volume once, then places only."""

import numpy as np
import numpy.typing as npt
import torch

from mbseg_bids.detection.network.patches import STANDARD_MAXIMUM


class DevicePatches:
    """A scan on a device, and the patches about its voxels.

    The volume is kept with a margin of zeros as wide as half a patch, so that no index leaves it, and with the three
    contrasts of a voxel side by side, so that patches come out channels last in memory, as convolutions like them.

    Parameters
    ----------
    stack
        Shape (3, I, J, K): T2*, T2w, T1w on the detection grid, 0-100; axis K runs through the slices.
    size
        Side of a patch in voxels. The voxel itself is at index ``size // 2`` on both axes.
    device
        Where the volume goes.
    """

    def __init__(self, stack: npt.NDArray[np.float32], size: int, device: torch.device) -> None:
        if stack.ndim != 4 or stack.shape[0] != 3:
            raise ValueError(f"a stack has shape (3, I, J, K), this one has {stack.shape}")
        self._shape = stack.shape[1:]
        before, after = size // 2, size - size // 2
        scaled = np.asarray(stack, np.float32) * np.float32(1 / STANDARD_MAXIMUM)
        padded = np.pad(scaled.transpose(3, 1, 2, 0), [(0, 0), (before, after), (before, after), (0, 0)])
        self._size, self._plane = size, padded.shape[1:3]
        self._rows = torch.from_numpy(np.ascontiguousarray(padded)).to(device).reshape(-1, 3)
        offsets = torch.arange(size, device=device)
        self._offsets = (offsets[:, None] * self._plane[1] + offsets).reshape(1, -1)

    def locate(self, voxels: npt.NDArray[np.integer]) -> torch.Tensor:
        """Return the places of voxels (N, 3) in memory, shape (N,), on the device.

        Raises
        ------
        ValueError
            If a voxel lies outside the grid.
        """
        voxels = np.asarray(voxels, np.int64).reshape(-1, 3)
        if len(voxels) and (voxels.min() < 0 or (voxels >= self._shape).any()):
            raise ValueError(f"voxels outside the grid of {self._shape}")
        i, j, k = voxels.T
        # Of the first corner of the patch: the margin shifts it to the index of the voxel itself.
        return torch.from_numpy((k * self._plane[0] + i) * self._plane[1] + j).to(self._rows.device)

    def gather(self, places: torch.Tensor) -> torch.Tensor:
        """Return the patches at :meth:`locate`'s places: (N, 3, size, size) float32, 0-1, zero outside the grid.

        As :func:`mbseg_bids.detection.network.patches.extract_patches`, to the bit; channels last in memory.
        """
        index = (places[:, None] + self._offsets).reshape(-1)
        rows = self._rows.index_select(0, index)
        return rows.reshape(len(places), self._size, self._size, 3).permute(0, 3, 1, 2)
