"""MobileSAM: the image encoder TinyViT-5M inside `segment_anything`'s `Sam`, under the tensor names of `mobile_sam.pt`.

Sources: Zhang et al. 2023, Faster Segment Anything, arXiv 2306.14289; Wu et al. 2022, TinyViT, arXiv 2207.10666.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE_PX = 16


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(outputs))


class PatchEmbed(nn.Module):
    """Two strided convolutions: (B, 3, H, W) to (B, C, H/4, W/4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, channels // 2, 3, 2), nn.GELU(), ConvNorm(channels // 2, channels, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the patches of an image."""
        y: Tensor = self.seq(x)
        return y


class InvertedBottleneck(nn.Module):
    """Widen, mix in space by a depthwise 3×3, narrow, and add: MBConv of the first stage."""

    def __init__(self, channels: int, widening: int = 4) -> None:
        super().__init__()
        wide = widening * channels
        self.conv1 = ConvNorm(channels, wide)
        self.conv2 = ConvNorm(wide, wide, 3, groups=wide)
        self.conv3 = ConvNorm(wide, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Downsample(nn.Module):
    """Change channels between stages, and halve the resolution where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H/stride, W/stride)."""
        y: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return y


class WindowAttention(nn.Module):
    """Self-attention of the tokens of one window, with a learned bias for every distance in rows and columns."""

    bias_index: Tensor

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        with torch.device("cpu"):  # real also while the weights are built on the meta device
            rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
            rows, columns = rows.reshape(-1), columns.reshape(-1)
            index = (rows[:, None] - rows).abs() * window + (columns[:, None] - columns).abs()
        self.register_buffer("bias_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(windows, tokens, C) to the same shape; tokens row by row."""
        number, tokens, channels = x.shape
        # each head's query, key and value lie side by side
        qkv = self.qkv(self.norm(x)).view(number, tokens, self.heads, 3, channels // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)
        bias = self.attention_biases[:, self.bias_index].to(query.dtype)
        y: Tensor = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y = self.proj(y.transpose(1, 2).reshape(number, tokens, channels))
        return y


class Mlp(nn.Module):
    """Layer norm and two linear layers."""

    def __init__(self, channels: int, widening: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, widening * channels)
        self.fc2 = nn.Linear(widening * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        y: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return y


class WindowBlock(nn.Module):
    """Window attention, a depthwise 3×3, and an MLP."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(channels, heads, window)
        self.local_conv = ConvNorm(channels, channels, 3, groups=channels)
        self.mlp = Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        x = x + self._attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x).permute(0, 2, 3, 1)
        y: Tensor = x + self.mlp(x)
        return y.permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        """Cut (B, H, W, C) into windows, attend, and put together; zeros fill the last windows and are attended to."""
        batch, height, width, channels = x.shape
        side = self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        down, across = x.shape[1] // side, x.shape[2] // side
        windows = x.view(batch, down, side, across, side, channels).transpose(2, 3).reshape(-1, side * side, channels)
        y: Tensor = self.attn(windows).view(batch, down, across, side, side, channels).transpose(2, 3)
        return y.reshape(batch, down * side, across * side, channels)[:, :height, :width]


class Stage(nn.Module):
    """Blocks at one resolution, and the way to the next stage."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: Downsample | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to what the next stage takes."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """MobileSAM's image encoder: (B, 3, S, S), normalised, to an embedding (B, out_chans, S/16, S/16).

    Parameters
    ----------
    img_size : S, px, a multiple of 16
    embed_dims, depths, num_heads, window_sizes : one number a stage; the defaults are TinyViT-5M's
    out_chans : channels of the embedding
    num_classes : width of the classifier that the encoder was pretrained with; it takes no part in the embedding and
        is here because the published checkpoint carries it

    Raises
    ------
    ValueError : img_size is not a multiple of 16
    """

    def __init__(
        self,
        img_size: int = 1024,
        embed_dims: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (2, 4, 5, 10),
        window_sizes: Sequence[int] = (7, 7, 14, 7),
        out_chans: int = 256,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        if img_size <= 0 or img_size % STRIDE_PX:
            raise ValueError(f"TinyViT: expected img_size to be a multiple of {STRIDE_PX}, got {img_size}")
        self.img_size = img_size
        self.patch_embed = PatchEmbed(embed_dims[0])
        self.layers = nn.ModuleList()
        strides = (2, 2, 1)  # SAM wants stride 16, so the last stage keeps the resolution of the third
        for i, channels in enumerate(embed_dims):
            blocks: list[nn.Module] = [
                WindowBlock(channels, num_heads[i], window_sizes[i]) if i else InvertedBottleneck(channels)
                for _ in range(depths[i])
            ]
            last = i == len(embed_dims) - 1
            self.layers.append(Stage(blocks, None if last else Downsample(channels, embed_dims[i + 1], strides[i])))
        self.norm_head = nn.LayerNorm(embed_dims[-1])
        self.head = nn.Linear(embed_dims[-1], num_classes)
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dims[-1], out_chans, 1, bias=False),
            LayerNorm2d(out_chans),
            nn.Conv2d(out_chans, out_chans, 3, padding=1, bias=False),
            LayerNorm2d(out_chans),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding."""
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.neck(x)
        return y


def build_mobile_sam(encoder: TinyViT | None = None) -> Sam:
    """Return MobileSAM with random weights, in eval mode; another `encoder` of 256 channels may run at another size."""
    encoder = TinyViT() if encoder is None else encoder
    grid, width = encoder.img_size // STRIDE_PX, 256
    return Sam(
        encoder,
        PromptEncoder(
            embed_dim=width,
            image_embedding_size=(grid, grid),
            input_image_size=(encoder.img_size, encoder.img_size),
            mask_in_chans=16,
        ),
        MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=2048, num_heads=8),
        ),
    ).eval()
