"""From an image to its proposals: point grid, decoding, scores, jitter, NMS. Calling the room is `propose.run.propose`."""

from workbench._rooms import make_callable

make_callable(__name__, entry="workbench.propose.run")
