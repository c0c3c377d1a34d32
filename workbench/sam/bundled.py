"""The bundled SAM: a `segment_anything` `Sam` with a small convolutional encoder, its weights and their card.

The encoder works at strides 4, 8, 16 and 32 and gives one embedding at stride 16; since it is convolutional, it can be
trained on windows of the 512 px input frame and run on the whole frame. Prompt encoder and transformer are
`segment_anything`'s own classes and the mask decoder is one that computes the same in another order, so that the official
predictor and mask generator run on it as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from segment_anything.modeling import PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.outputs import whole
from workbench.sam.sharing import SharingMaskDecoder

IMG_SIZE_PX = 512
STRIDE_PX = 16
GRID = IMG_SIZE_PX // STRIDE_PX
WIDTH = 96
BLOCKS = {"stage8": 8, "stage16": 14, "stage32": 6}
"""Blocks of the encoder's stages."""
EARLIER_BLOCKS = ({"stage8": 3, "stage16": 5, "stage32": 2}, {"stage8": 5, "stage16": 8, "stage32": 4})
"""The same of weights that came with the package before, and of what was trained from them."""
WEIGHTS = Path(__file__).parent / "weights" / "bundled.safetensors"


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every pixel; statistics do not depend on the image's size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return y


class FineBlock(nn.Module):
    """Residual block of two dense 3×3 convolutions: at stride 4 faster on CPUs than a depthwise one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y: Tensor = self.second(F.gelu(self.first(self.norm(x))))
        return x + y


class WideBlock(nn.Module):
    """ConvNeXt block: depthwise 7×7, layer norm, widening MLP (Liu et al. 2022, A ConvNet for the 2020s, fig. 4)."""

    def __init__(self, channels: int, widening: int = 3) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, widening * channels)
        self.narrow = nn.Linear(widening * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.widen(y)))
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out


def standardise(x: Tensor) -> Tensor:
    """Return the image beside a copy of zero mean and unit deviation, its tails compressed.

    A dim micrograph and a bright one then look alike to the first layer. Padding is exactly zero in every channel (no
    8-bit value is, once `pixel_mean` is taken off) and stays out of the statistics.

    Parameters
    ----------
    x : (B, 3, H, W) float, normalised by pixel_mean and pixel_std

    Returns
    -------
    (B, 6, H, W) float
    """
    real = (x != 0).any(dim=1, keepdim=True).to(x.dtype)
    count = real.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
    mean = (x * real).sum(dim=(2, 3), keepdim=True) / count
    centred: Tensor = (x - mean) * real
    deviation = (centred.square().sum(dim=(1, 2, 3), keepdim=True) / (3 * count)).sqrt()
    even: Tensor = torch.asinh(centred / (deviation + 0.02))
    return torch.cat([x, even], dim=1)


class BundledEncoder(nn.Module):
    """Image encoder: (B, 3, H, W), normalised, H and W multiples of 32, to an embedding (B, 96, H/16, W/16).

    blocks : how many each of its stages has, as BLOCKS
    """

    def __init__(self, blocks: Mapping[str, int] = BLOCKS) -> None:
        super().__init__()
        self.img_size = IMG_SIZE_PX
        self.stem = nn.Sequential(
            nn.Conv2d(6, 24, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(24, 48, 3, stride=2, padding=1)
        )
        self.stage4 = nn.Sequential(FineBlock(48), FineBlock(48))
        self.stage8 = nn.Sequential(nn.Conv2d(48, 96, 2, stride=2), *(WideBlock(96) for _ in range(blocks["stage8"])))
        self.stage16 = nn.Sequential(
            nn.Conv2d(96, 192, 2, stride=2), *(WideBlock(192) for _ in range(blocks["stage16"]))
        )
        self.stage32 = nn.Sequential(
            nn.Conv2d(192, 256, 2, stride=2), *(WideBlock(256) for _ in range(blocks["stage32"]))
        )
        self.from4 = nn.Conv2d(48, WIDTH, 4, stride=4)
        self.from8 = nn.Conv2d(96, WIDTH, 2, stride=2)
        self.from16 = nn.Conv2d(192, WIDTH, 1)
        self.from32 = nn.Conv2d(256, WIDTH, 1)
        self.fuse = nn.Sequential(WideBlock(WIDTH), nn.Conv2d(WIDTH, WIDTH, 3, padding=1), ChannelNorm(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding at stride 16."""
        x = standardise(x).contiguous(memory_format=torch.channels_last)
        x4 = self.stage4(self.stem(x))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.from32(self.stage32(x16))
        wide = F.interpolate(x32, scale_factor=2, mode="bilinear", align_corners=False)
        y: Tensor = self.fuse(self.from4(x4) + self.from8(x8) + self.from16(x16) + wide)
        return y.contiguous()


