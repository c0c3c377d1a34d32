"""The demonstration: sample images proposed, triaged and shown in a gallery, and five short cycles on drawn scenes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from workbench import exchange, outputs
from workbench.config import preset
from workbench.gallery import Picture, picture, write_gallery
from workbench.images import ImageError
from workbench.masks import rle
from workbench.masks.matching import match
from workbench.proposing import ChangedError
from workbench.triage.rules import triage

if TYPE_CHECKING:
    from workbench.project import Project
    from workbench.tables.cycles import CycleTable
    from workbench.tables.outcomes import Triage
    from workbench.tables.proposals import Proposals

# photographs that scikit-image carries in its wheel; nothing is downloaded
PHOTOGRAPHS = ("coins.png", "cell.png", "coffee.png", "chelsea.png", "rocket.jpg", "ihc.png")
PHOTOGRAPH_PX = 512
# kinds of scenes, with seeds that the bundled SAM was neither trained nor chosen on
SCENES = ("fluorescence", "crowd", "plain", "cluttered", "facade", "brightfield")
SCENE_PX = 384
FIRST_SEED = 2_000_000_000
MOST_PICTURES = 200  # a gallery holds all its pictures in one page
# the cycles: so many scenes of one kind; an image takes about a second, five cycles under four minutes on two cores
CYCLES, CYCLE_TRAIN, CYCLE_CALIBRATION, CYCLE_TEST = 5, 2, 2, 6
CYCLE_KIND, CYCLE_PX = "brightfield", 160
CYCLE_POINTS, CYCLE_STEPS = 16, 12


def run_demo(folder: Path) -> dict[str, Any]:
    """Make a project of sample images in `folder`, propose, triage and write its gallery; run again, it goes on.

    Returns
    -------
    the report as a mapping, with recall of the drawn truth at IoU 0.5, the path of the gallery, and a line a cycle

    Raises
    ------
    OutputError : for a folder that is a project, or one of its own
    """
    from workbench.project import Project
    from workbench.sam.load import load_sam

    outputs.expect_folder(folder)
    settings = preset("bundled")
    home, truth = folder / "project", folder / "truth.json"
    made = (home / "project.toml").exists()
    if not made or not truth.exists():  # what a project has recorded stays as it is: others may write other bytes
        write_samples(folder / "samples")
    with (
        Project.open(home) if made else Project.create(home, images=str(folder / "samples"), name="the demo") as project
    ):
        project.import_coco(truth)
        project.propose(load_sam("bundled"), settings.propose)
        project.triage(settings.triage, note="demo", author="workbench demo")
        values = project.report().to_dict()
        values["recall_of_drawn_truth"] = recall(project)
        values["gallery"] = str(write_project_gallery(project, folder / "gallery"))
    return {**values, "cycles": run_demo_cycles(folder / "cycles").lines()}


def run_demo_cycles(folder: Path) -> CycleTable:
    """Run five short cycles with an oracle on drawn scenes; run again, it goes on."""
    from workbench.loop.plan import CycleConfig, fitting_floors
    from workbench.project import Project
    from workbench.sam.load import load_sam
    from workbench.train.settings import TrainConfig

    home = folder / "project"
    made = (home / "project.toml").exists()
    if not made:
        write_cycle_samples(folder)
    sam = load_sam("bundled")
    with Project.open(home) if made else Project.create(home, images=str(folder / "images"), name="cycles") as project:
        project.import_coco(folder / "truth.json")
        return project.run_cycles(
            CYCLES,
            annotator="oracle",
            model=sam,
            # with room for one image more, the two to eight of cycles 2 to 5 would be too few: this shows how it goes
            config=CycleConfig(train=CYCLE_TRAIN, calibration=CYCLE_CALIBRATION, reserve=0),
            floors=fitting_floors(sam.model_id).replace(
                points_per_side=CYCLE_POINTS, crop_n_layers=0, jitter_prompts=4
            ),
            train=TrainConfig(steps=CYCLE_STEPS, check_every=CYCLE_STEPS, learning_rate=1e-4),
            **cycle_roles(project),
        )


def cycle_roles(project: Project) -> dict[str, Any]:
    """Return which of the drawn scenes train, calibrate and test, by their numbers."""
    paths = project.images()["path"].tolist()
    train, rest = paths[: CYCLES * CYCLE_TRAIN], paths[CYCLES * CYCLE_TRAIN :]
    calibration, test = rest[: CYCLES * CYCLE_CALIBRATION], rest[CYCLES * CYCLE_CALIBRATION :]
    return {"roles": {"train": train, "calibration": calibration}, "held_out": test}


def write_cycle_samples(folder: Path) -> Path:
    """Write the scenes of the cycles into `folder`/images, and their truth; return the COCO file of it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    count = CYCLES * (CYCLE_TRAIN + CYCLE_CALIBRATION) + CYCLE_TEST
    scenes = [(f"scene{n + 1:02d}.png", FIRST_SEED + 1000 + n, CYCLE_KIND) for n in range(count)]
    return write_scenes(folder / "images", scenes, CYCLE_PX, folder / "truth.json")


