"""The error of the store: what was expected of a project, what came, and what to do."""


class StoreError(Exception):
    """A project could not be made, opened, read or written."""
