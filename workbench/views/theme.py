"""Light or dark, kept from page to page: the browser has the choice in a cookie and sends it with each page it asks for."""

from __future__ import annotations

from typing import Any

import panel as pn

COOKIE = "workbench-theme"
# of the folder that the pages are served from, so that a server behind a proxy touches nobody else's
_KEEP = f"""
const theme = cb_obj.dark_theme ? "dark" : "default"
const folder = new URL(".", location.href).pathname
document.documentElement.style.colorScheme = cb_obj.dark_theme ? "dark" : "light"
document.cookie = `{COOKIE}=${{theme}}; path=${{folder}}; max-age=31536000; samesite=lax`
"""


def take_kept() -> None:
    """Make the page that is being built dark where the last one was left dark; `?theme=` in its address goes before."""
    if "theme" not in pn.state.session_args and pn.state.cookies.get(COOKIE) == "dark":
        pn.config.theme = "dark"  # type: ignore[misc]  # of this session: Panel takes it in __setattr__


def keep(page: Any) -> None:
    """Have the browser write down the choice between light and dark when it changes, and draw its own controls by it."""
    page.jscallback(dark_theme=_KEEP)
