"""Commands on people's work: audit, quality, agreement and review."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.answering import AsJson, Folder, answering, app, given_as, refuse_unused, show


@app.command()
def audit(
    folder: Folder,
    draw: Annotated[bool, typer.Option("--draw", help="draw a new audit from the final masks")] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="fixes which masks are drawn (0)")] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="share of the masks that is drawn (0.05); of automatic ones at least audit_least a model"
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="hand out masks that were audited before once more; else their answers count"),
    ] = False,
    unreviewed: Annotated[bool, typer.Option("--unreviewed", help="draw from images nobody has reviewed too")] = False,
    senior: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="let this person audit; may be given several times")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw final masks for a blind check by a senior, or show what the audits have found so far."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        given = {"seed": seed, "share": share, "again": again or None, "unreviewed": unreviewed or None}
        refuse_unused("--draw", draw, given)
        for name in senior or []:
            project.add_annotator(name, "senior")
        if draw:
            drawn = project.draw_audit(seed or 0, share=share, reviewed_only=not unreviewed, again=again)
            show(drawn.to_dict(), as_json, f"audit drawn in {folder}")
            return
        wrong = project.disagreements()[["image_id", "mask_id", "audit_id", "source", "decided_by", "auditor"]]
        report = project.quality_report()
        found = (report.to_dict() if as_json else report.to_words())["audits"]
        show({"audits": found, "disagreements": wrong.to_dict("records")}, as_json, f"audits of {folder}")


@app.command()
def quality(folder: Folder, as_json: AsJson = False) -> None:
    """Show the quality of what people left, and what it took: coverage, overlaps, rejections, time, audits."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        report = project.quality_report()
        show(report.to_dict() if as_json else report.to_words(), as_json, f"quality of {folder}")


@app.command()
def agreement(folder: Folder, as_json: AsJson = False) -> None:
    """Show how far annotators agree, with 95 % intervals: alpha and kappa on verdicts, IoU of masks."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        found = project.agreement()
        show(found.to_dict() if as_json else found.to_words(), as_json, f"agreement in {folder}")


@app.command()
def review(
    folder: Folder,
    annotator: Annotated[str, typer.Option(help="who reviews; recorded with every gesture")] = "a1",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="name for masks, given by the keys 1, 2, ...; several times"),
    ] = None,
    second: Annotated[
        bool, typer.Option("--second", help="complete images once more, blind to the first answers: for agreement")
    ] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="of JupyterLab; a free one by default")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the browser")] = True,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="start JupyterLab, or only write the notebook")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Open JupyterLab on a notebook with the annotator ready; Ctrl-C ends it, nothing is lost."""
    import subprocess

    from workbench.project import Project
    from workbench.tables.events import check_name
    from workbench.widgets.labels import checked_labels
    from workbench.widgets.launching import lab_command, write_notebook

    with answering(as_json):
        with given_as("--annotator"):
            name = check_name(annotator)
        with given_as("--label"):
            labels = checked_labels(label or [])
        with Project.open(folder) as project:
            project.add_annotator(name)
            notebook = write_notebook(project.path, name, labels, second=second)
            progress = str(project.queue(second=second).progress())
        command = lab_command(notebook, port, browser)
        show({"notebook": str(notebook), "annotator": name, "progress": progress}, as_json, f"review of {folder}")
        if start and subprocess.run(command, check=False).returncode not in (0, 130, -2):
            raise OSError(f"JupyterLab ended with an error; run it by hand to see why: {' '.join(command)}")
