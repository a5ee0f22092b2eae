"""Command lines. Nothing heavy is imported before the arguments parse."""
