"""Nipype adapters: files in, files out, a few lines each around a pure function."""
