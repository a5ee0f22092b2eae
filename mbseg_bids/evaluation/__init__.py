"""Agreement between two segmentations, at voxel and lesion level."""
