"""load_sam: names, checkpoints good and bad, devices, precisions, and ids that follow the weights."""

from __future__ import annotations

import copy
import io
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from random_sams import random_sam
from safetensors.torch import save_file
from torch import Tensor

from workbench.sam.bundled import EARLIER_BLOCKS, build_bundled
from workbench.sam.cache import EmbeddingCache
from workbench.sam.checkpoints import ARCHITECTURES, load_checkpoint, looks_like
from workbench.sam.load import CheckpointError, load_sam, model_id, resolve_device, resolve_dtype, weights_hash
from workbench.sam.predict import Predictor
from workbench.sam.segmenter import Segmenter


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models run faster on one thread; much so where many tests share few cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def layout(name: str) -> dict[str, Tensor]:
    """Return tensors of the right names and shapes that share one number each, so that files stay small."""
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in ARCHITECTURES[name].build({}).state_dict().items()}
    return {key: torch.full((), 0.5).expand(shape) for key, shape in shapes.items()}


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    assert path.stat().st_size < 2_000_000
    return path


class Sting:
    """Runs code where a pickle of it is read carelessly."""

    def __init__(self, victim: str) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.victim,)


# ---- checkpoints that fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "tensors"), [("vit_b", 314), ("vit_l", 482), ("vit_h", 594)])
def test_load_checkpoint__official_layouts_without_drawing_or_allocating(
    name: str, tensors: int, tmp_path: Path
) -> None:
    path = saved(tmp_path / f"{name}.pth", layout(name))
    state = torch.random.get_rng_state()
    sam = load_checkpoint(name, path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(sam.state_dict()) == tensors
    assert not sam.training
    everything = [*sam.parameters(), *sam.buffers()]
    assert all(tensor.device.type == "cpu" for tensor in everything)
    assert all(float(tensor.detach()[(0,) * tensor.ndim]) == 0.5 for tensor in sam.state_dict().values())
    assert sam.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert all(p.requires_grad for p in sam.parameters())


@pytest.mark.slow
def test_load_sam__vit_b_gets_its_name_and_hash(tmp_path: Path) -> None:
    made = load_sam("vit_b", saved(tmp_path / "b.pth", layout("vit_b")), device="cpu")
    assert re.fullmatch(r"vit_b-[0-9a-f]{12}", made.model_id)
    assert made.model.image_encoder.img_size == 1024
    assert load_sam(made.model).model_id == made.model_id


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_load_sam__mobile_sam_comes_back_as_saved(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    source = ARCHITECTURES["mobile_sam"].build({})
    path = tmp_path / f"mobile_sam{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(source.state_dict(), path)
    made = load_sam("vit_t", path, device="cpu")
    assert made.model_id == load_sam(source).model_id
    assert made.model_id.startswith("mobile_sam-")
    for key, tensor in made.model.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[key]), key
    window = made.model.image_encoder.layers[2].blocks[0].attn.bias_index  # not in the file: must not stay on meta
    assert window.device.type == "cpu"
    assert window.max() == 195


@pytest.mark.parametrize("wrapped", ["model", "state_dict", "model_state_dict"])
def test_load_checkpoint__takes_off_what_training_scripts_wrap_around(tmp_path: Path, wrapped: str) -> None:
    tensors = build_bundled().state_dict()
    torch.save({wrapped: {f"module.{k}": v for k, v in tensors.items()}, "epoch": 3}, tmp_path / "run.pth")
    sam = load_checkpoint("bundled", tmp_path / "run.pth")
    assert all(torch.equal(sam.state_dict()[key], tensor) for key, tensor in tensors.items())


def test_load_checkpoint__half_precision_becomes_float32(tmp_path: Path) -> None:
    tensors = {key: tensor.half() for key, tensor in build_bundled().state_dict().items()}
    save_file(tensors, tmp_path / "half.safetensors")
    sam = load_checkpoint("bundled", tmp_path / "half.safetensors")
    assert {p.dtype for p in sam.parameters()} == {torch.float32}


def test_load_sam__bundled_weights_of_fewer_blocks_are_those_of_an_earlier_release(tmp_path: Path) -> None:
    """A campaign trained them: they keep their name and answers when the package's own model grows."""
    torch.manual_seed(0)
    earlier = build_bundled(EARLIER_BLOCKS[-1])
    save_file(earlier.state_dict(), tmp_path / "version.safetensors")
    found, image = load_sam("bundled", tmp_path / "version.safetensors"), np.zeros((40, 60, 3), np.uint8)
    assert len(found.model.image_encoder.stage16) == 9
    assert found.model_id == load_sam(earlier).model_id
    assert found.model_id.startswith("bundled-")
    assert torch.equal(found.embed(image).features, load_sam(earlier).embed(image).features)


def test_load_sam__bundled_needs_no_file() -> None:
    made: Segmenter = load_sam(device="cpu")
    assert made.model_id.startswith("bundled-")
    assert load_sam("bundled").model_id == made.model_id


# ---- checkpoints that do not --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"), [("vit_b", "vit_l"), ("vit_l", "vit_h"), ("vit_h", "mobile_sam"), ("mobile_sam", "bundled")]
)
def test_load_sam__weights_of_another_architecture_are_recognised(asked: str, given: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", layout(given))
    with pytest.raises(CheckpointError) as caught:
        load_sam(asked, path)
    message = str(caught.value)
    assert str(path) in message
    assert f"expected the {len(layout(asked))} tensors of {asked}, found {len(layout(given))}" in message
    assert f'looks like {given}: use load_sam("{given}"' in message
    assert ARCHITECTURES[asked].file in message


def test_load_sam__first_mismatched_tensor_is_shown_with_both_shapes(tmp_path: Path) -> None:
    tensors = layout("vit_b")
    tensors["mask_decoder.mask_tokens.weight"] = torch.zeros(7, 256)
    with pytest.raises(CheckpointError, match=r"mask_decoder\.mask_tokens\.weight is \(7, 256\) instead of \(4, 256\)"):
        load_sam("vit_b", saved(tmp_path / "a.pth", tensors))
    tensors = layout("vit_b")
    del tensors["mask_decoder.mask_tokens.weight"]
    with pytest.raises(
        CheckpointError, match=r"1 missing, 0 unknown; first, mask_decoder\.mask_tokens\.weight is miss"
    ):
        load_sam("vit_b", saved(tmp_path / "b.pth", tensors))
    tensors = {**layout("vit_b"), "optimizer": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="optimizer is not part of vit_b") as caught:
        load_sam("vit_b", saved(tmp_path / "c.pth", tensors))
    assert "looks like" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("mask_decoder.hf_token.weight", "SAM-HQ"),
        ("image_encoder.trunk.patch_embed.proj.weight", "SAM 2"),
        ("vision_encoder.pos_embed", "transformers"),
    ],
)
def test_looks_like__other_families(key: str, answer: str) -> None:
    found = looks_like({key: torch.zeros(1)})
    assert found is not None
    assert answer in found


