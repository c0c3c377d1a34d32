"""Settings: ranges with words, unknown keywords with the nearest, their way to and from TOML and JSON, presets."""

from __future__ import annotations

import dataclasses
import inspect
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st

from workbench.config import (
    PRESET_NAMES,
    Preset,
    ProposeConfig,
    SettingError,
    Settings,
    TriageConfig,
    preset,
    propose_config,
    triage_config,
)
from workbench.settings import differences, setting
from workbench.settings import settings as made

KINDS = [ProposeConfig, TriageConfig]
NUMBERS = [
    pytest.param(kind, field, id=f"{kind.__name__}.{field.name}")
    for kind in KINDS
    for field in dataclasses.fields(kind)
    if field.metadata["low"] is not None or field.metadata["high"] is not None
]


@pytest.mark.parametrize(("kind", "field"), NUMBERS)
def test_range__ends_are_inside_and_beyond_is_refused(kind, field):
    extra = {"pool": "distinct"}  # min_region_area_px asks for it
    for end, step in (("low", -1), ("high", 1)):
        limit = field.metadata[end]
        if limit is None:
            continue
        assert getattr(kind(**{field.name: limit, **extra}), field.name) == limit
        with pytest.raises(SettingError) as caught:
            kind(**{field.name: limit + step, **extra})
        assert str(caught.value).startswith(f"{kind.__name__}.{field.name}: expected [")
        assert str(caught.value).endswith(f"got {limit + step!r}")
        assert str(limit) in str(caught.value)


@pytest.mark.parametrize(("kind", "field"), NUMBERS)
@pytest.mark.parametrize(
    "value",
    ["0.5", True, np.True_, math.nan, math.inf, np.array([1, 2]), [1], 1j, b"1"],
    ids=repr,
)
def test_number__other_types_are_refused(kind, field, value):
    with pytest.raises(SettingError, match=f"{kind.__name__}.{field.name}: expected a"):
        kind(**{field.name: value})


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (ProposeConfig(points_per_side=16.0), "points_per_side", 16),
        (ProposeConfig(points_per_side=np.int64(16)), "points_per_side", 16),
        (ProposeConfig(seed=2**53 + 1), "seed", 2**53 + 1),
        (ProposeConfig(seed=2**63 - 1), "seed", 2**63 - 1),
        (TriageConfig(overlap=1), "overlap", 1.0),
        (TriageConfig(overlap=np.float64(0.25)), "overlap", 0.25),
    ],
)
def test_number__is_stored_as_the_declared_type(settings, name, value):
    stored = getattr(settings, name)
    assert stored == value
    assert type(stored) is type(value)


@pytest.mark.parametrize("value", [16.5, 10**400])
def test_whole_number__others_are_refused(value):
    with pytest.raises(SettingError, match=r"ProposeConfig\.points_per_side: expected"):
        ProposeConfig(points_per_side=value)


def test_number__too_large_for_a_float():
    with pytest.raises(SettingError, match=r"TriageConfig\.predicted_iou: expected a finite number \[-10 to 10\]"):
        TriageConfig(predicted_iou=10**400)


def test_none__only_where_it_means_off():
    assert TriageConfig(jitter_stability=None).jitter_stability is None
    with pytest.raises(SettingError, match=r"TriageConfig\.predicted_iou: expected a finite number .* got None"):
        TriageConfig(predicted_iou=None)
    with pytest.raises(SettingError, match="or None for off, got 'off'"):
        TriageConfig(jitter_stability="off")


@pytest.mark.parametrize("value", ["boxes", None, 3, ["box"], np.array(["box", "mask"])])
def test_choice__others_are_refused(value):
    with pytest.raises(SettingError, match=r"TriageConfig\.nms: expected one of 'box', 'mask', got"):
        TriageConfig(nms=value)


def test_choice__nearest():
    with pytest.raises(SettingError, match="did you mean 'box'"):
        TriageConfig(nms="boxes")


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_switch__wants_true_or_false(value):
    with pytest.raises(SettingError, match=r"ProposeConfig\.features: expected true or false, got"):
        ProposeConfig(features=value)


def test_unknown__nearest():
    with pytest.raises(SettingError, match="TriageConfig has no setting 'predicted_iuo'; did you mean 'predicted_iou'"):
        TriageConfig(predicted_iuo=0.9)
    with pytest.raises(SettingError, match="did you mean 'points_per_side'"):
        ProposeConfig(points_side=8)
    with pytest.raises(SettingError, match="has no setting 'zzz'; it has predicted_iou, predicted_iou_margin,"):
        TriageConfig(zzz=1)


def test_positional__refused():
    with pytest.raises(SettingError, match=r"keywords only, e.g. TriageConfig\(predicted_iou=0.88\); got \(0.9,\)"):
        TriageConfig(0.9)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TriageConfig().overlap = 0.3  # type: ignore[misc]


