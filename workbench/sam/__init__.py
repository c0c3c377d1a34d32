"""Segment Anything models: loading, the bundled one and its training, prompts answered from a kept embedding."""
