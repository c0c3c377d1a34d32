"""A project's models: fine-tuned on the final masks of its train images, checked, kept as versions, loaded again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import proposing
from workbench.config import ProposeConfig, preset_for
from workbench.outputs import whole
from workbench.store import files, versions
from workbench.store.catalog import Catalog
from workbench.store.errors import StoreError
from workbench.store.runs import ImageFile
from workbench.store.versions import LearnedFrom, ModelVersion
from workbench.tables.proposals import Proposals
from workbench.train.settings import TrainConfig

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from workbench.sam.predict import Predictor
    from workbench.train.fit import Fitted
    from workbench.train.sample import TrainImage

WEIGHTS = "weights.safetensors"
CHECKED_IMAGES = 6  # on which automatic generation is tried before and after a training
LEAST_SHARE = 0.5  # of the distinct masks of before


class TrainingError(StoreError):
    """A training whose model must not be used; its version is kept as failed, and the message says why."""


def train(
    home: Catalog,
    folder: Path,
    images: Sequence[tuple[ImageFile, tuple[int, int], Proposals]],
    parent: Predictor | Sam,
    config: TrainConfig,
    floors: ProposeConfig | None,
    progress: bool,
    proposed: Mapping[str, int] | None = None,
) -> ModelVersion:
    """Fine-tune a model on annotated images, and keep it as a version; called again after a kill, it goes on.

    Parameters
    ----------
    images : file, size and final masks of each; none is an answer too
    floors : how automatic generation is checked; None for the preset that fits the parent
    proposed : how many distinct masks the parent is known to propose by these floors, by id of image

    Raises
    ------
    TrainingError : when the new model proposes fewer distinct masks than `config.least_proposed` asks for
    StoreError : without an image, for a model of transformers, or when nothing can be written
    """
    import torch

    from workbench.sam.load import load_sam
    from workbench.train.fit import fit, resolved

    before = predictor(parent)
    config = resolved(config, before.model)
    if not images:
        raise StoreError("train: expected complete train images, there are none; review some and complete them first")
    data = [(str(file.image_id), tuple(masks.mask_id.tolist())) for file, _, masks in images]
    digest = _digest(before.model_id, data, config)
    known = versions.by_digest(home, digest)
    if known is not None and (folder / known.file).is_file():
        return _usable(_judged_again(home, known, config))
    state = folder / versions.FOLDER / f"training-{digest}"
    files.make_folder(state)
    with files.locked(state / "writer.lock", "this training is under way in another process; let it finish, or end it"):
        shown = [_to_train_image(folder, *image) for image in images]
        fitted = fit(before.model, shown, config, folder=state, progress=progress)
        after = load_sam(fitted.sam, device=before.device, dtype=before.dtype)
        with torch.no_grad():
            checks = still_proposes(before, after, shown, floors, proposed)
        version = _version(before, after, digest, data, fitted, checks, config)
        _write(folder / version.file, fitted)
        learned = [LearnedFrom(image_id, image_id in fitted.held_out, masks) for image_id, masks in data]
        version = versions.keep(home, version, learned)
    shutil.rmtree(state, ignore_errors=True)
    return _usable(version)


def _judged_again(home: Catalog, known: ModelVersion, config: TrainConfig) -> ModelVersion:
    """Return a version by the rule that is asked for now: its weights do not depend on it, so nothing is trained anew."""
    settings = {**known.settings, "least_proposed": config.least_proposed}
    judged = _judged(dataclasses.replace(known, settings=settings))
    if judged.message == known.message:
        return known
    return versions.keep(home, judged, versions.learned_from(home, known.model_id))


def _judged(version: ModelVersion) -> ModelVersion:
    """Return a version with its status and what is to be said of it, by its curve, checks and settings."""
    losses = {row["step"]: row["loss"] for row in version.curve if "loss" in row}
    message = failure(version.checks, version.settings["least_proposed"], version.settings["learning_rate"])
    if not losses:
        message = f"no loss was a number, so nothing was learned; {version.parent_id} answers with what is none"
    if message:
        return dataclasses.replace(version, status="failed", message=message)
    before, kept = losses.get(0, math.inf), losses.get(version.best_step, -math.inf)
    if kept >= before:
        message = (
            f"no better than {version.parent_id} by the loss on held-out views ({kept:.3g}, {before:.3g} before): it may have "
            f"learned nothing of use; train on more images, or at a lower learning_rate (now {version.settings['learning_rate']:g})"
        )
    return dataclasses.replace(version, status="ready", message=message)


def _usable(version: ModelVersion) -> ModelVersion:
    if version.status == "failed":
        raise TrainingError(f"train: {version.model_id} is kept as failed: {version.message}")
    return version


def predictor(parent: Predictor | Sam) -> Predictor:
    """Return a model ready to answer. Raises StoreError for one that cannot be trained here."""
    from segment_anything.modeling import Sam

    from workbench.sam.load import load_sam
    from workbench.sam.predict import Predictor

    given: object = parent
    if isinstance(given, Predictor):
        return given
    if isinstance(given, Sam):
        made: Predictor = load_sam(given)
        return made
    raise StoreError(
        f"train: expected a model of segment_anything as load_sam() returns it, got {type(parent).__name__}; "
        "models of transformers propose here, but are trained with transformers"
    )


def _digest(parent_id: str, data: Sequence[tuple[str, tuple[str, ...]]], config: TrainConfig) -> str:
    settings = {name: value for name, value in config.digested().items() if name != "least_proposed"}
    text = json.dumps([parent_id, sorted((i, sorted(masks)) for i, masks in data), settings])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _to_train_image(folder: Path, file: ImageFile, size_hw: tuple[int, int], masks: Proposals) -> TrainImage:
    from workbench.train.sample import TrainImage

    wrong = [tuple(size) for size in masks.sizes_hw.tolist() if tuple(size) != size_hw]
    if wrong:
        raise StoreError(f"{file.path}: expected masks of {size_hw} (h, w), got {wrong[0]}; import or draw them again")
    return TrainImage(str(file.image_id), lambda: proposing.read(folder, file)[0], size_hw, masks.rles.tolist())


def still_proposes(
    before: Predictor,
    after: Predictor,
    images: Sequence[TrainImage],
    floors: ProposeConfig | None,
    proposed: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return how many distinct masks both models propose on some of the images, and how many true masks these have.

    floors : with the grid that automatic generation will have; None for the preset that fits the model
    proposed : distinct masks of the first model by id of image; where these are enough images, it is asked nothing anew
    """
    config = which_masks(floors or preset_for(before.model_id).propose)
    known, nothing = proposed or {}, dict[str, int]()
    asked = [image for image in images if image.image_id in known]
    asked = asked if len(asked) >= min(CHECKED_IMAGES, len(images)) else list(images)
    busiest = sorted(asked, key=lambda image: (-len(image.rles), image.image_id))[:CHECKED_IMAGES]
    counts = {"images": len(busiest), "true": sum(len(image.rles) for image in busiest)}
    for name, model, told in (("before", before, known), ("after", after, nothing)):
        stage = proposing.Proposer(model, config)
        counts[name] = sum(
            told[image.image_id] if image.image_id in told else len(stage.propose(image.read(), image.image_id, None))
            for image in busiest
        )
    return counts


