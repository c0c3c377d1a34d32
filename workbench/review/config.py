"""Settings of review: claims, pauses, the dialogs of R5 and R6, audits, and what the quality report counts."""

from __future__ import annotations

from typing import Literal

from workbench.settings import Settings, setting, settings


@settings
class ReviewConfig(Settings):
    """How long a claim holds, what counts as a pause, when a person is asked or warned, and how much is audited."""

    claim_s: float = setting(default=900.0, low=0, doc="a claim goes back this long after its last gesture or renewal")
    idle_s: float = setting(default=60.0, low=0, doc="a longer pause between two gestures is no active time")
    drawing_s: float = setting(
        default=300.0, low=0, doc="a gesture of drawing counts for at most this long, whatever the client says"
    )
    coverage_share: float = setting(
        default=0.5, low=0, high=1, doc="on leaving an image, ask above this share of pixels that no kept mask covers"
    )
    coverage_rule: Literal["proposals", "share", "off"] = setting(
        default="proposals",
        doc="proposals: ask only where the largest unmasked region holds flagged or discarded proposals; "
        "share: ask by the share alone; off: never",
    )
    coverage_overlap: float = setting(
        default=0.5, low=0, high=1, doc="a proposal lies in a region when at least this share of its pixels does"
    )
    overlap_warning: float = setting(
        default=0.5, low=0, high=1, doc="warn when a new mask overlaps a kept one by more (IoU, or the smaller's share)"
    )
    audit_share: float = setting(default=0.05, low=0, high=1, doc="share of final masks in an audit")
    audit_least: int = setting(default=200, low=0, doc="automatic masks of each model in an audit, or all if fewer")
    right_iou: float = setting(
        default=0.75,
        low=0,
        high=1,
        doc="an audited mask is right when the auditor's own correction has this IoU with it",
    )
    matched_iou: float = setting(
        default=0.5, low=0, high=1, doc="masks of two annotators are the same from this IoU on"
    )
    max_overlap: float = setting(default=0.7, low=0, high=1, doc="pairs of final masks above this IoU are reported")
    plan_verdict: float = setting(default=0.2, low=0, high=1, doc="planned share of time for verdicts")
    plan_draw: float = setting(default=0.7, low=0, high=1, doc="planned share of time for drawing and editing")
    plan_check: float = setting(default=0.1, low=0, high=1, doc="planned share of time for the check of completeness")
