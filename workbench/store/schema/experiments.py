"""Tables of threshold experiments."""
