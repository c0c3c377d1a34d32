"""The apps that `panel serve` and notebooks show: a page for a name and a project, whatever state the project is in."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import panel as pn
from panel.io.location import Location
from panel.io.resources import get_dist_path

from workbench.views import layout, theme
from workbench.views.campaign import Campaign
from workbench.views.clicks import ClickModel
from workbench.views.first_words import TEMPLATE, put_first
from workbench.views.latest import LOG
from workbench.views.layout import PAGES
from workbench.views.serving import asked_of
from workbench.views.view import View, query_of

__all__ = ["PAGES", "app", "view"]

_START = "panel serve dashboards/*.py --index cycles --args PROJECT"
_VIEWS = {
    "cycles": ("workbench.views.page_cycles", "CyclesView"),
    "review": ("workbench.views.page_review", "ReviewView"),
    "quality": ("workbench.views.page_quality", "QualityView"),
    "calibration": ("workbench.views.page_calibration", "CalibrationView"),
    "thresholds": ("workbench.views.page_thresholds", "ThresholdsView"),
}


def view(name: str, campaign: Campaign) -> View:
    """Return the main part of a page. Raises ValueError for a name that is no page."""
    if name not in _VIEWS:
        raise ValueError(f"page: expected one of {', '.join(_VIEWS)}, got {name!r}")
    module, kind = _VIEWS[name]
    made: View = getattr(importlib.import_module(module), kind)(campaign)
    return made


def app(name: str, place: str | None = None, database: str | None = None) -> Any:
    """Return a whole page for `panel serve`.

    Parameters
    ----------
    name : cycles, calibration, thresholds, review or quality
    place : folder of the project; None for the first argument of the command (`--args PROJECT`)
    """
    _before_anything()
    clicks = ClickModel()
    if place is None:
        try:
            place, database, clicks = asked_of(sys.argv[1:])
        except ValueError as error:
            text = f"This server was started with arguments that it does not know ({error}). Start it with a project:"
            return layout.frame(name, "workbench", layout.next_step("No project", text, _START))
    if place is None:
        text = "This server was started without a project. Start it with one:"
        return layout.frame(name, "workbench", layout.next_step("No project", text, _START))
    pn.config.exception_handler = lambda error: LOG.error("a page met an error", exc_info=error)
    campaign = Campaign(place, database, clicks)
    title = campaign.project.name if not campaign.problem else "workbench"
    main = view(name, campaign)
    put_first(name, title, main, bool(main.sidebar))
    return layout.frame(name, title, main, main.sidebar, TEMPLATE)


class Address(Location):
    """The address of a page whose query is text: Panel reads numbers from it, and an odd one ("²") would end the page."""

    @property
    def query_params(self) -> dict[str, Any]:
        """The parts of the query, as they are."""
        return query_of(self.search)


def _before_anything() -> None:
    """Say where Panel's files lie, how the address is read, and whether it is dark, before anything is made.

    Panel says it only when it sends the page; until then its style sheets are looked for at its own host.
    """
    doc = pn.state.curdoc
    if doc is not None and doc.session_context is not None:
        doc.template_variables["dist_url"] = get_dist_path(cdn=False)
        # before Panel makes one of its own
        pn.state._locations[doc] = Address.from_request(doc.session_context.request)  # type: ignore[attr-defined, no-untyped-call]
        theme.take_kept()
