"""The loop of a project: training on what people decided, and cycles."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from workbench.adopting import Adopting
from workbench.config import Preset, ProposeConfig, TriageConfig, preset_for, propose_config, triage_config
from workbench.loop import efficiency, teaching
from workbench.loop.efficiency import STAGE1_S
from workbench.settings import differences, name_of
from workbench.store import campaigns, records, runs, versions
from workbench.store.errors import StoreError
from workbench.store.versions import LearnedFrom, ModelVersion
from workbench.tables.cycles import CycleTable
from workbench.tables.proposals import Proposals
from workbench.train.settings import TrainConfig

if TYPE_CHECKING:
    import pandas as pd
    from segment_anything.modeling import Sam

    from workbench.loop.curriculum import Curriculum
    from workbench.loop.efficiency import Efficiency
    from workbench.loop.oracle import Annotator, OracleConfig
    from workbench.loop.orders import Orders
    from workbench.loop.plan import CycleConfig
    from workbench.loop.varied import DiversityTable
    from workbench.sam.predict import Predictor
    from workbench.sam.segmenter import Segmenter

log = logging.getLogger(__name__)


class Looping(Adopting):
    """The part of `Project` that closes the loop."""

    # ---- cycles -----------------------------------------------------------------------------------------------------

    def run_cycles(
        self,
        cycles: int = 5,
        *,
        annotator: Annotator | OracleConfig | str = "people",
        held_out: Iterable[str] | None = None,
        model: Predictor | Sam | None = None,
        config: CycleConfig | None = None,
        floors: ProposeConfig | Preset | str | None = None,
        triage: TriageConfig | Preset | str | None = None,
        train: TrainConfig | None = None,
        roles: Mapping[str, Iterable[str]] | None = None,
        progress: bool = True,
    ) -> CycleTable:
        """Run cycles of propose, triage, review, train, evaluate and register, or go on with those that were begun.

        With people it returns as soon as images wait for them (`.awaited`), and goes on when it is called again in the
        same words, days later if need be; with an oracle it runs through. Every step is durable: after a kill the same
        call goes on with the step that was not finished. After the last cycle a closing row measures its model. Thresholds
        of later cycles are read off the calibration images of those before, see `workbench.loop.thresholds`.

        Parameters
        ----------
        annotator : "people" (through the queue), "oracle" or its settings (answers from the project's ground truth), or
            an object of your own with `annotate(project, images, cycle)`
        held_out : ids or paths of test images; None for those of role test that have ground truth, or, where none has, for
            all of role test: they are measured on once their review is complete
        model : the first model; None for the bundled one
        config : sizes of batches, strategy, share of wrong masks aimed at, seed; None for equal parts
        floors, triage : grid and floors, the same in all cycles, and the thresholds of the first; None for a predicted
            IoU of 0.5 and NMS of boxes at 0.7, each mask asked again (`refine`), on the grid of the preset that fits the
            model, and for its thresholds
        train : settings of the training in each cycle
        roles : ids or paths of images by role ("train", "calibration"); None for the project's own split

        Returns
        -------
        CycleTable, a row a cycle, measured by each cycle's model on the same test images

        Raises
        ------
        StoreError : when images run out, an oracle lacks truth, the first model was trained on test or calibration images,
            or nothing can be written; TrainingError
        PoolError : for thresholds below the floors, or with another NMS than proposals are stored after
        """
        from workbench.loop.cycle import Campaigning
        from workbench.loop.oracle import annotator_of
        from workbench.loop.plan import CycleConfig, first_triage, fitting_floors
        from workbench.train.fit import resolved

        if not isinstance(cycles, int) or cycles < 1:
            raise ValueError(f"cycles: expected a whole number of 1 or more, got {cycles!r}")
        by = annotator_of(annotator)
        first = self._first_model(model)
        chosen = CycleConfig.given(config, "config")
        grid = propose_config(floors) if floors is not None else fitting_floors(first.model_id)
        given = triage_config(triage, grid) if triage is not None else None
        training = resolved(TrainConfig.given(train, "train"), first.model, chosen.exhaustive)
        parts = {
            "cycle": chosen,
            "floors": grid,
            "triage": first_triage(given, grid, first.model_id),
            "train": training,
        }
        asked: dict[str, Any] = {name: part.to_dict() for name, part in parts.items()}
        if unknown := sorted(set(roles or {}) - {"train", "calibration"}):
            raise ValueError(f"roles: expected train and calibration, got {unknown[0]!r}; test images go by held_out=")
        by_role = {"test": held_out, **(roles or {})}
        named = {role: self._named(names) for role, names in by_role.items() if names is not None}
        told = {**parts, "model_id": first.model_id, "named": named}
        # what a new model must propose may be changed where a training has failed by it, which is no other campaign
        digest = name_of({**told, "train": training.replace(least_proposed=TrainConfig().least_proposed)})
        campaign = campaigns.find(self.catalog, digest) or campaigns.find(self.catalog, name_of(told))
        if campaign is None:
            pools = self._pools(named, first.model_id, whole=roles is None)
            for name in ("train", "calibration"):
                if asked["cycle"][name] is None:
                    asked["cycle"][name] = max(min(1, len(pools[name])), len(pools[name]) // cycles)
            plan = {**asked, "model_id": first.model_id, "pools": pools}
            _expect_enough(plan, cycles)
            self._tell_another(plan)
            campaign = campaigns.begin(self.catalog, digest, plan, first.model_id, pools["test"])
        else:
            _expect_enough(campaign.settings, cycles)
        campaigns.take_up(self.catalog, campaign.id)
        working = Campaigning(self, campaign, first, progress, training.least_proposed)
        return working.run(cycles, by)

    def cycles(self, *, changes: bool = True) -> CycleTable:
        """Return the rows of the campaign that was worked on last, and the images it waits for; none before the first.

        Parameters
        ----------
        changes : whether rows have their paired changes; without, the table comes at once: they are drawn anew each time
        """
        from workbench.loop import cycle

        last = campaigns.find(self.catalog)
        if last is None:
            return CycleTable(())
        waits = campaigns.awaited(self.catalog)
        return cycle.table(self.catalog, last, waits.images, waits.cycle, changes=changes)

    # ---- what a campaign came to ----------------------------------------------------------------------------------

    def efficiency(
        self,
        preset: Literal["project", "seed"] = "project",
        *,
        manual_s: float | None = None,
        stage1_s: float | None = STAGE1_S,
    ) -> Efficiency:
        """Return masks an image, seconds a mask and hours of the complete images, and what is saved against other work.

        Seconds are the active ones of the journal: measured where people worked, else simulated by an oracle; what is
        assumed says so.

        Parameters
        ----------
        preset : "seed" gives the seed's own arithmetic instead, whatever this project holds
        manual_s : assumed seconds a mask drawn by hand; None for what the masks drawn here took, 34 s where none
            was, or in no known time
        stage1_s : assumed seconds a mask of Stage 1 on the same masks; None for no such row
        """
        if preset not in ("project", "seed"):
            raise ValueError(f'preset: expected "project" or "seed", got {preset!r}')
        for name, seconds in (("manual_s", manual_s), ("stage1_s", stage1_s)):
            if seconds is not None and not 0 < seconds < float("inf"):
                raise ValueError(f"{name}: expected seconds above 0, got {seconds}")
        return efficiency.seed() if preset == "seed" else efficiency.of_project(self, manual_s, stage1_s)

    def diversity(
        self, by: Literal["source", "cycle"] = "source", *, sam: Segmenter | None = None, clusters: int = 8
    ) -> DiversityTable:
        """Return how varied the final masks of complete images are: sizes, small ones found, occlusion, rarity.

        Beside the ground truth where all these images have it, else beside all final masks.

        Parameters
        ----------
        by : a row for all masks, and one for automatic and one for drawn ones, or one for each cycle of the last campaign
        sam : counts rarity over clusters of this model's embeddings, so many; None for the labels people gave
        """
        from workbench.loop import varied

        if by not in ("source", "cycle"):
            raise ValueError(f'by: expected "source" or "cycle", got {by!r}')
        if clusters < 2:
            raise ValueError(f"clusters: expected 2 or more, got {clusters}")
        return varied.of_project(self, by, self._batches(), sam, clusters)

    def curriculum(self, *, drawn: bool = False) -> Curriculum:
        """Return how difficult the final masks were that each cycle of the last campaign added, with intervals.

        Parameters
        ----------
        drawn : only what people drew or edited: what the model of each cycle had missed
        """
        from workbench.loop import curriculum

        return curriculum.of_project(self, self._batches(), drawn)

    def compare_orders(self, other: Looping) -> Orders:
        """Return this project's last campaign minus another's, cycle by cycle: what the order of images was worth.

        For projects of the same images, of which one ran `strategy="curriculum"` and one "random", say, with batches of
        equal size. Differences are paired over the test images, which have to be the same.

        Raises
        ------
        StoreError : when first model, grid, training, the share that thresholds may let be wrong (or that recall alone
            counts) or test images differ, or either has no cycle that is done
        """
        from workbench.loop import orders

        return orders.compare(self.catalog, other.catalog)

    def _tell_another(self, plan: Mapping[str, Any]) -> None:
        """Say so where a campaign begins after another: a slip in the words would leave it lying."""
        from workbench.loop.plan import Plan

        last = campaigns.find(self.catalog)
        begun = campaigns.of_campaign(self.catalog, last.id) if last else []
        if last is not None and begun:
            before = Plan.from_dict(dict(last.settings)).to_dict()
            log.warning(
                "run_cycles: other settings are another campaign, which begins now; the one before stands in cycle %d (%s), "
                "and is shown and goes on when it is called in its own words. They differ in %s",
                begun[-1].number, begun[-1].step, "; ".join(differences(before, plan)),
            )  # fmt: skip

    def _batches(self) -> dict[int, tuple[str, ...]]:
        """Return the ids of the images that each cycle of the last campaign had reviewed, by its number."""
        last = campaigns.find(self.catalog)
        rows = [] if last is None else campaigns.of_campaign(self.catalog, last.id)
        return {row.number: (*row.train, *row.calibration) for row in rows if not row.closing}

    def _first_model(self, model: Predictor | Sam | None) -> Predictor:
        from workbench.sam.load import load_sam

        return load_sam("bundled") if model is None else teaching.predictor(model)

    def _named(self, names: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(str(file.image_id) for file in self._chosen(names, None)))

    def _pools(self, named: Mapping[str, list[str]], model_id: str, whole: bool) -> dict[str, list[str]]:
        """Return the ids of the images by role: those named, else those of the project's split; none in two roles."""
        frame = self.images()
        readable = frame.loc[frame["image_id"].notna()]
        role = readable["role"]
        known = (role == "test") & readable["truth"].notna()
        chosen = known if known.any() else role == "test"  # without any truth people give it, in time
        pools = {"test": named.get("test", readable.loc[chosen, "image_id"].tolist())}
        test = set(pools["test"])
        for name in ("train", "calibration"):
            ids = readable.loc[role == name, "image_id"].tolist() if whole else named.get(name, [])
            pools[name] = [image for image in ids if image not in test]
            if not whole and (twice := sorted(test & set(ids))):
                raise StoreError(
                    f"roles: expected images of one role each, {len(twice)} of those to {'train' if name == 'train' else 'calibrate'}"
                    f" are test images ({twice[0]} ...): leave them out, or name the test images by held_out="
                )
        both = set(pools["train"]) & set(pools["calibration"])
        if both:
            raise StoreError(f"roles: expected images of one role each, {len(both)} train and calibrate: {min(both)}")
        learned = versions.learned_by(self.catalog, model_id)
        for name in ("test", "calibration"):
            if seen := sorted(learned & set(pools[name])):
                raise StoreError(
                    f"run_cycles: {model_id} was trained on {len(seen)} of the {name} images ({seen[0]} ...), which says "
                    "nothing of images to come; name others (held_out=, roles=), or begin with another model"
                )
        if not pools["train"]:
            raise StoreError("run_cycles: expected images to train on, there are none of role train; see images()")
        return pools

    # ---- models that were trained here ------------------------------------------------------------------------------

    def train(
        self,
        parent: Predictor | Sam | None = None,
        config: TrainConfig | None = None,
        *,
        images: Iterable[str] | None = None,
        floors: ProposeConfig | Preset | str | None = None,
        progress: bool = True,
    ) -> ModelVersion:
        """Fine-tune a model on the final masks of complete train images, and keep it as a version of this project.

        The same call goes on after a kill; with the same parent, masks and settings it returns the version there is.

        Parameters
        ----------
        parent : a model as `load_sam` returns it, or its `Sam`; None for the version made last, else the bundled one
        images : ids or paths; None for all complete images of role train. Open and skipped ones are left out
        floors : how automatic generation is tried after the training; None for the preset that fits the parent

        Returns
        -------
        ModelVersion with parent, settings, curve and counts; `load_model` loads it, `model_data` lists its masks

        Raises
        ------
        TrainingError : the new model no longer proposes enough; it is kept as failed
        StoreError : when no train image is complete, or nothing can be written
        """
        chosen = self._complete(images)
        before = teaching.predictor(parent if parent is not None else self._last_model())
        grid = preset_for(before.model_id).propose if floors is None else propose_config(floors)
        proposed = self._distinct(before.model_id, grid)
        return teaching.train(
            self.catalog, self.path, chosen, before, config or TrainConfig(), grid, progress, proposed
        )

    def models(self) -> pd.DataFrame:
        """Return a row for each model that was trained here, the oldest first."""
        return versions.frame(self.catalog)

    def model_version(self, model_id: str) -> ModelVersion:
        """Return a model that was trained here, with settings and curve. Raises StoreError."""
        return versions.find(self.catalog, model_id)

    def model_data(self, model_id: str) -> list[LearnedFrom]:
        """Return the images and mask ids that a model was trained on. Raises StoreError."""
        versions.find(self.catalog, model_id)
        return versions.learned_from(self.catalog, model_id)

    def load_model(self, model_id: str, into: Sam | None = None, **settings: Any) -> Predictor:
        """Return a model that was trained here, ready to propose.

        Parameters
        ----------
        into : a `Sam` of the same shape, for a model that is none of those which `load_sam` knows by name
        **settings : device, dtype and cache, as for `load_sam`

        Raises
        ------
        StoreError : when none of that name was trained here
        CheckpointError : when its file is missing, or no longer holds these weights
        """
        return teaching.load_model(self.catalog, self.path, model_id, into, **settings)

    def _distinct(self, model_id: str, floors: ProposeConfig) -> dict[str, int]:
        """Return distinct masks by image of the latest run; none where another model or other floors made it."""
        run = self._find_run(None)
        if run is None or run.model_id != model_id:
            return {}
        if teaching.which_masks(ProposeConfig.from_dict(run.settings)) != teaching.which_masks(floors):
            return {}
        frame = records.images_frame(self.catalog, run.id)
        done = frame[frame["status"] == "done"]
        return dict(zip(done["image_id"].tolist(), done["distinct"].tolist(), strict=True))

    def _last_model(self) -> Predictor:
        from workbench.sam.load import load_sam

        last = versions.latest(self.catalog)
        return load_sam("bundled") if last is None else self.load_model(last.model_id)

    def _complete(self, names: Iterable[str] | None) -> list[tuple[runs.ImageFile, tuple[int, int], Proposals]]:
        """Return file, size and final masks of the complete ones among the images, without names of role train."""
        frame = records.images_frame(self.catalog, None)
        names_of = ("role", "height", "width")
        known = dict(zip(frame["image_id"], zip(*(frame[name] for name in names_of), strict=True), strict=True))
        complete = set(self.reviewed_images("complete"))
        files = [file for file in self._chosen(names, None) if file.image_id in complete]
        if names is None:
            files = [file for file in files if known[file.image_id][0] == "train"]
        final = self.final_masks([str(file.image_id) for file in files]) if files else Proposals.empty()
        rows = dict(final.by_image())
        found = []
        for file in files:
            _, height, width = known[file.image_id]
            masks = final.select(rows.get(str(file.image_id), slice(0, 0)))
            found.append((file, (int(height), int(width)), masks))
        return found


def _expect_enough(plan: Mapping[str, Any], cycles: int) -> None:
    """Raise StoreError for more cycles than a plan has train images for."""
    images, batch = len(plan["pools"]["train"]), plan["cycle"]["train"] or 1
    enough = -(-images // batch)
    if cycles > enough:
        fewer = ", take fewer images a cycle" if batch > 1 else ""
        raise StoreError(
            f"cycles: expected at most {enough}, which {images} train images allow at {batch} a cycle, got {cycles}; ask for "
            f"{enough} (--cycles {enough}){fewer}, or add images (workbench add, project.add_images)"
        )
