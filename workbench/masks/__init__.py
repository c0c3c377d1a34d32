"""Masks as arrays and run lengths: numpy and numba only, no torch and no files."""
