"""The command that shows a project's dashboards: `workbench dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.answering import AsJson, Folder, answering, app, show


@app.command()
def dashboard(
    folder: Folder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on; 0 for a free one")] = 0,
    address: Annotated[str, typer.Option(help="address to listen on; by default only this machine")] = "127.0.0.1",
    basic_auth: Annotated[str, typer.Option(help="a password, or a JSON file of names and passwords")] = "",
    oauth_provider: Annotated[
        str, typer.Option(help="login by a provider that Panel knows; PANEL_OAUTH_KEY and _SECRET hold its key")
    ] = "",
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="a further host that pages are opened from")
    ] = None,
    prefix: Annotated[str, typer.Option(help="folder of the address, behind a proxy: /workbench")] = "",
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write a report that opens offline, and serve nothing")
    ] = None,
    database: Annotated[str | None, typer.Option(help="URL of a catalogue that is kept elsewhere")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a project in the browser: where it stands, and thresholds moved over all its proposals."""
    from workbench.demo import shipped
    from workbench.project import Project

    with answering(as_json):
        Project.open(folder, database).close()  # what is wrong with it is said here, not in the browser
        if save is not None:
            from workbench.views.dashboard import Dashboard

            show({"report": str(Dashboard(folder, database).save(save))}, as_json, f"saved {folder}")
            return
        from workbench.views.serving import Served, serve

        served = Served(
            project=folder.resolve(),
            address=address,
            port=port,
            login=basic_auth,
            oauth=oauth_provider,
            origins=tuple(allow_origin or ()),
            prefix=prefix,
            database=database,
        )
        serve(served, sorted(shipped("dashboards").glob("*.py")))