def test_cleaning__needs_the_distinct_pool():
    with pytest.raises(SettingError, match=r"min_region_area_px: .* got 5 with pool='exact': set pool='distinct'"):
        ProposeConfig(min_region_area_px=5)
    assert ProposeConfig(min_region_area_px=5, pool="distinct").min_region_area_px == 5


# To and from text

triage_settings = st.builds(
    TriageConfig,
    predicted_iou=st.floats(-10, 10),
    jitter_stability=st.none() | st.floats(-100, 1),
    min_area_px=st.integers(0, 2**60),
    unusual_size_z=st.none() | st.floats(0, 1e300),
    nms=st.sampled_from(["box", "mask"]),
    border_px=st.none() | st.integers(0, 9),
)
propose_settings = st.builds(
    ProposeConfig, seed=st.integers(0, 2**63 - 1), features=st.booleans(), spacing_px=st.none() | st.floats(1, 1e9)
)


@run(deadline=None)
@given(triage_settings | propose_settings)
def test_text__there_and_back(settings: Settings):
    kind = type(settings)
    assert kind.from_json(settings.to_json()) == settings
    assert kind.from_toml(settings.to_toml()) == settings
    assert kind.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_text__presets_there_and_back(name):
    for settings in (preset(name).propose, preset(name).triage):
        assert type(settings).from_toml(settings.to_toml()) == settings
        assert type(settings).from_json(settings.to_json()).digest == settings.digest


def test_text__some_settings_leave_the_others_at_their_defaults():
    assert TriageConfig.from_toml('overlap = "off"\nmin_area_px = 7\n') == TriageConfig(overlap=None, min_area_px=7)
    assert TriageConfig.from_json('{"overlap": null}') == TriageConfig(overlap=None)
    assert TriageConfig.from_json("{}") == TriageConfig.from_toml("") == TriageConfig()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "expected one JSON object, got text that does not parse"),
        ("[]", "expected one JSON object, got list"),
        ('{"overlp": 1}', "did you mean 'overlap'"),
        ('{"overlap": "0.5"}', "TriageConfig.overlap: expected a finite number"),
        ('{"overlap": 2}', "TriageConfig.overlap: expected [0 to 1], got 2"),
    ],
)
def test_json__bad(text, reason):
    with pytest.raises(SettingError) as caught:
        TriageConfig.from_json(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("overlap 0.5", "expected TOML, got text that does not parse"),
        ("overlp = 0.5", "did you mean 'overlap'"),
        ("overlap = nan", "TriageConfig.overlap: expected a finite number"),
        ("[triage]\noverlap = 0.5", "has no setting 'triage'"),
        ('predicted_iou = "off"', "TriageConfig.predicted_iou: expected a finite number"),
    ],
)
def test_toml__bad(text, reason):
    with pytest.raises(SettingError) as caught:
        TriageConfig.from_toml(text)
    assert reason in str(caught.value)


def test_digest__equal_exactly_when_the_settings_are():
    assert TriageConfig(overlap=1).digest == TriageConfig(overlap=1.0).digest
    assert len(TriageConfig().digest) == 12
    one_changed = [TriageConfig(predicted_iou=0.5), TriageConfig(nms="mask"), TriageConfig(overlap=None)]
    assert len({settings.digest for settings in [TriageConfig(), *one_changed]}) == 4


def test_replace__checks_and_leaves_the_original():
    settings = TriageConfig()
    assert settings.replace(overlap=None) == TriageConfig(overlap=None)
    assert settings == TriageConfig()
    with pytest.raises(SettingError, match=r"TriageConfig\.overlap: expected \[0 to 1\], got 3"):
        settings.replace(overlap=3)
    with pytest.raises(SettingError, match="did you mean 'overlap'"):
        settings.replace(overlaps=3)


@pytest.mark.parametrize("kind", KINDS)
def test_describe__a_line_each_with_default_and_meaning(kind):
    lines = kind.describe().splitlines()
    assert len(lines) == len(dataclasses.fields(kind))
    for line, field in zip(lines, dataclasses.fields(kind), strict=True):
        assert line.startswith(f"{field.name} = {field.default!r}")
        assert line.endswith(field.metadata["doc"])


# Presets


def test_presets__stage2_is_the_default():
    assert TriageConfig() == preset("stage2").triage
    assert ProposeConfig() == preset("stage2").propose


def test_presets__the_thresholds_of_the_seed():
    triage, propose = preset("stage2").triage, preset("stage2").propose
    assert (triage.predicted_iou, triage.jitter_stability, triage.stability_score) == (0.88, 0.92, None)
    assert (triage.predicted_iou_margin, triage.jitter_stability_margin) == (0.08, 0.07)
    assert (triage.min_area_px, triage.max_area_share, triage.nms, triage.nms_iou) == (100, 0.9, "box", 0.7)
    assert (propose.points_per_side, propose.jitter_prompts, propose.jitter_sigma_px) == (32, 10, 5.0)
    assert (propose.predicted_iou_floor, propose.nms_iou) == (0.5, 0.7)


