"""Clinical vocabulary: sizes, classes, patterns."""
