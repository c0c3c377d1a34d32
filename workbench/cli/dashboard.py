"""The command that shows a project's dashboards: `workbench dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.answering import AsJson, Folder, UsageError, answering, app, show


@app.command()
def dashboard(
    folder: Folder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on; 0 for a free one")] = 0,
    address: Annotated[str, typer.Option(help="address to listen on; by default only this machine")] = "127.0.0.1",
    basic_auth: Annotated[str | None, typer.Option(help="a password, or a JSON file of names and passwords")] = None,
    oauth_provider: Annotated[
        str | None, typer.Option(help="login by a provider that Panel knows; PANEL_OAUTH_KEY and _SECRET hold its key")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="HOST:PORT", help="a further host that pages are opened from")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="answers clicks on the review page: bundled, vit_b, vit_l, vit_h, mobile_sam or transformers"
        ),
    ] = "",
    checkpoint: Annotated[Path | None, typer.Option(help="weights of the model")] = None,
    device: Annotated[str, typer.Option(help="of the model: auto, cpu, cuda, cuda:1, mps")] = "auto",
    embedding_cache: Annotated[Path | None, typer.Option(help="keep image embeddings of the model here")] = None,
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
        for option, given in (("--basic-auth", basic_auth), ("--oauth-provider", oauth_provider)):
            if given is not None and not given.strip():  # a variable that is not set must not open the door
                raise UsageError(
                    f"{option}: expected a text, got an empty one; leave the option out to serve without login"
                )
        if checkpoint is not None and not model:
            raise UsageError("--checkpoint: expected --model with it, the name of the model whose weights these are")
        Project.open(folder, database).close()  # what is wrong with it is said here, not in the browser
        if save is not None:
            from workbench.views.dashboard import Dashboard

            show({"report": str(Dashboard(folder, database).save(save))}, as_json, f"saved {folder}")
            return
        from workbench.views.campaign import opened
        from workbench.views.clicks import ClickModel
        from workbench.views.serving import Served, serve

        clicks = ClickModel(model, _absolute(checkpoint), device, _absolute(embedding_cache))
        if model:  # what is wrong with it, too; it stays in memory
            clicks.load(opened(folder, database))
        served = Served(
            project=folder.resolve(),
            address=address,
            port=port,
            login=basic_auth or "",
            oauth=oauth_provider or "",
            origins=tuple(allow_origin or ()),
            prefix=prefix,
            database=database,
            clicks=clicks,
        )
        serve(served, sorted(shipped("dashboards").glob("*.py")))


def _absolute(path: Path | None) -> str:
    return str(path.expanduser().resolve()) if path is not None else ""