def test_presets__official_is_the_official_generator():
    generator = pytest.importorskip("segment_anything").SamAutomaticMaskGenerator
    theirs = {name: p.default for name, p in inspect.signature(generator).parameters.items()}
    propose, triage = preset("official").propose, preset("official").triage
    assert propose.points_per_side == theirs["points_per_side"]
    assert propose.points_per_batch == theirs["points_per_batch"]
    assert propose.predicted_iou_floor == triage.predicted_iou == theirs["pred_iou_thresh"]
    assert propose.stability_floor == triage.stability_score == theirs["stability_score_thresh"]
    assert propose.stability_offset == theirs["stability_score_offset"]
    assert propose.nms_iou == triage.nms_iou == theirs["box_nms_thresh"]
    assert propose.crop_n_layers == theirs["crop_n_layers"]
    assert propose.crop_nms_iou == theirs["crop_nms_thresh"]
    assert propose.crop_overlap_ratio == theirs["crop_overlap_ratio"]
    assert propose.crop_points_downscale == theirs["crop_n_points_downscale_factor"]
    assert propose.min_region_area_px == theirs["min_mask_region_area"]
    assert triage.jitter_stability is None
    assert (triage.min_area_px, triage.max_area_share) == (0, 1.0)


def test_presets__paper():
    propose, triage = preset("paper").propose, preset("paper").triage
    assert (triage.predicted_iou, triage.stability_score, triage.jitter_stability) == (0.88, 0.95, None)
    assert propose.min_region_area_px == 100
    assert [propose.points_per_side // propose.crop_points_downscale**k for k in range(propose.crop_n_layers + 1)] == [
        32,
        16,
        8,
    ]
    # masks of 95 % and more are dropped, whatever the size of the image
    for pixels in (100, 20, 12_000, 1_000_000, 2**28 // 20 * 20):
        assert triage.max_area_share * pixels < pixels * 95 // 100
        assert triage.max_area_share * pixels >= pixels * 95 // 100 - 1


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_presets__thresholds_of_what_was_asked_once_or_twice(name):
    pair, once = preset(name), preset(name).propose.replace(pool="distinct", min_region_area_px=0)
    assert pair.thresholds(once) == pair.triage
    refined = pair.thresholds(once.replace(refine=True))
    assert refined == (pair.triage if pair.refined is None else pair.refined)
    assert (refined != pair.triage) == (name == "bundled")
    moved = {"predicted_iou", "predicted_iou_margin", "jitter_stability", "jitter_stability_margin"}
    assert {key for key, value in refined.to_dict().items() if pair.triage.to_dict()[key] != value} <= moved


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_presets__in_every_form(name):
    pair = preset(name)
    assert isinstance(pair, Preset)
    assert pair.name == name
    for given_as in (name, pair, pair.propose):
        assert propose_config(given_as) == pair.propose
    for given_as in (name, pair, pair.triage):
        assert triage_config(given_as) == pair.triage


def test_presets__unknown():
    with pytest.raises(SettingError, match=r"expected one of stage2, paper, .* got 'offical'; did you mean 'official'"):
        preset("offical")


def test_settings__of_the_wrong_kind():
    with pytest.raises(SettingError, match="expected TriageConfig, a preset or its name, got ProposeConfig"):
        triage_config(ProposeConfig())  # type: ignore[arg-type]
    assert triage_config(None) == TriageConfig()
    assert propose_config(None) == ProposeConfig()


def test_config__imports_nothing_heavy():
    code = "import sys, workbench.config; print(sorted({'numpy', 'pandas', 'torch', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_differences__are_told_by_part():
    before = {"train": {"steps": 12, "views": 2}, "pools": {"test": ["a", "b"], "train": ["c"]}, "model_id": "m"}
    after = {"train": {"steps": None, "views": 2}, "pools": {"test": ["a", "d"], "train": ["c", "e"]}, "model_id": "m"}
    assert differences(before, after) == [
        "pools.test: 2 of them, now 2 others",
        "pools.train: 1 of them, now 2",
        "train.steps: 12, now off",
    ]
    assert differences(before, before) == []


def test_settings__that_came_later_are_read_as_what_was_done_before_and_rename_nothing():
    @made
    class Later(Settings):
        first: int = setting(default=1, doc="")
        added: float = setting(default=0.5, doc="", before=0.0)

    assert Later.from_dict(Later.stored({"first": 2})) == Later(first=2, added=0.0)
    assert Later.stored({"first": 2, "added": 0.3}) == {"first": 2, "added": 0.3}
    assert Later(added=0.0).digested() == {"first": 1}
    assert Later().digested() == {"first": 1, "added": 0.5}
