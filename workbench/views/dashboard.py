"""Dashboards from a notebook: pages of a project as the last expression of a cell, and a report that opens offline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import exchange, outputs
from workbench.views import apps, saving
from workbench.views.campaign import Campaign
from workbench.views.view import View

if TYPE_CHECKING:
    from workbench.project import Project


class Dashboard:
    """The dashboards of a project.

    Parameters
    ----------
    project : a project, or its folder
    database : URL of a catalogue that is kept elsewhere

    Raises
    ------
    StoreError : when there is no project, or it cannot be used
    """

    def __init__(self, project: Project | str | Path, database: str | None = None) -> None:
        place = project if isinstance(project, (str, Path)) else project.path
        self.campaign = Campaign(place, database)
        self.campaign.project  # noqa: B018 - what is wrong is said at once

    def __repr__(self) -> str:
        return f"<Dashboard of {self.campaign.project.name!r}: {', '.join(apps.PAGES)}>"

    def page(self, name: str) -> View:
        """Return a page: cycles, calibration, thresholds, review or quality. Raises ValueError for another name."""
        return apps.view(name, self.campaign)

    def __getattr__(self, name: str) -> View:
        if name in apps.PAGES:
            return self.page(name)
        raise AttributeError(f"Dashboard has no {name!r}; its pages are {', '.join(apps.PAGES)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *apps.PAGES]

    def save(self, path: str | Path, pages: Iterable[str] | None = None) -> Path:
        """Write pages as one HTML file that opens offline, figures and tables as they stand; return its path.

        Parameters
        ----------
        pages : their names; None for all that can be written (a review is no report)

        Raises
        ------
        OutputError : for a name that is a project's own, an image of the project, a folder; OSError : where it cannot be
            written
        """
        file, kept = Path(path).expanduser(), exchange.originals(self.campaign.project)
        outputs.expect_target(file, kept)
        names = list(pages) if pages is not None else [name for name in apps.PAGES if name != "review"]
        views: dict[str, Any] = {name: self.page(name) for name in names}
        return saving.write(file, self.campaign.project.name, views, kept)
