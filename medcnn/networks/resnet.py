"""ResNet-18, -34, -50 (He et al. 2016) for pictures and volumes: MONAI's, with a stem that follows the size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from medcnn.networks.attention import end_branches

_LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_SMALL_PX = 64  # below this the ImageNet stem (a quarter of the size at once) leaves too little


class ResNet(nn.Module):
    """image (B, in_channels, *size) -> logits (B, num_outputs).

    stem       small: 3x3, stride 1, no pooling, for small inputs; large: 7x7, stride 2, then pooling
    attention  in each block: none, se or cbam
    drop_path  stochastic depth of the last block; the blocks before have less
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        num_outputs: int,
        size_px: Sequence[int],
        depth: int,
        width: int,
        stem: str,
        dropout: float,
        attention: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        from monai.networks.nets import ResNet as MonaiResNet  # costs seconds; only who builds one pays

        small = stem == "small" or (stem == "auto" and min(size_px) < _SMALL_PX)
        self.body = MonaiResNet(
            block="bottleneck" if depth == 50 else "basic",
            layers=list(_LAYERS[depth]),
            block_inplanes=[width, 2 * width, 4 * width, 8 * width],
            spatial_dims=spatial_dims,
            n_input_channels=in_channels,
            conv1_t_size=3 if small else 7,
            conv1_t_stride=1 if small else 2,
            no_max_pool=small,
            num_classes=num_outputs,
            bias_downsample=False,
        )
        if attention != "none" or drop_path:
            blocks = [block for stage in range(1, 5) for block in self.body.get_submodule(f"layer{stage}").children()]
            end_branches(blocks, spatial_dims, attention, drop_path)
        if dropout:
            last: Any = self.body.fc
            self.body.fc = nn.Sequential(nn.Dropout(dropout), last)  # type: ignore[assignment]  # MONAI says Linear

    @property
    def features(self) -> nn.Module:
        """The last convolutional stage: where Grad-CAM looks."""
        last: nn.Module = self.body.layer4
        return last

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (B, num_outputs)."""
        logits: Tensor = self.body(image)
        return logits
