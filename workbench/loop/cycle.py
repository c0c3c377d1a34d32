"""Cycles: propose, triage, review, train, evaluate, register; each step durable, so that a campaign goes on anywhere."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workbench.config import TriageConfig
from workbench.loop import batches, measuring, thresholds
from workbench.loop.adoption import Adopted
from workbench.loop.labelling import truths
from workbench.loop.oracle import Annotator, Oracle
from workbench.loop.plan import Plan
from workbench.store import campaigns, files
from workbench.store.campaigns import Campaign, Cycle
from workbench.store.catalog import Catalog
from workbench.tables.cycles import CycleRow, CycleTable
from workbench.tables.proposals import Proposals
from workbench.triage.limits import fitted
from workbench.triage.rules import triage

if TYPE_CHECKING:
    from workbench.looping import Looping
    from workbench.sam.predict import Predictor


class Campaigning:
    """A campaign at work on a project."""

    def __init__(
        self,
        project: Looping,
        campaign: Campaign,
        first: Predictor,
        progress: bool,
        least_proposed: Literal["half", "half_or_true"] | None = None,
    ) -> None:
        self.project, self.campaign, self.first, self.progress = project, campaign, first, progress
        plan = Plan.from_dict(dict(campaign.settings))
        asked = plan.train.replace(least_proposed=least_proposed or plan.train.least_proposed)
        self.plan = dataclasses.replace(plan, train=asked)
        self._model = first

    @property
    def catalog(self) -> Catalog:
        """The project's."""
        return self.project.catalog

    def run(self, cycles: int, annotator: Annotator) -> CycleTable:
        """Go on until so many cycles are done, and the last model is measured; or until people are waited for.

        Raises
        ------
        StoreError : when another process runs cycles
        """
        busy = "cycles are run by another process; let it finish, or end it"
        with files.locked(self.project.path / "cycles.lock", busy):
            self._measure_again()
            for number in range(1, cycles + 2):
                cycle = self._find(number, closing=number > cycles)
                while cycle.step != "done":
                    files.reached(f"cycle_{cycle.step}")
                    if cycle.step == "propose" and isinstance(annotator, Oracle):
                        annotator.expect_truth(self.project, [*cycle.train, *cycle.calibration])
                    if cycle.step == "review" and not cycle.closing:
                        left = self._annotate(cycle, annotator)
                        if left:
                            return self.table(awaited=tuple(left), cycle=number)
                        how = annotator.config.to_dict() if isinstance(annotator, Oracle) else None
                        cycle = campaigns.advance(self.catalog, cycle, "train", oracle=how)
                    else:
                        cycle = getattr(self, f"_{cycle.step}")(cycle)
            return self.table()

    def table(self, awaited: tuple[str, ...] = (), cycle: int = 0) -> CycleTable:
        """Return the rows of the cycles that are done, with paired changes."""
        return table(self.catalog, self.campaign, awaited, cycle, self._unmeasured())

    # ---- the cycle that is next -----------------------------------------------------------------------------------

    def _find(self, number: int, closing: bool) -> Cycle:
        known = {cycle.number: cycle for cycle in campaigns.of_campaign(self.catalog, self.campaign.id)}
        found = known.get(number)
        if found is None or (found.closing and not closing):
            before = known.get(number - 1)
            model_id = before.trained_id if before else self.campaign.model_id
            taken = [cycle for n, cycle in known.items() if n < number]
            train, calibration = ([], []) if closing else self._batch(number, model_id, taken)
            campaigns.add(self.catalog, self.campaign.id, number, model_id, train, calibration, {})
            found = campaigns.of_campaign(self.catalog, self.campaign.id)[number - 1]
        return found

    def _batch(self, number: int, model_id: str, taken: Sequence[Cycle]) -> tuple[list[str], list[str]]:
        config, rng = self.plan.cycle, np.random.default_rng([self.plan.cycle.seed, number])
        apart = np.random.default_rng([self.plan.cycle.seed, number, 1])  # the same whatever the strategy draws
        used = {image for cycle in taken for image in (*cycle.train, *cycle.calibration)}
        train, calibration = (
            [image for image in self.plan.pools[role] if image not in used] for role in ("train", "calibration")
        )
        proposed: dict[str, Proposals] = {}
        before: dict[str, Proposals] = {}
        threshold = self.plan.triage.predicted_iou
        used = max(taken, key=lambda c: c.number).state["thresholds"]["settings"] if taken else {}
        if used and used.get("confidence") is None:  # as of the cycle before
            threshold = used["predicted_iou"]
        if config.strategy != "random":
            summary = self.project.propose(self._load(model_id), self.plan.floors, images=train, progress=self.progress)
            proposed = {image: Proposals.empty() for image in train} | self._distinct(train, summary.run_id)
        if config.strategy == "diverse":
            for cycle in taken:
                before |= self._distinct(cycle.train, cycle.state["run_id"])
        count = config.train or len(train)
        some = len(calibration) if config.calibration is None else config.calibration
        return (
            batches.choose(config.strategy, train, count, rng, proposed, threshold, before),
            batches.choose("random", calibration, some, apart, {}, threshold),
        )

    def _distinct(self, images: Sequence[str], run_id: int) -> dict[str, Proposals]:
        """Return the distinct proposals of the images that a run has done."""
        rows_of = self.project.each(images, run_id)
        return {image: rows.select(triage(rows, self.plan.pooled).distinct) for image, rows in rows_of}

    def _load(self, model_id: str) -> Predictor:
        from workbench.sam.checkpoints import ARCHITECTURES

        if model_id == self.first.model_id:
            return self.first
        if self._model.model_id != model_id:
            by_name = self.project.model_version(model_id).architecture in ARCHITECTURES
            into = None if by_name else copy.deepcopy(self.first.model)
            self._model = self.project.load_model(model_id, into, device=self.first.device, dtype=self.first.dtype)
        return self._model

    # ---- the steps ------------------------------------------------------------------------------------------------

    def _propose(self, cycle: Cycle) -> Cycle:
        earlier = self._until(cycle)
        images = [*cycle.train, *dict.fromkeys(i for c in earlier for i in c.calibration), *self.campaign.held_out]
        summary = self.project.propose(
            self._load(cycle.model_id), self.plan.floors, images=images, progress=self.progress
        )
        return campaigns.advance(self.catalog, cycle, "triage", run_id=summary.run_id)

    def _until(self, cycle: Cycle) -> list[Cycle]:
        return [c for c in campaigns.of_campaign(self.catalog, self.campaign.id) if c.number <= cycle.number]

    def _triage(self, cycle: Cycle) -> Cycle:
        """Sort by thresholds that calibration images of the cycles before give, or by those given in the plan."""
        found = self._thresholds(cycle)
        self._hold(cycle)
        config = found.config
        if found.recalibration is not None:
            model = Adopted(found.recalibration, self.plan.pooled, None, cycle.model_id)
            why = {"rule": config.confidence_rule, "confidence": config.confidence, "cycle": cycle.number}
            config = config.replace(confidence_model=self.project.keep_confidence(model, why, self._calibration(cycle)))
        self.project.triage(config, note=f"cycle {cycle.number}: {found.kind}", author="cycles")
        told = {"settings": config.to_dict(), "kind": found.kind, "note": found.note, "labels": found.labels}
        told["off"] = list(found.switched_off)
        left = set(self.project.reviewed_images())
        before = [image for image in (*cycle.train, *cycle.calibration) if image in left]
        step = "evaluate" if cycle.closing else "review"
        return campaigns.advance(self.catalog, cycle, step, thresholds=told, reviewed_before=before)

    def _thresholds(self, cycle: Cycle) -> thresholds.Calibrated:
        base = fitted(self.plan.triage, self.plan.floors)
        allowed = thresholds.Allowed(self.plan.cycle.most_wrong, self.plan.cycle.reserve)
        if not self.plan.cycle.exhaustive:
            return thresholds.Calibrated(base, "preset", "truth leaves masks out, so wrong ones are not known")
        labelled = self._judged(cycle, self._calibration(cycle), final=True)
        if labelled is None:
            return thresholds.Calibrated(base, "preset", "no labelled calibration images yet")
        judge, features = labelled.verdicts, labelled.features
        found = thresholds.calibrated(base, labelled.rows, judge, allowed, self.plan.floors, features)
        return found._replace(note="; ".join(filter(None, (found.note, labelled.left_out))))

    def _calibration(self, cycle: Cycle) -> list[str]:
        """Return the calibration images of the cycles before."""
        return [image for c in self._until(cycle)[:-1] for image in c.calibration]

    def _hold(self, cycle: Cycle) -> None:
        """Make the cycle's run the latest again: others may have proposed since."""
        self.project.propose(self._load(cycle.model_id), self.plan.floors, images=[], progress=False)

    def _annotate(self, cycle: Cycle, annotator: Annotator) -> list[str]:
        run_id = self.project._run_id()
        if run_id != cycle.state["run_id"]:
            self._hold(cycle)
        batch = [*cycle.train, *cycle.calibration]
        failed = {file.image_id for file in self.project._chosen(batch, cycle.state["run_id"]) if file.status != "done"}
        return annotator.annotate(self.project, [image for image in batch if image not in failed], cycle.number)

    def _train(self, cycle: Cycle) -> Cycle:
        images = [image for c in self._until(cycle) for image in c.train]
        if not set(images) & set(self.project.reviewed_images("complete")):  # all were skipped
            return campaigns.advance(self.catalog, cycle, "evaluate", trained_id=cycle.model_id)
        version = self.project.train(
            self._load(cycle.model_id), self.plan.train, images=images, floors=self.plan.floors, progress=self.progress
        )
        return campaigns.advance(self.catalog, cycle, "evaluate", trained_id=version.model_id)

    def _evaluate(self, cycle: Cycle) -> Cycle:
        return campaigns.advance(self.catalog, cycle, "register", **self._measured(cycle))

    def _measure_again(self) -> None:
        """Measure cycles that are done on test images whose truth has come since, from their stored proposals."""
        known = self._known_test()
        for cycle in campaigns.of_campaign(self.catalog, self.campaign.id):
            seen = cycle.state.get("test_known", cycle.state.get("test_images", ()))
            if cycle.step == "done" and known - set(seen):
                campaigns.advance(self.catalog, cycle, "done", **self._measured(cycle))

    def _known_test(self) -> set[str]:
        """Return the test images with imported truth, or whose review is complete."""
        frame = self.project.images()
        known = {*frame.loc[frame["truth"].notna(), "image_id"], *self.project.reviewed_images("complete")}
        return known & set(self.campaign.held_out)

    def _measured(self, cycle: Cycle) -> dict[str, Any]:
        """Measure the model that proposed in a cycle on the test images."""
        told: dict[str, Any] = {"figures": {}, "seed_figures": {}, "counts": {}, "confidence": [], "test": 0}
        told["test_known"] = sorted(self._known_test())
        test = self._judged(cycle, self.campaign.held_out, final=False)
        if test is not None:
            rng = np.random.default_rng([self.plan.cycle.seed, 0])  # every cycle draws the test images alike
            config = TriageConfig.from_dict(cycle.state["thresholds"]["settings"])
            if config.confidence_model is not None:
                confidence = self.project.confidence_of(config.confidence_model, test.features)
                test = test._replace(rows=test.rows.replace(confidence=confidence))
            found, seed, counts = measuring.figures(test, config, self.plan.cycle.exhaustive, rng)
            if self.plan.cycle.exhaustive:
                choice = measuring.recalibration(self._judged(cycle, self._calibration(cycle), final=True))
                auto = triage(test.rows, config).auto_accepted
                found |= measuring.calibration_figures(test, auto, choice, rng)
                told["calibration_note"] = choice.note if choice else "no labelled calibration images yet"
            told |= {
                "figures": {name: figure.to_dict() for name, figure in found.items()},
                "seed_figures": {name: figure.to_dict() for name, figure in seed.items()},
                "counts": counts,
                "confidence": measuring.histogram(test.rows),
                "test": len(test.comparison.image_ids),
                "test_images": list(test.comparison.image_ids),
            }
        return told

    def _register(self, cycle: Cycle) -> Cycle:
        work: dict[str, Any] = {}
        if not cycle.closing:
            reviewed = self.project.reviewed()
            seconds = dict(zip(reviewed["image_id"].tolist(), reviewed["seconds"].tolist(), strict=True))
            before = set(cycle.state.get("reviewed_before", ()))  # by another campaign, or before there was one
            batch = [image for image in (*cycle.train, *cycle.calibration) if image not in before]
            journal = self.project.journal()
            sources = sorted(set(journal.loc[journal["image_id"].isin(batch), "seconds_source"]))
            reviews = [self.project.image_review(image) for image in batch]
            source = ", ".join(sources) or "measured"
            rng = np.random.default_rng([self.plan.cycle.seed, cycle.number])
            work = measuring.work(reviews, seconds, source, rng, self.plan.cycle.exhaustive)
        return campaigns.advance(self.catalog, cycle, "done", work=work)

    def _unmeasured(self) -> str:
        """Return which test images nothing is known of yet, "" when there are none."""
        held_out = list(self.campaign.held_out)
        if not held_out:
            return "no test images, so nothing is measured: images of role test, or held_out= in another campaign"
        left = len(held_out) - len(self._known_test())
        if not left:
            return ""
        return (
            f"{left:,} of {len(held_out):,} test images have no truth yet, and nothing is measured on them: import it, "
            "or complete their review"
        )

    def _judged(self, cycle: Cycle, images: Sequence[str], *, final: bool) -> measuring.Judged | None:
        """Return the cycle's proposals beside what is known of images, None without any.

        final : by the final masks of complete images; else by imported truth, and by final masks where there is none
        """
        known = truths(self.project, images, "final only" if final else "truth") if images else None
        if not known:
            return None
        rows = self.project.each(list(known), cycle.state["run_id"], config=self.plan.triage)
        judged = measuring.judge(rows, known, self.plan.pooled, self.plan.floors)
        return judged if judged.comparison.image_ids else None