def test_looks_like__nothing_known() -> None:
    assert looks_like({"conv1.weight": torch.zeros(1)}) is None


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "empty", "text", "list", "no tensors", "half a zip", "half a safetensors"]
)
def test_load_sam__files_that_are_no_checkpoint(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("x.safetensors" if kind.endswith("safetensors") else "x.pth")
    whole = io.BytesIO()
    torch.save({"a": torch.zeros(5000)}, whole)
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<!DOCTYPE html> sign in to download\n" * 40)
    elif kind == "list":
        torch.save([torch.zeros(3)], path)
    elif kind == "no tensors":
        torch.save({"epoch": 3, "loss": 0.5}, path)
    elif kind == "half a zip":
        path.write_bytes(whole.getvalue()[:9000])
    elif kind == "half a safetensors":
        save_file({"a": torch.zeros(5000)}, path)
        path.write_bytes(path.read_bytes()[:9000])
    told = {
        "missing": "no such file",
        "folder": "found a folder",
        "empty": "truncated or damaged file of 0 bytes",
        "text": "something else than a PyTorch file, beginning with b'<!DOCTYPE html>",
        "list": "found a list",
        "no tensors": "found a dict with the keys 'epoch', 'loss'",
        "half a zip": "truncated or damaged file of 9,000 bytes",
        "half a safetensors": "truncated or damaged file of 9,000 bytes",
    }[kind]
    with pytest.raises(CheckpointError, match=re.escape(told)) as caught:
        load_sam("vit_b", path)
    message = str(caught.value)
    assert str(path) in message
    assert "sam_vit_b_01ec64.pth (375 MB)" in message
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("legacy", [True, False])
def test_load_sam__pickled_code_is_never_run(tmp_path: Path, legacy: bool) -> None:
    victim, path = tmp_path / "victim", tmp_path / "bad.pth"
    if legacy:
        path.write_bytes(pickle.dumps({"a": Sting(str(victim))}))
    else:
        torch.save({"a": Sting(str(victim))}, path)
    with pytest.raises(CheckpointError, match="asks for code to be run, which is refused"):
        load_sam("vit_b", path)
    assert not victim.exists()


def test_load_sam__official_names_want_a_file_and_nothing_is_downloaded() -> None:
    with pytest.raises(CheckpointError, match=r"expected checkpoint=.*sam_vit_h_4b8939\.pth.*nothing is downloaded"):
        load_sam("vit_h")
    with pytest.raises(CheckpointError, match="MobileSAM on GitHub"):
        load_sam("mobile_sam")


# ---- names, devices, precisions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "near"), [("vith", "vit_h"), ("ViT-B", "vit_b"), ("mobilesam", "mobile_sam")])
def test_load_sam__unknown_name_gets_the_nearest(given: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"got {given!r}; did you mean {near!r}"):
        load_sam(given)


def test_load_sam__a_model_is_kept_as_it_is(tmp_path: Path) -> None:
    sam = random_sam().train()
    made = load_sam(sam, cache=EmbeddingCache(tmp_path))
    assert isinstance(made, Predictor)
    assert made.model is sam
    assert not sam.training
    assert re.fullmatch(r"sam-[0-9a-f]{12}", made.model_id)
    assert made.dtype is torch.float32
    assert made.cache is not None
    assert load_sam(build_bundled()).model_id.startswith("bundled-")


def test_load_sam__what_is_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"segment_anything Sam or a SAM of transformers, got torch\.nn\..*Linear"):
        load_sam(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="a model brings its own weights"):
        load_sam(random_sam(), checkpoint="x.pth")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"expected float32 weights, got torch\.float16"):
        load_sam(random_sam().half())


