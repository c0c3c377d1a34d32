"""Commands on people's work: audit and agreement."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.answering import AsJson, Folder, answering, app, show


@app.command()
def audit(
    folder: Folder,
    draw: Annotated[bool, typer.Option("--draw", help="draw a new audit from the final masks")] = False,
    seed: Annotated[int, typer.Option(help="fixes which masks are drawn")] = 0,
    share: Annotated[float | None, typer.Option(help="share of the masks that is drawn; 0.05 by default")] = None,
    unreviewed: Annotated[bool, typer.Option("--unreviewed", help="draw from images nobody has reviewed too")] = False,
    senior: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="let this person audit; may be given several times")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw final masks for a blind check by a senior, or show what the audits have found so far."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        for name in senior or []:
            project.add_annotator(name, "senior")
        if draw:
            drawn = project.draw_audit(seed, share=share, reviewed_only=not unreviewed)
            show(drawn.to_dict(), as_json, f"audit drawn in {folder}")
            return
        wrong = project.disagreements()[["image_id", "mask_id", "audit_id", "source", "decided_by", "auditor"]]
        found = project.quality_report().to_dict()["audits"]
        show({"audits": found, "disagreements": wrong.to_dict("records")}, as_json, f"audits of {folder}")


@app.command()
def agreement(folder: Folder, as_json: AsJson = False) -> None:
    """Show how far annotators agree, with 95 % intervals: alpha and kappa on verdicts, IoU of masks."""
    from workbench.project import Project

    with answering(as_json), Project.open(folder) as project:
        show(project.agreement().to_dict(), as_json, f"agreement in {folder}")