def table(
    catalog: Catalog,
    campaign: Campaign,
    awaited: tuple[str, ...] = (),
    cycle: int = 0,
    note: str = "",
    changes: bool = True,
) -> CycleTable:
    """Return the rows of the cycles of a campaign that are done, with paired changes over the test images where wanted."""
    every = campaigns.of_campaign(catalog, campaign.id)
    done = [c for c in every if c.step == "done"]
    counts = [measuring.counts_of(cycle.state, campaign.held_out) for cycle in done] if changes else []
    rows = []
    for i, found in enumerate(done):
        others = {"first": 0, "before": max(i - 1, 0)} if changes else {}
        changed = {name: measuring.changes(counts[i], counts[k]) if i else {} for name, k in others.items()}
        rows.append(_row(found, changed, len(campaign.held_out)))
    calibrate = {image for c in every for image in c.calibration}
    number = cycle or max((c.number for c in done if not c.closing), default=0)
    waits = tuple(image for image in awaited if image in calibrate)
    of = Plan.from_dict(dict(campaign.settings)).floors.in_words()
    return CycleTable(tuple(rows), awaited, number, note, waits, of)


def _row(cycle: Cycle, changes: dict[str, Any], held_out: int) -> CycleRow:
    used, test = cycle.state["thresholds"], cycle.state.get("test", 0)
    said = {"thresholds": used.get("note", ""), "calibration": cycle.state.get("calibration_note", "")}
    notes = [f"{what}: {note}" for what, note in said.items() if note]
    oracle = cycle.state.get("oracle") or {}
    if human := [
        f"{name} {oracle[name]:g}" for name in ("error_rate", "boundary_px", "missed_small") if oracle.get(name)
    ]:
        notes.append(f"reviewed by an oracle with {', '.join(human)}")
    if before := len(cycle.state.get("reviewed_before", ())):
        count = len(cycle.train) + len(cycle.calibration)
        notes.append(f"{before} of its {count} images were reviewed before it began: that work is not counted again")
    if test < held_out:
        notes.append(f"measured on {test} of {held_out} test images: the others have no truth or no proposals")
    thresholds = {
        "kind": used["kind"],
        "predicted_iou": used["settings"]["predicted_iou"],
        "jitter_stability": used["settings"]["jitter_stability"],
        "confidence": used["settings"].get("confidence"),
        "labels": used["labels"],
        "switched_off": ", ".join(used["off"]),
    }
    values = {
        "cycle": cycle.number, "closing": cycle.closing, "model_id": cycle.model_id, "trained_id": cycle.trained_id,
        "train": len(cycle.train), "calibration": len(cycle.calibration), "test": test, "thresholds": thresholds,
        **{name: cycle.state[name] for name in ("figures", "seed_figures", "confidence", "work")},
        "changes": {}, "notes": notes,
    }  # fmt: skip
    return dataclasses.replace(CycleRow.from_dict(values), changes=changes)
