"""Settings of every stage: what each means, its default and range, and the presets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast

from workbench.settings import SettingError, Settings, did_you_mean, setting, settings

__all__ = [
    "PRESET_NAMES",
    "Preset",
    "ProposeConfig",
    "SettingError",
    "Settings",
    "TriageConfig",
    "preset",
    "propose_config",
    "triage_config",
]

S = TypeVar("S", bound=Settings)


@settings
class ProposeConfig(Settings):
    """How masks are proposed on one image, and the floors above which proposals are kept for later triage."""

    points_per_side: int = setting(
        default=32, low=1, high=512, doc="points along each side of the grid (32: 1,024 points)"
    )
    spacing_px: float | None = setting(
        default=None, low=1, doc="distance of grid points in pixels; where set, it replaces points_per_side"
    )
    points_per_batch: int = setting(
        default=64, low=1, high=65536, doc="prompts decoded at once; halved when memory runs out"
    )
    images_per_batch: int = setting(
        default=1, low=1, high=256, doc="images of a project embedded at once; above 1 they round by their neighbours"
    )
    decoder: Literal["shared", "original"] = setting(
        default="shared",
        doc="shared: work is shared between the points of an image; equal but for rounding, on CUDA that of the dtype",
    )
    crop_n_layers: int = setting(
        default=0, low=0, high=4, doc="layers of crops beside the whole image; layer i has (2^i)^2"
    )
    crop_overlap_ratio: float = setting(
        default=512 / 1500, low=0, high=0.99, doc="overlap of crops, share of the short side"
    )
    crop_points_downscale: int = setting(
        default=1, low=1, high=8, doc="points per side are divided by this to the layer"
    )
    crop_nms_iou: float = setting(
        default=0.7, low=0, high=1, doc="box IoU above which a mask of another crop is a duplicate"
    )
    predicted_iou_floor: float = setting(default=0.5, low=-10, high=10, doc="rows are stored above it (strictly)")
    stability_floor: float | None = setting(default=None, low=0, high=1, doc="rows are stored at or above it")
    stability_offset: float = setting(
        default=1.0, low=0, high=100, doc="logits by which the stability score moves the cut"
    )
    nms: Literal["box", "mask"] = setting(default="box", doc="what the IoU of NMS is taken of")
    nms_iou: float = setting(
        default=0.7, low=0, high=1, doc="IoU above which the lower-scored of two proposals is a duplicate"
    )
    pool: Literal["exact", "distinct"] = setting(
        default="exact", doc="rows stored: exact, all above the floors; distinct, those that also survive NMS"
    )
    regions: Literal["all", "largest"] = setting(
        default="all",
        doc="all, or only the largest connected region of each mask, whose strays elsewhere hide duplicates from NMS",
    )
    min_region_area_px: int = setting(
        default=0, low=0, doc="holes and islands below it are removed; needs pool distinct"
    )
    refine: bool = setting(
        default=False,
        doc="ask each distinct mask again with its point and its box, which the model has to take together, keep the answer, NMS again; needs pool distinct",
        before=False,
    )
    jitter_prompts: int = setting(
        default=10, low=0, high=1000, doc="moved prompts per distinct proposal; 0 turns jitter off"
    )
    jitter_sigma_px: float = setting(default=5.0, low=0, high=1000, doc="standard deviation of a move, in image pixels")
    features: bool = setting(default=True, doc="measure hypothesis spread, solidity, roughness and contrast")
    seed: int = setting(
        default=0, low=0, high=2**63 - 1, doc="seed of the jitter, mixed with each proposal's own identity"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        after_nms = {"min_region_area_px": "cleaned", "refine": "refined"}
        for name, masks in after_nms.items():
            if (value := getattr(self, name)) and self.pool != "distinct":
                raise SettingError(
                    f"ProposeConfig.{name}: {masks} masks cannot be replayed from before NMS; "
                    f"got {value} with pool='exact': set pool='distinct', or {name}={type(value)()!r}"
                )

    def in_words(self) -> str:
        """Return what decides which proposals are distinct: the floor, the grid, looks and NMS."""
        spacing, crops = self.spacing_px, self.crop_n_layers
        grid = f"a point every {spacing:g} px" if spacing else f"{self.points_per_side} points a side"
        layers = f", {crops} layer{'s' * (crops > 1)} of crops" if crops else ""
        looks = ", each mask asked again" if self.refine else ""
        floor = f"predicted IoU above {self.predicted_iou_floor:g}"
        return f"{floor}, {grid}{layers}{looks}, {self.nms} NMS at {self.nms_iou:g}"


@settings
class TriageConfig(Settings):
    """Thresholds and reasons that sort distinct proposals into auto-accepted, flagged and discarded."""

    predicted_iou: float = setting(default=0.88, low=-10, high=10, doc="accepted above it (strictly)")
    predicted_iou_margin: float = setting(default=0.08, low=0, high=10, doc="flagged within this below the threshold")
    jitter_stability: float | None = setting(default=0.92, low=-100, high=1, doc="accepted at or above it")
    jitter_stability_margin: float = setting(
        default=0.07, low=0, high=10, doc="flagged within this below the threshold"
    )
    stability_score: float | None = setting(default=None, low=0, high=1, doc="accepted at or above it (logit offset)")
    stability_score_margin: float = setting(default=0.0, low=0, high=1, doc="flagged within this below the threshold")
    min_area_px: int = setting(default=100, low=0, doc="smaller masks are discarded")
    max_area_share: float = setting(
        default=0.9, low=0, high=1, doc="masks of a larger share of the image are discarded"
    )
    nms: Literal["box", "mask"] = setting(default="box", doc="what the IoU of NMS is taken of")
    nms_iou: float = setting(
        default=0.7, low=0, high=1, doc="IoU above which the lower-scored of two proposals is a duplicate"
    )
    pool: Literal["distinct", "exact"] = setting(
        default="distinct",
        doc="distinct: NMS first, thresholds filter; exact: thresholds first, then NMS, as a fresh run would",
    )
    unusual_solidity: float | None = setting(
        default=0.6, low=0, high=1, doc="reason unusual_shape below this share of the convex hull"
    )
    unusual_size_z: float | None = setting(
        default=3.5,
        low=0,
        doc="reason unusual_size beyond this robust z of log area among the image's distinct proposals",
    )
    overlap: float | None = setting(
        default=0.5, low=0, high=1, doc="reason overlaps above it, with a better or existing mask"
    )
    overlap_measure: Literal["iou", "smaller"] = setting(
        default="iou", doc="iou, or intersection over the smaller mask (finds nested masks)"
    )
    ambiguous_spread: float | None = setting(
        default=0.8,
        low=0,
        high=1,
        doc="reason ambiguous above this 1 − mean IoU with the other masks of the same prompt",
    )
    border_px: int | None = setting(
        default=0, low=0, doc="reason touches_border at most this far from the image's border"
    )
    low_contrast: float | None = setting(
        default=0.5, low=0, doc="reason low_contrast below it (in pooled standard deviations)"
    )
    ragged_roughness: float | None = setting(default=0.35, low=0, doc="reason ragged above it")
    confidence: float | None = setting(
        default=None, low=0, high=1, doc="p(right) that counts as sure above it (strictly); see confidence_rule"
    )
    confidence_rule: Literal["doubts", "decides"] = setting(
        default="doubts",
        doc="doubts: masks that are not sure are flagged; decides: those that are sure are accepted, and no others",
    )
    confidence_model: int | None = setting(
        default=None, low=1, doc="record of the project whose model gives the confidence; see project.adopt_verifier"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.confidence_rule != "decides":
            return
        if self.confidence is None:
            raise SettingError(
                "TriageConfig.confidence_rule: 'decides' accepts what is surer than a confidence, and none is set"
                " (confidence=None): set one, or go by scores, with thresholds of your own and confidence_rule='doubts'"
            )
        if self.pool == "exact":
            raise SettingError(
                "TriageConfig.confidence_rule: 'decides' needs pool='distinct', got pool='exact', where nobody knows which"
                " of the rows that fail are distinct"
            )


@dataclasses.dataclass(frozen=True)
class Preset:
    """A named pair of settings; `propose` and `triage` take it wherever they take their own settings.

    refined : thresholds of proposals that were asked a second time (`ProposeConfig.refine`); None: those of `triage`
    """

    name: str
    propose: ProposeConfig
    triage: TriageConfig
    refined: TriageConfig | None = None

    def thresholds(self, floors: ProposeConfig) -> TriageConfig:
        """Return the thresholds for what is proposed with such settings."""
        return self.refined if self.refined is not None and floors.refine else self.triage


_DOUBTS = ("unusual_solidity", "unusual_size_z", "overlap", "ambiguous_spread")
_NO_REASONS: dict[str, Any] = dict.fromkeys((*_DOUBTS, "border_px", "low_contrast", "ragged_roughness"))
_OFFICIAL_TRIAGE: dict[str, Any] = {
    "jitter_stability": None,
    "predicted_iou": 0.88,
    "predicted_iou_margin": 0.0,
    "stability_score": 0.95,
    "min_area_px": 0,
    "max_area_share": 1.0,
    **_NO_REASONS,
}
_OFFICIAL_PROPOSE: dict[str, Any] = {
    "decoder": "original",
    "predicted_iou_floor": 0.88,
    "stability_floor": 0.95,
    "pool": "distinct",
    "jitter_prompts": 0,
    "features": False,
}


def _stage2() -> Preset:
    """The seed's thresholds: predicted IoU, jitter stability, NMS and area limits of Stage 2."""
    return Preset("stage2", ProposeConfig(), TriageConfig())