def write_samples(folder: Path) -> Path:
    """Write photographs and drawn scenes below `folder`, and the truth of the scenes; return the COCO file of it."""
    (folder / "photographs").mkdir(parents=True, exist_ok=True)
    (folder / "scenes").mkdir(exist_ok=True)
    for name in PHOTOGRAPHS:
        with resources.as_file(resources.files("skimage.data") / name) as path, Image.open(path) as photo:
            photo.thumbnail((PHOTOGRAPH_PX, PHOTOGRAPH_PX))
            photo.convert("RGB").save(folder / "photographs" / f"{Path(name).stem}.png")
    scenes = [(f"scenes/{n + 1}-{kind}.png", FIRST_SEED + n, kind) for n, kind in enumerate(SCENES)]
    return write_scenes(folder, scenes, SCENE_PX, folder.parent / "truth.json")


def write_scenes(folder: Path, scenes: Sequence[tuple[str, int, str]], size_px: int, file: Path) -> Path:
    """Draw scenes, given by name below the folder, seed and kind, and write their truth as a COCO file; return it."""
    from workbench.formats import coco
    from workbench.sam.scenes import draw_scene
    from workbench.tables.proposals import Proposals

    entries: list[coco.ImageEntry] = []
    truth: list[Proposals] = []
    for name, seed, kind in scenes:
        scene = draw_scene(seed, size_px, kind)
        Image.fromarray(scene.image).save(folder / name)
        entries.append(coco.ImageEntry(name, (size_px, size_px)))
        rles = rle.encode(scene.masks)
        columns = {"boxes_xyxy": rle.to_boxes(rles, scene.owner.shape), "area_px": rle.area(rles, scene.owner.shape)}
        truth.append(Proposals.make(image_id=name, rles=rles, sizes_hw=scene.owner.shape, source="manual", **columns))
    coco.write(file, Proposals.concat(truth), entries)
    return file


def recall(project: Project, iou: float = 0.5) -> dict[str, float]:
    """Return the share of true masks matched one to one at the IoU by a distinct, and by an auto-accepted proposal."""
    found, total = {"distinct": 0, "auto_accepted": 0}, 0
    for image_id, _, rows, triaged in _triaged(project):
        truth = project.truth(image_id).rles.tolist()
        if not truth:
            continue
        total += len(truth)
        size_hw = (int(rows.sizes_hw[0, 0]), int(rows.sizes_hw[0, 1])) if len(rows) else (SCENE_PX, SCENE_PX)
        for name in found:
            some = rows.rles[getattr(triaged, name)].tolist()
            found[name] += len(match(truth, some, size_hw, iou)[0])
    return {name: n / total if total else float("nan") for name, n in found.items()}


def _triaged(project: Project) -> Iterator[tuple[str, str, Proposals, Triage]]:
    """Yield id, path, proposals and their triage by the settings used last, an image at a time."""
    config = project.triage_config()
    images = project.images()
    for image_id, path in images.loc[images["status"] == "done", ["image_id", "path"]].itertuples(index=False):
        rows = project.proposals(image_id)
        yield image_id, path, rows, triage(rows, config)


def write_project_gallery(project: Project, folder: Path) -> Path:
    """Write the gallery of a project's latest triage, its first images; return the page.

    An image whose file is gone or was changed since is left out, and the page says how many are.
    """
    report = project.report().to_dict()
    shown = (
        "images",
        "proposals",
        "distinct",
        "auto_accepted",
        "flagged",
        "discarded",
        "seconds_per_image",
        "model_id",
    )
    summary = {name.replace("_", " "): _short(report[name]) for name in shown}
    summary["reasons"] = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in report["reasons"].items() if n)
    first, gone = itertools.islice(_triaged(project), MOST_PICTURES), 0
    if report["done"] > MOST_PICTURES:
        summary["shown"] = f"the first {MOST_PICTURES}"

    def pictures() -> Iterator[Picture]:  # one after the other, so that one is in memory at a time
        nonlocal gone
        for image_id, path, rows, triaged in first:
            try:
                image = project.image(image_id)
            except (ImageError, ChangedError):
                gone += 1
                summary["not shown"] = f"{gone}, whose files are gone or were changed"
                continue
            yield picture(path, image, rows, triaged)

    return write_gallery(folder, f"Proposals of {project.name}", pictures(), summary, exchange.originals(project))


def _short(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def shipped(name: str) -> Path:
    """Return the folder of notebooks or dashboards: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent
    for place in (package / "_shipped" / name, package.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"{name} did not come with this installation; reinstall sam-workbench")


def copy_notebooks(folder: Path) -> tuple[list[str], list[str]]:
    """Copy the shipped notebooks into a folder; return the names copied and those kept because they were there."""
    folder.mkdir(parents=True, exist_ok=True)
    copied: list[str] = []
    kept: list[str] = []
    for source in sorted(shipped("notebooks").glob("*.ipynb")):
        target = folder / source.name
        (kept if target.exists() else copied).append(source.name)
        if not target.exists():
            outputs.write_whole(target, [source.read_bytes()])
    return copied, kept