def test_resolve_device__names_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="'cuda:2' is not there; this machine has cpu, cuda:0, cuda:1: take one"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"'cuda' is not there; this machine has cpu: take one"):
        load_sam(random_sam(), device="cuda")
    with pytest.raises(ValueError, match="got 'gpu'"):
        resolve_device("gpu")


def test_resolve_dtype__half_on_cuda_only(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert resolve_dtype("auto", cuda) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert resolve_dtype("auto", cuda) is torch.float16
    assert resolve_dtype("auto", cpu) is torch.float32
    assert resolve_dtype("bfloat16", cpu) is resolve_dtype(torch.bfloat16, cpu) is torch.bfloat16
    with pytest.raises(ValueError, match=r"dtype: expected .auto.*got 'int8'"):
        load_sam(random_sam(), dtype="int8")
    with pytest.raises(ValueError, match=r"got torch\.float64"):
        resolve_dtype(torch.float64, cpu)


# ---- ids ----------------------------------------------------------------------------------------------------------


def test_weights_hash__equal_exactly_when_architecture_and_weights_are() -> None:
    sam = random_sam(0)
    wanted = weights_hash(sam)
    assert re.fullmatch("[0-9a-f]{64}", wanted)
    assert weights_hash(random_sam(0)) == wanted
    assert weights_hash(copy.deepcopy(sam).train()) == wanted
    assert model_id("sam", sam) == f"sam-{wanted[:12]}"
    others = {"seed": random_sam(1), "size": random_sam(0, input_px=64)}
    bit = others["one bit"] = copy.deepcopy(sam)
    bit.mask_decoder.iou_token.weight.data.view(torch.int32)[0, 0] ^= 1
    buffer = others["a buffer that is not saved"] = copy.deepcopy(sam)
    buffer.pixel_mean += 1
    heads = others["heads, which no tensor shows"] = copy.deepcopy(sam)
    heads.mask_decoder.transformer.final_attn_token_to_image.num_heads = 1
    half = others["type"] = copy.deepcopy(sam)
    half.half()
    activation = others["activation"] = copy.deepcopy(sam)
    activation.mask_decoder.output_upscaling[2] = torch.nn.ReLU()
    hashes = {name: weights_hash(model) for name, model in others.items()}
    assert len({wanted, *hashes.values()}) == 1 + len(others), hashes


def test_weights_hash__same_in_another_process_which_imports_no_transformers() -> None:
    code = (
        "import sys; from random_sams import random_sam; from workbench.sam.load import load_sam;"
        "print(load_sam(random_sam(0)).model_id, 'transformers' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.split() == [model_id("sam", random_sam(0)), "False"]