def _paper() -> Preset:
    """Kirillov et al. 2023, Segment Anything, arXiv 2304.02643, section 4 and appendix B."""
    propose = ProposeConfig(
        **{**_OFFICIAL_PROPOSE, "features": True},
        crop_n_layers=2,
        crop_points_downscale=2,
        min_region_area_px=100,
    )
    # the paper drops masks that cover 95 % of the image or more; the largest double below 0.95 makes "at most" mean that
    return Preset("paper", propose, TriageConfig(**{**_OFFICIAL_TRIAGE, "max_area_share": math.nextafter(0.95, 0)}))


def _official() -> Preset:
    """The defaults of SamAutomaticMaskGenerator in facebookresearch/segment-anything."""
    return Preset("official", ProposeConfig(**_OFFICIAL_PROPOSE), TriageConfig(**_OFFICIAL_TRIAGE))


def _bundled() -> Preset:
    """Grid, floors, NMS and margins read off scenes drawn by `workbench.sam.scenes`, by the rules of `benchmarks/fit_preset.py`.

    On scenes at most one in twenty masks above 0.86 is wrong; lower scores at which a quarter is right are flagged. Four crops
    show small things larger: in less time than 48 × 48 points on the whole image they find more, and more exactly.
    What is asked a second time, as cycles do, is accepted where one in forty is wrong on scenes: nobody has looked at a
    mask of the user's yet, and what the first cycle accepts the model learns from. What moved prompts find otherwise is
    flagged, hardly ever discarded, once or twice: how far they move and how large masks are differs from run to run.
    Set by hand: the floor of 0.4, beside which the rule reads off a little less or more for each set of weights; the second
    margin of jitter; the area limits, as small as true masks of scenes are; how far prompts move, the smallest things
    being 5 px wide.
    """
    propose = ProposeConfig(
        points_per_side=20,
        crop_n_layers=1,
        crop_nms_iou=0.5,
        predicted_iou_floor=0.4,
        regions="largest",
        nms_iou=0.5,
        jitter_sigma_px=2.0,
    )
    triage = TriageConfig(
        predicted_iou=0.86,
        predicted_iou_margin=0.46,
        jitter_stability=0.76,
        jitter_stability_margin=0.75,
        min_area_px=20,
        nms_iou=0.5,
    )
    refined = triage.replace(
        predicted_iou=0.93, predicted_iou_margin=0.43, jitter_stability=0.85, jitter_stability_margin=0.84
    )
    return Preset("bundled", propose, triage, refined)