class BundledSam(Sam):  # type: ignore[misc]
    """A `Sam` that leaves out a resampling which changes nothing."""

    def postprocess_masks(self, masks: Tensor, input_size: tuple[int, ...], original_size: tuple[int, ...]) -> Tensor:
        """Return logits (B, M, h, w) at the size of the image, bit for bit as `Sam` does.

        It resamples them to the input's size and then to the image's: once is enough for an image whose longer side is as
        long as the input's.
        """
        if tuple(input_size) != tuple(original_size):
            published: Tensor = super().postprocess_masks(masks, input_size, original_size)
            return published
        side_px = self.image_encoder.img_size
        square = F.interpolate(masks, (side_px, side_px), mode="bilinear", align_corners=False)
        return square[..., : input_size[0], : input_size[1]]


def blocks_of(tensors: Iterable[str]) -> dict[str, int]:
    """Return how many blocks the stages have in weights of these names; BLOCKS where they never came in such numbers."""
    names = [name.split(".") for name in tensors]
    parts = {s: len({n[2] for n in names if n[:2] == ["image_encoder", s] and len(n) > 2}) for s in BLOCKS}
    found = {stage: n - 1 for stage, n in parts.items()}  # the first part of a stage is no block
    return found if found in EARLIER_BLOCKS else BLOCKS


def build_bundled(blocks: Mapping[str, int] = BLOCKS) -> Sam:
    """Return the architecture with random weights, in eval mode; draws from torch's global generator.

    Parameters
    ----------
    blocks : of the encoder's stages, as BLOCKS
    """
    transformer = TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=2, mlp_dim=192, attention_downsample_rate=3)
    prompt_encoder = PromptEncoder(
        embed_dim=WIDTH,
        image_embedding_size=(GRID, GRID),
        input_image_size=(IMG_SIZE_PX, IMG_SIZE_PX),
        mask_in_chans=16,
    )
    # Positions are coded at many scales: small objects are a token or less across, and SAM's unit scale
    # turns by only a tenth of a revolution from one token to the next.
    matrix = prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    scales = torch.logspace(math.log10(0.5), math.log10(8.0), matrix.shape[1])
    matrix.mul_(scales[None, :])
    decoder = SharingMaskDecoder(
        transformer_dim=WIDTH,
        transformer=transformer,
        activation=nn.ReLU,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=WIDTH,
    )
    look_where_asked(transformer)
    return BundledSam(BundledEncoder(blocks), prompt_encoder, decoder).eval()


@torch.no_grad()
def look_where_asked(transformer: TwoWayTransformer) -> None:
    """Start the attention between prompts and image at the prompt's own place.

    With equal projections of queries and keys the two match where their position codes do; from unrelated random ones
    it takes a thousand steps to find that out. The gain makes the match stand out among a thousand cells.
    """
    crossings = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        crossings += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in crossings:
        attention.q_proj.weight.mul_(2.5)
        attention.k_proj.weight.copy_(attention.q_proj.weight)


