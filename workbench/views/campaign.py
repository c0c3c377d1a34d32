"""The state behind every page: a project that is open, what went wrong with it, and when it last changed."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import param

from workbench.images import ImageError
from workbench.store.errors import StoreError
from workbench.views.clicks import ClickModel
from workbench.views.latest import LOG

if TYPE_CHECKING:
    from workbench.project import Project

# what people are told in the words of the error; of anything else the log has the details
TOLD = (StoreError, ImageError, ValueError, OSError, ImportError, MemoryError)
_OPEN: dict[tuple[str, str | None], Project] = {}
_LOCK = threading.Lock()


class Campaign(param.Parameterized):
    """A project as pages see it. It knows no Panel: state in, numbers out.

    `changed` is triggered when anybody has written to the project, in this process or another.
    """

    place = param.String(doc="folder of the project")
    database = param.String(default=None, allow_None=True, doc="URL of a catalogue that is kept elsewhere")
    clicks = param.ClassSelector(class_=ClickModel, default=ClickModel(), doc="model of the review page")
    problem = param.String(doc="what keeps the page from working, in words; empty when all is well")
    changed = param.Integer(doc="counts the changes of the project that were seen")

    def __init__(self, place: str | Path, database: str | None = None, clicks: ClickModel = ClickModel()) -> None:
        super().__init__(place=str(place), database=database, clicks=clicks)  # type: ignore[no-untyped-call]
        self._stamp: tuple[int, ...] | None = None
        self._identity: tuple[int, ...] | None = None
        self._project: Project | None = None
        self.poll()

    @property
    def project(self) -> Project:
        """The project. Raises StoreError when it cannot be opened."""
        if self._project is None:
            self._project = opened(self.place, self.database)
        return self._project

    @property
    def stamp(self) -> object:
        """What changes whenever anybody writes to the project: its identity and stamp now. Raises StoreError."""
        catalog = self.project.catalog
        return catalog.identity(), catalog.stamp()

    def poll(self) -> bool:
        """Look whether the project has changed; return whether it has, or whether its problem has.

        Costs two looks at files as long as nothing changes.
        """
        try:
            if self._project is not None and self._project.catalog.identity() != self._identity:
                self._forget()  # another project lies there now
            stamp: tuple[int, ...] | None = self.project.catalog.stamp()
            self._identity = self.project.catalog.identity()
            problem = ""
        except TOLD as error:
            stamp, problem = None, words(error)
            self._forget()
        if stamp == self._stamp and bool(problem) == bool(self.problem):  # the first words for a problem stay
            return False
        self._stamp = stamp
        with param.parameterized.batch_call_watchers(self):
            self.problem = problem
            self.changed += 1
        return True

    def _forget(self) -> None:
        """Let go of a project that cannot be used, so that it is opened anew when it is there again."""
        gone, self._project = self._project, None
        if gone is None:
            return
        with _LOCK:
            for key in [key for key, project in _OPEN.items() if project is gone]:
                del _OPEN[key]
        with contextlib.suppress(Exception):  # its files may be gone
            gone.catalog.engine.dispose()


def opened(place: str | Path, database: str | None = None) -> Project:
    """Return a project, opened once a process: all sessions share its connections. Raises StoreError."""
    from workbench.project import Project

    path = str(Path(place).expanduser().resolve())
    with _LOCK:
        found = _OPEN.get((path, database))
        if found is None:
            found = _OPEN[path, database] = Project.open(path, database)
        return found


def words(error: BaseException) -> str:
    """Return what people are told of an error: its words, or that the log has more."""
    if isinstance(error, TOLD):
        return str(error) or type(error).__name__
    LOG.error("a page met an error that nobody expected", exc_info=error)
    return (
        f"Something unexpected went wrong ({type(error).__name__}). What you saved is kept; the server's log says more."
    )
