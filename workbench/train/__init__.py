"""Training of a SAM on what people have accepted, edited and drawn."""
