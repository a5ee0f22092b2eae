"""Files shipped with the package: weights, templates, atlas, specifications."""