def read_card(path: Path) -> dict[str, Any]:
    """Return the card that lies beside the weights at `path` (the same name, ending in .json).

    Raises
    ------
    FileNotFoundError : there is none
    ValueError : the file is no card, which has at least the weights' sha256 and bytes
    """
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise FileNotFoundError(f"{card_path}: expected the card of {path.name} (with its sha256), found no such file")
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{card_path}: expected the card of {path.name} as JSON, found none ({error})") from None
    if not isinstance(card, dict) or not {"sha256", "bytes"} <= card.keys():
        raise ValueError(f"{card_path}: expected the card of {path.name} with its sha256 and bytes, found another text")
    return card


def load_bundled(path: Path | None = None) -> Sam:
    """Return the bundled SAM with its trained weights, in float32 and eval mode.

    Parameters
    ----------
    path : a safetensors file with its card beside it; the weights of this package when None

    Raises
    ------
    FileNotFoundError : weights or card are missing
    ValueError : the file is not the one that the card describes, or not of this architecture
    """
    path = WEIGHTS if path is None else Path(path)
    card = read_card(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the bundled weights, found no such file; reinstall the package")
    data = path.read_bytes()
    expect_described(data, path, card)
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, found something else ({error})") from error
    with torch.device("meta"):  # nothing is drawn from the generator that is the user's
        sam = build_bundled(blocks_of(tensors))
    fill(sam, {name: tensor.float() for name, tensor in tensors.items()}, str(path))
    return sam


def expect_described(data: bytes, path: Path, card: Mapping[str, Any]) -> None:
    """Refuse the bytes of a file that are not those its card describes. Raises ValueError."""
    found = hashlib.sha256(data).hexdigest()
    if found != card["sha256"]:
        raise ValueError(
            f"{path}: expected sha256 {card['sha256']} ({card['bytes']} bytes), found {found} ({len(data)} bytes): "
            "the file is truncated or changed; reinstall the package or copy both files again"
        )


def fill(sam: Sam, tensors: dict[str, Tensor], source: str) -> None:
    """Put named tensors in the place of those of `sam`, and say which are missing, too many or of another shape.

    Raises
    ------
    ValueError : names or shapes differ from the architecture's, or a value is no finite number
    """
    empty = any(p.is_meta for p in sam.parameters())  # nothing to copy into
    try:
        sam.load_state_dict(tensors, strict=True, assign=empty)
    except RuntimeError as error:
        raise ValueError(f"{source}: expected the tensors of the bundled architecture; {error}") from error
    _expect_finite(tensors, source)


def _expect_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    if wrong := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise ValueError(
            f"{source}: expected finite numbers, found others in {wrong[0]} and {len(wrong) - 1} more tensors"
        )


def expect_weights_name(path: Path) -> None:
    """Refuse a name that is none of weights, beside which a card can lie. Raises ValueError."""
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: expected a name that ends in .safetensors; the card goes beside it, ending in .json")


def write_bundled(tensors: dict[str, Tensor], card: dict[str, Any], path: Path) -> None:
    """Write weights in half precision with their card beside them; the card gets sha256 and size of what was written.

    Each of the two files is written whole or not at all; until both are, `load_bundled` refuses the pair.

    Parameters
    ----------
    tensors : state dict of the architecture of `build_bundled`
    card : what is known of the weights: recipe, seed, steps, hours, figures, what they are bad at
    path : where the safetensors file goes

    Raises
    ------
    ValueError : for another ending of the name, or tensors that are not of this architecture or not finite
    """
    expect_weights_name(path)
    halves = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
    with torch.device("meta"):
        empty = build_bundled(blocks_of(tensors))
    fill(empty, halves, "the weights to write")
    data = save_tensors(halves)
    described = {**card, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, content in (
        (path, data),
        (path.with_suffix(".json"), (json.dumps(described, indent=2, ensure_ascii=False) + "\n").encode()),
    ):
        with whole(target) as draft:
            draft.write_bytes(content)
