"""Pure image operations on arrays, affines and spacings."""
