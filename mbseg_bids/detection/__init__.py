"""From a probability for every candidate voxel to lesions: the heart of the method."""
