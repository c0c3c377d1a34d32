"""Labels of proposals: by matching with truth or final masks, never by what nobody looked at."""

from __future__ import annotations

import judged
import numpy as np
import pytest
from desk import event

from workbench.loop.labelling import label


def test_label__right_are_those_that_match_the_truth(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=2) as project:
        image = project.images()["image_id"][0]
        rows = label(project, [image])
        _, scores, right = judged.drawn(project.image(image))
    assert rows.right.tolist() == right.tolist()
    assert rows.known.all()
    assert rows.features.score == pytest.approx(scores, abs=1e-6)
    assert set(np.round(rows.true_iou, 3)) <= {1.0, 0.333}


def test_label__final_masks_that_nobody_looked_at_are_no_labels(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=2, truth=False) as project:
        project.add_annotator("a")
        image = project.images()["image_id"][0]
        review = project.image_review(image)
        auto = review.masks.mask_id[review.outcome == 2].tolist()
        flagged = review.masks.mask_id[review.outcome == 1].tolist()
        events = [event("verdict", image, mask, verdict="accept") for mask in [*auto[:1], *flagged[:1]]]
        project.record([*events, event("complete", image)])
        rows = label(project, [image])
        known = dict(zip(rows.mask_id.tolist(), rows.known.tolist(), strict=True))
        assert known[auto[0]]
        assert not any(known[mask] for mask in auto[1:])
        assert all(known[mask] for mask in flagged)  # looked at, or matched by nothing that is final
        assert rows.unseen == len(auto) - 1


def test_label__bulk_verdicts_are_no_labels(tmp_path, monkeypatch):
    with judged.make(tmp_path, monkeypatch, n=2, truth=False) as project:
        project.add_annotator("a")
        image = project.images()["image_id"][0]
        review = project.image_review(image)
        chosen = review.masks.mask_id[review.outcome > 0].tolist()
        project.record([event("verdict", image, verdict="accept", masks=chosen, bulk=True), event("complete", image)])
        rows = label(project, [image])
        assert not rows.right.any()
        assert rows.unseen == len(chosen)