def which_masks(floors: ProposeConfig) -> ProposeConfig:
    """Return floors without what says nothing of how many distinct masks there are."""
    plain = ProposeConfig()
    how = {
        name: getattr(plain, name) for name in ("points_per_batch", "images_per_batch", "decoder", "jitter_sigma_px")
    }
    return floors.replace(**how, jitter_prompts=0, features=False, pool="distinct")


def failure(checks: Mapping[str, int], least: str, rate: float) -> str:
    """Return why a model's automatic generation is not good enough, "" when it is.

    Parameters
    ----------
    least : "half" of the distinct masks that the parent proposed; "half_or_true" lets a model be rid of what its parent
        proposed beyond what there is: from the number of true masks on nothing is held against it
    rate : the learning rate it was trained at, told beside the advice
    """
    wanted = LEAST_SHARE * checks["before"]
    if least == "half_or_true":
        wanted = min(wanted, max(checks["true"], 1))
    if checks["after"] >= wanted:
        return ""
    words = (
        f"automatic generation proposes {checks['after']} distinct masks on {checks['images']} train images, where the "
        f"parent proposed {checks['before']} and {checks['true']} are true; at least {math.ceil(wanted)} were expected. "
        f"Train with a lower learning_rate (now {rate:g}), or more images"
    )
    if least == "half" and checks["after"] >= max(checks["true"], 1):
        words += (
            "; if its parent proposed far more than there is, and the rest is rightly gone, set least_proposed to "
            "half_or_true (--set train.least_proposed=half_or_true) and run again: nothing is trained anew"
        )
    return words


def _version(
    before: Predictor,
    after: Predictor,
    digest: str,
    data: Sequence[tuple[str, tuple[str, ...]]],
    fitted: Fitted,
    checks: dict[str, int],
    config: TrainConfig,
) -> ModelVersion:
    version = ModelVersion(
        model_id=after.model_id,
        parent_id=before.model_id,
        architecture=after.model_id.rpartition("-")[0],
        status="",
        message="",
        file=f"{versions.FOLDER}/{after.model_id}/{WEIGHTS}",
        digest=digest,
        settings=config.to_dict(),
        curve=fitted.curve,
        checks=checks,
        images=len(data),
        masks=sum(len(masks) for _, masks in data),
        steps=fitted.steps,
        best_step=fitted.best_step,
        stopped=fitted.stopped,
        seconds=fitted.seconds,
    )
    return _judged(version)


def _write(path: Path, fitted: Fitted) -> None:
    """Write weights as safetensors in float32, whole or not at all."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    files.make_folder(path.parent)
    try:
        with whole(path) as draft:
            save_file({name: t.detach().cpu().contiguous() for name, t in fitted.sam.state_dict().items()}, draft)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path}: the weights cannot be written ({error}); free some space and train again") from error


def load_model(home: Catalog, folder: Path, model_id: str, into: Sam | None = None, **settings: Any) -> Predictor:
    """Return a version of a project's model; see `Looping.load_model`."""
    from workbench.sam.checkpoints import ARCHITECTURES, CheckpointError, read_tensors
    from workbench.sam.load import load_sam

    version = versions.find(home, model_id)
    path = folder / version.file
    if version.architecture in ARCHITECTURES:
        found = load_sam(version.architecture, checkpoint=path, **settings)
    elif into is None:
        raise StoreError(
            f"load_model: {model_id} is of an architecture that load_sam cannot build by name; give into=, a segment_anything "
            f'Sam of the same shape (to train it further, parent=project.load_model("{model_id}", into=sam))'
        )
    else:
        try:
            into.load_state_dict(read_tensors(path, "bundled"))
        except RuntimeError as error:
            raise CheckpointError(f"{path}: expected the tensors of the model given as into=; {error}") from None
        found = load_sam(into, **settings)
    if found.model_id != model_id:
        raise CheckpointError(
            f"{path}: expected the weights of {model_id}, found those of {found.model_id}: the file was changed; "
            "restore it from a backup, or train again"
        )
    return found
