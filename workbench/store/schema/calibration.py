"""Tables of calibrations, certificates and gates."""
