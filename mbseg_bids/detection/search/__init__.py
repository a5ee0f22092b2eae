"""Which voxels the network is asked about: dark ones, then what adjoins a positive one."""