_PRESETS: dict[str, Callable[[], Preset]] = {
    "stage2": _stage2,
    "paper": _paper,
    "official": _official,
    "bundled": _bundled,
}
PRESET_NAMES = tuple(_PRESETS)


def preset(name: str) -> Preset:
    """Return the named pair of settings: "stage2" (default), "paper", "official" or "bundled".

    Raises
    ------
    SettingError : for another name, with the nearest one
    """
    make = _PRESETS.get(name)
    if make is None:
        hint = did_you_mean(name, PRESET_NAMES)
        raise SettingError(f"preset: expected one of {', '.join(PRESET_NAMES)}, got {name!r}{hint}")
    return make()


def preset_for(model_id: str) -> Preset:
    """Return the preset that fits a model: "bundled" for the SAM that comes along, "stage2" for others."""
    return preset("bundled" if model_id.startswith("bundled-") else "stage2")


def propose_config(given: ProposeConfig | Preset | str | None) -> ProposeConfig:
    """Return proposal settings from settings, a preset, its name, or None for the default."""
    return _of(ProposeConfig, given, "propose")


def triage_config(given: TriageConfig | Preset | str | None, proposed: ProposeConfig | None = None) -> TriageConfig:
    """Return triage settings from settings, a preset, its name, or None for the default.

    proposed : with which settings the masks were proposed, where that is known: a preset may have thresholds for each way
    """
    named = preset(given) if isinstance(given, str) else given
    return _of(TriageConfig, named.thresholds(proposed) if proposed and isinstance(named, Preset) else named, "triage")


def _of(kind: type[S], given: object, half: str) -> S:
    if isinstance(given, kind):
        return given
    if given is None:
        return kind()
    if isinstance(given, str):
        given = preset(given)
    if isinstance(given, Preset):
        return cast(S, getattr(given, half))
    raise SettingError(f"expected {kind.__name__}, a preset or its name, got {type(given).__name__}: {given!r}")
