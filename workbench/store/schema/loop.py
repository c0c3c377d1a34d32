"""Tables of the loop: model versions, cycles."""
