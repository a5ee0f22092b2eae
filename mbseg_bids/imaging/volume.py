"""A scalar image in memory: an array and the place of its voxels in the world."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Volume:
    """An array with its affine.

    Attributes
    ----------
    data
        Shape (i, j, k), in the axis order of the file it came from.
    affine
        Shape (4, 4), float64: voxel indices (i, j, k, 1) to RAS+ millimetres.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import Volume
    >>> scan = Volume(np.zeros((4, 5, 6)), np.diag([0.5, 0.5, 2.0, 1.0]))
    >>> scan.spacing
    (0.5, 0.5, 2.0)
    """

    data: npt.NDArray
    affine: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.data.ndim != 3:
            raise ValueError(f"a volume has three axes, this array has {self.data.ndim}")
        if self.affine.shape != (4, 4):
            raise ValueError(f"an affine is 4 x 4, this one is {self.affine.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (i, j, k)."""
        return self.data.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighbouring voxel centres along (i, j, k)."""
        x, y, z = (float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def centre_of(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """Return the mean position, RAS+ mm, of the voxels of a mask on this grid, which must not be empty."""
        return self.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + self.affine[:3, 3]

    def with_data(self, data: npt.NDArray) -> "Volume":
        """Return another array on this grid."""
        if data.shape != self.data.shape:
            raise ValueError(f"array of shape {data.shape} on a grid of {self.data.shape}")
        return Volume(data, self.affine)
