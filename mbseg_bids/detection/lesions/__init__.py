"""From a probability for every voxel to lesions, on either grid: labels, tables, rating sheets, a summary."""
