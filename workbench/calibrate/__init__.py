"""Calibration: reliability, recalibration, certificates, and the verifier."""
