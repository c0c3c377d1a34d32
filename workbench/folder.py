"""ProjectFolder: what every project can do: images in, proposals and triage, ground truth and files, the report."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import workbench
from workbench import exchange, proposing
from workbench.catalogued import Catalogued
from workbench.config import Preset, ProposeConfig, TriageConfig, preset_for, propose_config, triage_config
from workbench.report import ProposeSummary, Report, TruthSummary, assemble
from workbench.store import checks, intake, records, runs
from workbench.store import truth as truth_masks
from workbench.store.errors import StoreError
from workbench.store.intake import Added, Pattern
from workbench.store.runs import ImageFile, Run
from workbench.tables.outcomes import Triage
from workbench.tables.proposals import Proposals

if TYPE_CHECKING:
    import pandas as pd

    from workbench.sam.segmenter import Segmenter
    from workbench.store.blocks import Block

LOG = logging.getLogger(__name__)


class ProjectFolder(Catalogued):
    """Images, proposals and triage in one folder; `workbench.project.Project` adds review, experiments and the loop."""

    def __repr__(self) -> str:
        totals, run = self._totals()
        model = f", {totals['proposals']:,} proposals by {run.model_id}" if run else ""
        return f"<Project {self.name!r}: {totals['images']:,} images, {totals['done']:,} done{model}; {self.path}>"

    def _repr_html_(self) -> str:
        return self._last_report()._repr_html_()

    # ---- images ---------------------------------------------------------------------------------------------------

    def add_images(self, images: Pattern) -> Added:
        """Record images that are new, by a glob, a folder or a list of files; what could not be read is tried again.

        Raises
        ------
        StoreError : when nothing matches
        """
        root, paths = intake.gather(images)
        intake.read_again(self.catalog, self.path, self.seed, self.roles)
        known, place = intake.known_files(self.catalog, self.path), root.resolve()
        new = [path for path in paths if str(place / path.relative_to(root)) not in known]
        text = intake.root_text(root, self.path)
        return intake.record(
            self.catalog, text, intake.identify(root, new), self.seed, self.roles, known=len(paths) - len(new)
        )

    def images(self) -> pd.DataFrame:
        """Return a row for each image: id, path, domain, role, status in the latest run, reason, size, counts."""
        return records.images_frame(self.catalog, self._run_id())

    def image(self, image: str) -> np.ndarray:
        """Return the picture of an image by its id or path: (H, W, 3) uint8 RGB.

        Raises
        ------
        StoreError : when the project has no such image, or several by that path; ImageError : when it cannot be read
        """
        found = self._chosen([image], self._run_id())
        if len(found) > 1:
            ids = ", ".join(str(file.image_id) for file in found)
            raise StoreError(
                f"image: {image!r} is the path of {len(found)} images in several folders; give an id: {ids}"
            )
        return proposing.read(self.path, found[0])[0]

    def failures(self) -> pd.DataFrame:
        """Return path, reason and message of each image without proposals in the latest run."""
        import pandas as pd

        found = records.failures(self.catalog, self._run_id())
        return pd.DataFrame(found, columns=["path", "reason", "message"])

    # ---- proposals ------------------------------------------------------------------------------------------------

    def propose(
        self,
        sam: Segmenter,
        config: ProposeConfig | Preset | str | None = None,
        *,
        limit: int | None = None,
        progress: bool = True,
        images: Iterable[str] | None = None,
        retry_failed: bool = False,
    ) -> ProposeSummary:
        """Propose masks on every image that has none by this model with these settings; called again, it goes on.

        Parameters
        ----------
        sam : a model, as `load_sam` returns it
        config : settings, a preset or its name; None for the preset that fits the model
        limit : the most images to work on in this call
        images : ids or paths of the images to work on; None for all
        retry_failed : try images again that failed before

        Raises
        ------
        StoreError : when another process writes this run, a folder of images is not there, or nothing more can be
            written; what was written stays
        PoolError : for settings whose rows no triage could sort
        """
        from workbench.sam.segmenter import expect_segmenter
        from workbench.triage.limits import refuse_unanswerable

        expect_segmenter(sam, "propose", has=())
        config, since = propose_config(config or preset_for(sam.model_id)), time.perf_counter()
        refuse_unanswerable(config)
        if limit is not None and limit < 0:
            raise ValueError(f"propose: expected a limit of 0 images or more, got {limit}")
        run = runs.begin(self.catalog, sam.model_id, config.digest, config.to_dict(), workbench.__version__)
        with runs.writing(self.catalog, self.path, run) as writer:
            if retry_failed:
                intake.read_again(self.catalog, self.path, self.seed, self.roles)
            chosen = self._chosen(images, run.id)
            todo = [f for f in chosen if f.image_id and (f.status is None or (retry_failed and f.status == "failed"))]
            todo = todo[:limit]
            proposing.expect_roots(self.path, todo)
            told = proposing.work(self.path, writer, todo, proposing.Proposer(sam, config), progress)
        return proposing.summarize(run.id, chosen, todo, told, time.perf_counter() - since)

    @property
    def model_id(self) -> str | None:
        """The model of the latest run; None before the first."""
        run = self._find_run(None)
        return run.model_id if run else None

    def runs(self) -> pd.DataFrame:
        """Return a row for each run: model, settings, images done and failed, proposals, seconds, peak memory."""
        return records.runs_frame(self.catalog)

    def proposals(
        self, image: str | Iterable[str] | None = None, run: int | None = None, outcome: str | None = None
    ) -> Proposals:
        """Return the proposals of a run, in the order of images and rows; of all images only when no image is named.

        Parameters
        ----------
        image : id or path of an image, or several; None for all
        run : number of a run; None for the one worked on last
        outcome : all, distinct, auto_accepted, flagged, discarded or final (what is handed on: of reviewed images what
            people left, of others the auto-accepted masks, of skipped ones nothing), by the triage used last

        Raises
        ------
        StoreError : for an unknown image or run
        ValueError : for an unknown outcome
        """
        found, names = self._find_run(run), [image] if isinstance(image, str) else image
        if outcome is not None:
            exchange.of_outcome(Triage(np.zeros(0), np.zeros(0)), outcome)  # says at once when there is no such outcome
        config = None if outcome is None or found is None else self.triage_config(run)
        parts = [rows for _, rows in self.each(names, run)]
        if config is not None and outcome is not None:
            parts = [rows.select(exchange.of_outcome(workbench.triage(rows, config), outcome)) for rows in parts]
        return Proposals.concat(parts)

    def each(
        self, images: Iterable[str] | None = None, run: int | None = None, *, config: TriageConfig | None = None
    ) -> Iterator[tuple[str, Proposals]]:
        """Yield the id of each image that a run has done, with its proposals; one image is in memory at a time.

        Parameters
        ----------
        images : ids or paths; None for all. run : its number; None for the one worked on last
        config : whose confidence they get; None for the triage used last
        """
        found = self._find_run(run)
        config = config or self.triage_config(run)
        for file in self._chosen(images, found.id if found else None):
            if file.shard is not None and file.row_group is not None:
                rows = self._shards.proposals(file.shard, file.row_group)
                yield str(file.image_id), self.with_confidence(rows, config)
            elif file.status == "done":
                yield str(file.image_id), Proposals.empty()

    def in_blocks(
        self,
        columns: Collection[str],
        images: Iterable[str] | None = None,
        run: int | None = None,
        *,
        config: TriageConfig | None = None,
    ) -> Iterator[Block]:
        """Yield the proposals of images that a run has done, several hundred images at a time; as `each`, in less time.

        Parameters
        ----------
        columns : of `Proposals` that are wanted; others may have their defaults
        images, run, config : as for `each`
        """
        from workbench.store import blocks

        found = self._find_run(run)
        config = config or self.triage_config(run)
        files = self._chosen(images, found.id if found else None)
        if config.confidence is None:
            yield from blocks.read(self.path, files, columns)
            return
        for block in blocks.read(self.path, files, blocks.STORED):  # a model looks at the masks of one image at a time
            parts = [self.with_confidence(rows, config) for _, rows in block.each()]
            yield block._replace(proposals=Proposals.concat(parts))

    def with_confidence(self, proposals: Proposals, config: TriageConfig) -> Proposals:
        """Return the proposals of one image with the confidence that triage asks for; `Adopting` has the models."""
        return proposals

    # ---- triage ---------------------------------------------------------------------------------------------------

    def triage(self, config: TriageConfig | Preset | str | None = None, *, note: str = "", author: str = "") -> Triage:
        """Sort the latest run's proposals into outcomes with reasons, and keep that as a version; no model is run.

        Parameters
        ----------
        config : thresholds, a preset or its name; None for those used last, before the first triage of a run for the
            preset that fits its model, within the run's floors
        note, author : kept with the version; equal settings on the same run are the same version

        Returns
        -------
        Triage, row by row beside `proposals()`

        Raises
        ------
        StoreError : when there are no proposals yet
        PoolError : a ValueError, for thresholds below the floors of the run, or another NMS than its rows are stored after
        """
        from workbench.triage.limits import idle, refuse_below, unmeasured

        run = runs.expect(self._find_run(None), "triage")
        floors = ProposeConfig.from_dict(run.settings)
        before = self.triage_config(run.id)
        config = triage_config(config, floors) if config is not None else before
        refuse_below(config, floors)
        moved = [name for name, value in config.to_dict().items() if value != getattr(before, name)]
        if before.confidence_rule == "decides" and (told := idle(config, moved)):
            LOG.warning("triage: %s", told)
        if told := unmeasured(config, floors):
            LOG.warning("triage: %s", told)
        whole = exchange.sorted_out(self, config)
        done = records.totals(self.catalog, run.id)["done"]
        counts = (whole.counts(), whole.reason_counts())
        version = records.Version(0, run.id, config.digest, config.to_dict(), done, *counts)
        records.keep_triage(self.catalog, version, note, author)
        return whole

    def triages(self) -> pd.DataFrame:
        """Return a row for each version of triage: run, settings, note, author, counts, reasons."""
        return records.triages_frame(self.catalog)

    def triage_config(self, run: int | None = None) -> TriageConfig:
        """Return the thresholds used last on a run; before the first triage, those that fit the run's model."""
        found = self._find_run(run)
        kept = records.latest_triage(self.catalog, found.id) if found else None
        if kept is not None:
            return TriageConfig.from_dict(kept.settings)
        if found is None:
            return preset_for("").triage
        from workbench.triage.limits import fitting

        return fitting(found.model_id, ProposeConfig.from_dict(found.settings))

    def propose_config(self, run: int | None = None) -> ProposeConfig | None:
        """Return the settings that a run proposed with, the latest where none is named; None before the first."""
        found = self._find_run(run)
        return ProposeConfig.from_dict(found.settings) if found is not None else None

    # ---- ground truth and files -----------------------------------------------------------------------------------

    def import_truth(
        self,
        masks: Proposals,
        labels: Sequence[str] | None = None,
        crowd: Sequence[bool] | None = None,
        *,
        images: Sequence[str] = (),
        origin: str = "",
    ) -> TruthSummary:
        """Keep masks as the ground truth of their images, in place of what these had.

        Parameters
        ----------
        masks : their `image_id` is the id or the path of an image; a name that is no image is reported
        labels, crowd : (N,) names of categories, and which masks are regions of many things, as in COCO
        images : ids or paths of images that are part of the truth even without a mask
        origin : where the masks come from, for the record

        Raises
        ------
        StoreError : when they cannot be written
        ValueError : for columns of another length, run lengths that are none of their image's size, an empty mask
        TypeError : for a text in place of a list of images
        """
        exchange.expect_masks(masks)  # before anything is replaced; files are checked as they are read
        return exchange.import_truth(self, masks, labels, crowd, runs.listed(images), origin)

    def truth(self, image: str | Iterable[str] | None = None) -> Proposals:
        """Return the true masks of an image, of several, or of all, in the order of images. Raises StoreError."""
        return Proposals.concat([true.masks for true in self._truth(image)])

    def truth_labels(self, image: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return image_id, mask_id, label and crowd of each true mask, row by row beside `truth`. Raises StoreError."""
        return truth_masks.labels_frame(self._truth(image))

    def _truth(self, image: str | Iterable[str] | None) -> list[truth_masks.TrueMasks]:
        names = [image] if isinstance(image, str) else image
        return truth_masks.load(self.catalog, self._shards, names)

    def import_coco(self, path: str | Path) -> TruthSummary:
        """Keep the masks of a COCO file as the ground truth of its images, in place of what these had.

        Its file names are compared with paths, never opened. Images of which some masks were refused are told first among
        `problems`; where all of an image were, it has no truth.

        Raises
        ------
        FormatError : when it is no COCO file; StoreError, OSError : when it cannot be read or kept
        """
        return exchange.import_coco(self, path)

    def check(self) -> list[str]:
        """Return a line for each thing that is wrong with the project's files, none when all is well."""
        return checks.problems(self.catalog, self.path)

    # ---- report ---------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Return images, proposals, outcomes, reasons, failures, time and memory of the latest run.

        When the run has not been triaged, or has grown since, its proposals are triaged first, by `triage_config()`.
        """
        totals, run = self._totals()
        if run is not None and totals["done"]:
            kept = records.latest_triage(self.catalog, run.id)
            if kept is None or kept.images != totals["done"]:
                self.triage(self.triage_config())
        return self._last_report()

    def _last_report(self) -> Report:
        """Return the report with the outcomes that were counted last."""
        totals, run = self._totals()
        kept = records.latest_triage(self.catalog, run.id) if run else None
        return assemble(self.name, totals, run, kept, records.failure_counts(self.catalog, run.id if run else None))

    # ---- what the above share -------------------------------------------------------------------------------------

    def _totals(self) -> tuple[dict[str, float], Run | None]:
        run = self._find_run(None)
        return records.totals(self.catalog, run.id if run else None), run

    def _find_run(self, run: int | None) -> Run | None:
        return runs.find(self.catalog, run)

    def _run_id(self) -> int | None:
        run = self._find_run(None)
        return run.id if run else None

    def _chosen(self, names: Iterable[str] | None, run_id: int | None) -> list[ImageFile]:
        return runs.image_files(self.catalog, run_id, truth_masks.by_file(self.catalog, self.path, names))
