"""Threshold experiments of a project: sweeps over grids of thresholds, saved, reopened, compared and adopted."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench import auditing
from workbench.config import Preset, ProposeConfig, TriageConfig, triage_config
from workbench.images import ROLES
from workbench.reviewing import Reviewing
from workbench.store import runs, versions
from workbench.store.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.loop.audited import AuditedImage
    from workbench.loop.comparison import TrueImage
    from workbench.loop.paired import Side
    from workbench.store.runs import Run
    from workbench.tables.experiments import Experiment
    from workbench.tables.outcomes import Triage

LOG = logging.getLogger(__name__)


class Sweeping(Reviewing):
    """The part of `Project` that runs threshold experiments."""

    def sweep(
        self,
        grid: Mapping[str, Iterable[Any]],
        metrics: Sequence[str] | None = None,
        *,
        name: str | None = None,
        note: str = "",
        author: str = "",
        images: Iterable[str] | None = None,
        role: str | None = None,
        base: TriageConfig | Preset | str | None = None,
        labels: str | None = None,
        exhaustive: bool = False,
        wrong_iou: float = 0.75,
        seed: int = 0,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Count figures at every point of a grid of thresholds over the latest run's proposals; no model is run.

        Parameters
        ----------
        grid : values of some triage settings by name, as {"predicted_iou": [0.8, 0.9]}; all combinations are counted
        metrics : names of `workbench.loop.metrics.METRICS`; None for all that can be counted. The rate of acceptance
            always stands there, and where there is truth, recall_auto beside it. What is right is never read from images
            that trained the model of the run: of these, only the masks are counted
        name, note, author : kept under a name as an experiment, see `experiment`; None keeps nothing
        images, role : ids or paths, and one of train, calibration, test; None for all images with proposals
        base : settings that the grid does not move; None for those used last
        labels : what recall is counted against: truth, or review, the final masks of images that were reviewed to the
            end (not those decided in bulk); None for truth, and for review where no image has truth. With audits, recall
            is counted as with review, and fp_rate estimated from the answers to audits drawn from these images
            (`workbench.loop.audited.fp_rate`): fp_rate_n counts audited masks, and audit_coverage beside it is the share
            of auto-accepted masks that had a chance to be judged; the others widen the interval
        exhaustive : whether truth holds every object of its images; false positives need that
        wrong_iou : from this IoU on, a mask matched one to one with a true one, or with its own correction, is right
        seed : of the bootstrap over images

        Returns
        -------
        DataFrame, a row for each point: what it sets, masks by outcome, and for each figure its value, the ends of its
        95 % interval (_low, _high) and what it was counted over (_n)

        Raises
        ------
        SettingError : for a grid that is empty, too large, or has an unknown or impossible setting
        StoreError : when there are no proposals of these images, or the name is taken
        ValueError : for an unknown figure, or one that needs truth or audits that are not there, or fewer than 20
            audited masks; PoolError, which is one: for a point below the floors of the run
        """
        from tqdm.auto import tqdm

        from workbench.loop import experiments as loop
        from workbench.store import experiments as store
        from workbench.triage.sweep import Grid

        if name is not None:
            store.check_name(self.catalog, name)
        seed, wrong_iou = loop.expect_numbers(seed, wrong_iou)
        run = self._run_to_sweep()
        floors = ProposeConfig.from_dict(run.settings)
        points = Grid.of(grid, triage_config(base, floors) if base is not None else self.triage_config())
        asked = loop.expect_answerable(points, floors)
        chosen = self._images_to_sweep(run, images, role)
        ids = chosen["image_id"].tolist()
        fresh = self._without_learned(ids, run)
        labels, labelled = self._labelled(chosen[chosen["image_id"].isin(fresh)], labels)
        verdicts = self._verdicts(fresh)
        audited = self._audited(run, fresh, wrong_iou) if labels == "audits" else None
        judged = sum(len(image.answered) for image in (audited or {}).values())
        known = loop.Known(len(ids), labels, len(labelled), len(verdicts), exhaustive, judged, len(ids) - len(fresh))
        names = loop.choose_metrics(metrics, known)
        truth_of = self._true_image if labels == "truth" else self._final_images(chosen, labelled)
        with tqdm(total=len(points), desc="sweeping", unit="point", disable=not progress) as bar:
            counted = loop.count(
                functools.partial(self.each, ids, run.id, config=asked),
                points,
                names,
                lambda image: truth_of(image) if image in labelled else None,
                verdicts.get,
                floors,
                wrong_iou=wrong_iou,
                images=len(ids),
                audits_of=None if audited is None else audited.get,
                told=bar.update,
            )
        figures = loop.figures(counted, seed)
        if name is not None:
            about = {**known._asdict(), "wrong_iou": wrong_iou, "seed": seed}
            store.save(self.catalog, name, run.id, about, counted, figures, note=str(note or ""), author=author)
        return counted.frame(figures)

    def experiments(self) -> pd.DataFrame:
        """Return a row for each experiment that was kept: name, note, author, run, grid, points, images, when."""
        from workbench.store import experiments as store

        return store.frame(self.catalog)

    def experiment(self, name: str) -> Experiment:
        """Return an experiment as it was kept: `.table`, `.config(row)`, `.adopt(row)`. Raises StoreError."""
        from workbench.store import experiments as store

        def adopt(row: int, author: str, note: str) -> Triage:
            return self.adopt(name, row, author=author, note=note)

        return dataclasses.replace(store.load(self.catalog, name), adopter=adopt)

    def compare(
        self,
        a: str | tuple[str, int],
        b: str | tuple[str, int],
        metrics: Sequence[str] | None = None,
        *,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Compare experiments, of two models or of two settings, on the images that both have.

        Parameters
        ----------
        a, b : the name of an experiment for all its points in order, or (name, row) for one; one point on a side is
            compared with every point of the other
        metrics : names of figures; None for those that both count alike: of the others the log says why

        Returns
        -------
        DataFrame, a row for each figure and pair of points: value_a, value_b, and the paired difference a − b with its
        95 % interval, drawn over images

        Raises
        ------
        StoreError : for an unknown name; ValueError : for a row that is not there, another number of points, no image
            in common, or a figure that one side lacks or counts otherwise
        """
        from workbench.loop import paired

        return paired.compare(self._side(a), self._side(b), metrics, seed)

    def adopt(self, name: str, row: int, *, author: str = "", note: str = "") -> Triage:
        """Triage by the settings of a point of an experiment, and keep that as a version with its author and a note.

        Parameters
        ----------
        note : by default it says which experiment and row

        Raises
        ------
        StoreError : for an unknown name, or an experiment on another run than the latest; ValueError : for another row
        """
        experiment = self.experiment(name)
        config, run = experiment.config(row), self._find_run(None)
        if run is None or run.id != experiment.run_id:
            raise StoreError(
                f"adopt: experiment {name!r} was made on run {experiment.run_id}, the latest is run"
                f" {run.id if run else None}: sweep that one, or take the settings as they are with"
                " project.triage(experiment.config(row))"
            )
        return self.triage(config, note=note or f"experiment {name!r}, row {row}", author=author)

    def _run_to_sweep(self) -> Run:
        return runs.expect(self._find_run(None), "sweep")

    def _images_to_sweep(self, run: Run, images: Iterable[str] | None, role: str | None) -> pd.DataFrame:
        """Return the rows of `images()` that are done in the run and chosen."""
        if role is not None and role not in ROLES:
            raise ValueError(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
        frame = self.images()
        chosen = frame["image_id"].isin([file.image_id for file in self._chosen(images, run.id)])
        if role is not None:
            chosen &= frame["role"] == role
        done = frame[chosen & (frame["status"] == "done")]
        if done.empty:
            raise StoreError(
                f"sweep: expected images with proposals, none of the {int(chosen.sum())} chosen has been worked on by"
                f" run {run.id}; run `workbench propose` (project.propose) on them"
            )
        return done

    def _without_learned(self, ids: Sequence[str], run: Run) -> list[str]:
        """Return the images that did not train the model: from the others nothing is read of what is right (METRICS)."""
        learned = versions.learned_by(self.catalog, run.model_id)
        left = [image for image in ids if image not in learned]
        if len(left) < len(ids):
            LOG.warning(
                "sweep: %d of the %d images trained %s: their truth and verdicts are left out", len(ids) - len(left), len(ids),
                run.model_id,
            )  # fmt: skip
        return left

    def _true_image(self, image: str) -> TrueImage:
        from workbench.loop.comparison import TrueImage

        (true,) = self._truth(image)
        return TrueImage.of(true.masks, true.crowd)

    def _labelled(self, chosen: pd.DataFrame, labels: str | None) -> tuple[str, frozenset[str]]:
        """Return which labels are used, and the images that have them."""
        if labels == "verdicts":
            raise ValueError(
                "labels: verdicts alone say nothing of masks that nobody looked at; ask for rejection_rate_auto, the share"
                " rejected of those looked at one by one, or audit what was accepted and say labels='audits'"
            )
        if labels not in (None, "truth", "review", "audits"):
            raise ValueError(f"labels: expected truth, review, audits or None, got {labels!r}")
        true = frozenset(chosen.loc[chosen["truth"].notna(), "image_id"])
        if labels == "truth" or (labels is None and true):
            return "truth", true
        final = frozenset(self.reviewed_images("complete")) & set(chosen["image_id"])
        if labels == "audits":
            return labels, final
        return ("review", final) if labels == "review" or final else ("truth", true)

    def _audited(self, run: Run, ids: Sequence[str], wrong_iou: float) -> dict[str, AuditedImage]:
        """Return what audits say of images, by id. Raises ValueError where that is too little."""
        from workbench.loop.audited import FEWEST

        found = auditing.audited_images(self._shown, run.id, ids, wrong_iou)
        if not found:
            raise ValueError(
                f"labels: expected audits, none was drawn from any of the {len(ids)} images that did not train the model, as run"
                f" {run.id} proposed them; draw one (project.draw_audit, workbench audit --draw) and let a senior answer it"
            )
        judged = sum(len(image.answered) for image in found.values())
        if judged < FEWEST:
            raise ValueError(
                f"labels: expected at least {FEWEST} masks with an answer in an audit, that nobody had looked at one by"
                f" one before, got {judged} on {len(found)} images; let a senior answer what is drawn"
                " (project.audit_review), or draw more"
            )
        return found

    def _final_images(self, chosen: pd.DataFrame, labelled: frozenset[str]) -> Callable[[str], TrueImage]:
        """Return what gives the final masks of an image; the chosen ones among the labelled have their crowds read."""
        from workbench.loop.labelling import crowds, final_truth

        of_many = crowds(self, labelled & set(chosen.loc[chosen["truth"].notna(), "image_id"]))
        return lambda image: final_truth(self.image_review(image), of_many.get(image))

    def _verdicts(self, ids: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return the verdicts of people by image and mask: of masks looked at one by one."""
        found, chosen = {}, set(ids)
        for image in self.reviewed()["image_id"]:
            if image not in chosen:
                continue
            review = self.image_review(image, latest=True)
            looked = (review.verdict != 0) & ~review.bulk & ~review.drawn
            verdicts = dict(zip(review.masks.mask_id[looked].tolist(), review.verdict[looked].tolist(), strict=True))
            if verdicts:
                found[image] = verdicts
        return found

    def _side(self, point: str | tuple[str, int]) -> Side:
        from workbench.loop.paired import Side

        name, row = (point, None) if isinstance(point, str) else point
        found = self.experiment(name)
        run = self._find_run(found.run_id)
        floors = ProposeConfig.from_dict(run.settings) if run is not None else ProposeConfig()
        return Side(name, found.counted, range(len(found.counted)) if row is None else [row], found.settings, floors)
