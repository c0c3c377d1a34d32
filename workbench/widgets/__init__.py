"""Widgets for notebooks: the annotator."""
