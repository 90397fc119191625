"""``SiglipVisionModel`` with the published interface. Source: upstream interface 1; encoder spec.

What is below the interface is ``VisionTower``: frames and gazed tokens to features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from msgspec import Meta, Struct
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from autogaze_cli.errors import ConfigError, FormatError, ModelError
from autogaze_cli.gaze.tokens import ScaleLayout
from autogaze_cli.model.catalog import CONFIG, WEIGHTS, find
from autogaze_cli.model.files import read_json
from autogaze_cli.model.weights import is_finite
from autogaze_cli.reading import brief, checked, require_unique_names
from autogaze_cli.upstream.loading import device_of_map, dtype_of
from autogaze_cli.upstream.records import ModelOutput, Record
from autogaze_cli.upstream.sparse_siglip import Attend, GazedTokens, VisionSizes, VisionTower

ATTEND: dict[str, Attend] = {
    "block_causal": "block-causal",
    "causal": "causal",
    "bidirectional": "clip",
}
"""The published ``attn_type``, and what it is called here."""

_PREFIX = "vision_model."
_ACTIVATIONS = {"gelu_pytorch_tanh": True, "gelu": False}
_MOST_PIXELS, _MOST_SCALES = 1 << 12, 64
_Pixels = Annotated[int, Meta(ge=1, le=_MOST_PIXELS)]
_Width = Annotated[int, Meta(ge=1, le=1 << 16)]


class _Fields(Struct):
    """What the tower is built from."""

    hidden_size: _Width
    intermediate_size: _Width
    num_hidden_layers: Annotated[int, Meta(ge=1, le=1 << 8)]
    num_attention_heads: Annotated[int, Meta(ge=1, le=1 << 10)]
    num_channels: int
    image_size: _Pixels
    patch_size: _Pixels
    hidden_act: str
    layer_norm_eps: Annotated[float, Meta(gt=0, le=1)]
    attn_type: str


class SiglipVisionConfig(Record):
    """A SigLIP vision configuration, with the published additions.

    The additions are ``scales`` (sides in pixels joined by ``+``; by default the one size that the
    checkpoint was made for, in whole patches), ``attn_type`` and ``frame_independent_encoding``.
    """

    def __init__(self, **values: Any) -> None:
        super().__init__(
            {
                "hidden_size": 768,
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "num_channels": 3,
                "image_size": 224,
                "patch_size": 16,
                "hidden_act": "gelu_pytorch_tanh",
                "layer_norm_eps": 1e-6,
                "attention_dropout": 0.0,
                "attn_type": "block_causal",
                "frame_independent_encoding": False,
                **values,
            }
        )
        if "scales" not in self:
            found = checked({**self}, _Fields, "the configuration", error=ConfigError)
            self["scales"] = str(found.image_size // found.patch_size * found.patch_size)

    @classmethod
    def from_pretrained(cls, name: str | Path, **values: Any) -> Self:
        """Load a checkpoint's configuration, of a vision model or of a whole SigLIP.

        Args:
            name: A folder, or a Hub id in the local cache.
            values: What replaces the file's; None counts as absent.
        """
        raw = read_json(_file(name, CONFIG))
        raw = raw.get("vision_config", raw) if isinstance(raw, dict) else {}
        given = {key: value for key, value in values.items() if value is not None}
        return cls(**{**raw, **given})

    def sizes(self) -> VisionSizes:
        """The values that the network is built from.

        Raises:
            ConfigError: A value that cannot be run.
        """
        found = checked({**self}, _Fields, "the configuration", error=ConfigError)
        patch, width, heads = found.patch_size, found.hidden_size, found.num_attention_heads
        sides = self._sides(patch)
        for wrong, problem in (
            (width % heads != 0, f"hidden_size {width} is not a multiple of {heads} heads"),
            (found.image_size < patch, f"image_size {found.image_size} is less than a patch"),
            (found.hidden_act not in _ACTIVATIONS,
             f"hidden_act {brief(repr(found.hidden_act))} is not known"),
            (found.num_channels != 3, f"num_channels is {brief(repr(found.num_channels))}, not 3"),
            (found.attn_type.replace("-", "_") not in ATTEND,
             f"attn_type must be one of {', '.join(ATTEND)}, not {brief(repr(found.attn_type))}"),
        ):  # fmt: skip
            if wrong:
                raise ConfigError(problem)
        grids = [side // patch for side in sides]
        return VisionSizes(
            hidden_size=width,
            intermediate_size=found.intermediate_size,
            num_hidden_layers=found.num_hidden_layers,
            num_attention_heads=heads,
            image_size=found.image_size,
            patch_size=patch,
            layer_norm_eps=found.layer_norm_eps,
            tanh=_ACTIVATIONS[found.hidden_act],
            pools=bool(self.get("vision_use_head", True)),
            layout=ScaleLayout.from_config(sides, sum(grid**2 for grid in grids), patch),
        )

    def _sides(self, patch: int) -> list[int]:
        """The sides of the scales in pixels, ascending."""
        scales = self.scales
        parts = scales.split("+") if isinstance(scales, str) else scales
        parts = parts if isinstance(parts, Sequence) else [parts]
        try:
            sides = sorted(int(side) for side in parts)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(
                f"scales must be numbers joined by '+', not {brief(repr(scales))}"
            ) from None
        if any(not 1 <= side <= _MOST_PIXELS or side % patch for side in sides):
            raise ConfigError(
                f"scales {brief(scales)} are not multiples of the patch size {patch} "
                f"of at most {_MOST_PIXELS}"
            )
        if not 1 <= len(sides) <= _MOST_SCALES:
            raise ConfigError(f"there are {len(sides)} scales, not 1 to {_MOST_SCALES}")
        return sides

    @property
    def attend(self) -> Attend:
        """What a token sees."""
        if self.frame_independent_encoding:
            return "frame"
        return ATTEND[self.attn_type.replace("-", "_")]


class SiglipVisionModel(nn.Module):
    """SigLIP's vision tower; with a gaze it encodes the gazed patches alone.

    Attributes:
        config: Its configuration.
        vision_model: The tower.
    """

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.config, self._sizes = config, config.sizes()
        self.vision_model = VisionTower(self._sizes)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        scales: str | Sequence[int] | None = None,
        attn_type: str | None = None,
        frame_independent_encoding: bool | None = None,
        device_map: Any = None,
        torch_dtype: Any = None,
        dtype: Any = None,
        **ignored: Any,
    ) -> Self:
        """Load a checkpoint of a SigLIP or SigLIP 2 of fixed size.

        Args:
            name: A folder, or a Hub id in the local cache.
            scales: Sides of the scales in pixels, ``"32+64+112+224"``.
            attn_type: ``block_causal``, ``causal`` or ``bidirectional``.
            frame_independent_encoding: Whether tokens see their own frame alone.
            device_map: A device, or a dictionary with one device; None = the CPU.
            torch_dtype: Of the weights; None = float32.
            dtype: The same, by its later name.
            ignored: Arguments of the published loader that mean nothing here,
                ``attn_implementation`` among them.

        Raises:
            ModelError: There is no such checkpoint on this machine, or none of a SigLIP.
            ConfigError: ``scales`` that patches do not divide, or an unknown ``attn_type``.
        """
        config = SiglipVisionConfig.from_pretrained(
            name,
            scales=scales,
            attn_type=attn_type,
            frame_independent_encoding=frame_independent_encoding,
        )
        with torch.device("meta"):
            model = cls(config)
        weights = _read_weights(_file(name, WEIGHTS), model.state_dict())
        model.load_state_dict(weights, assign=True)
        return model.eval().to(device_of_map(device_map), dtype_of(torch_dtype or dtype))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    def forward(
        self,
        pixel_values: Tensor,
        gazing_info: Mapping[str, Any] | None = None,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        **ignored: Any,
    ) -> ModelOutput | tuple[Any, ...]:
        """Encode clips.

        Args:
            pixel_values: Frames as the encoder's own processor makes them, ``[b, t, 3, h, w]``.
            gazing_info: ``gazing_pos``, ``if_padded_gazing`` and ``num_gazing_each_frame``, as
                ``AutoGaze`` returns them; None = every patch of every scale.
            output_hidden_states: Whether to return the states before and after each layer.
            return_dict: False = a tuple.
            ignored: Further arguments of the published call.

        Returns:
            ``last_hidden_state`` ``[b, n, d]``, zeros where a token is padded; ``pooler_output``
            ``[b, d]``, of valid tokens alone; ``hidden_states``, if asked for.

        Raises:
            ConfigError: A gaze that does not fit the frames or the scales.
        """
        if pixel_values.ndim != 5 or pixel_values.shape[2] != 3:
            raise ConfigError(
                f"pixel_values must be [b, t, 3, h, w], not {list(pixel_values.shape)}"
            )
        video = pixel_values.to(self.device, self.dtype)
        tokens, slots, count = self._tokens(video, gazing_info)

        def padded(values: Tensor) -> Tensor:
            full = values.new_zeros(len(video), count, values.shape[-1])
            return full.index_put((tokens.clip, slots), values)

        states, last, pooled = self.vision_model(video, tokens, self.config.attend)
        output = ModelOutput(
            last_hidden_state=padded(last),
            pooler_output=pooled,
            hidden_states=tuple(map(padded, states)) if output_hidden_states else None,
            attentions=None,
        )
        return output if return_dict else output.to_tuple()

    def _tokens(
        self, video: Tensor, info: Mapping[str, Any] | None
    ) -> tuple[GazedTokens, Tensor, int]:
        """The valid tokens, each one's slot ``[m]``, and the number of slots of a clip."""
        layout, (b, t) = self._sizes.layout, video.shape[:2]
        if info is None:
            each = layout.global_ids(np.arange(layout.num_tokens), np.arange(t)[:, None])
            ids, counts = np.tile(each.reshape(1, -1), (b, 1)), [layout.num_tokens] * t
            padded = np.zeros(ids.shape, bool)
        else:
            ids, padded = (
                torch.as_tensor(info[name]).detach().cpu().numpy()
                for name in ("gazing_pos", "if_padded_gazing")
            )
            counts = [int(n) for n in info["num_gazing_each_frame"]]
        shapes: set[tuple[int, ...]] = {ids.shape, padded.shape}
        if shapes != {(b, sum(counts))} or len(counts) > t:
            raise ConfigError(
                f"gazing_info has gazing_pos {list(ids.shape)} of {len(counts)} frames for "
                f"{b} clips of {t} frames"
            )
        clip, slot = np.nonzero(~padded.astype(bool))
        token = layout.clip_ids(ids, counts)[clip, slot]
        grid, row, col = layout.cells(token)
        if not grid.all():
            raise ConfigError(
                f"gazing_info has ids that scales {self.config.scales} have not, "
                f"{token[grid == 0][0]} in a frame of {layout.num_tokens}",
                hint="gaze with the encoder's target_scales and target_patch_size",
            )
        frame = np.repeat(np.arange(len(counts)), counts)[slot]
        columns = (clip, frame, layout.scale_of(token), row, col, slot)
        *where, slots = (torch.from_numpy(one).to(video.device, torch.int64) for one in columns)
        return GazedTokens(*where), slots, ids.shape[1]


def _file(name: str | Path, file: str) -> Path:
    """A file of a checkpoint.

    Raises:
        ModelError: There is no such checkpoint on this machine.
    """
    folder = find(name).folder
    assert folder is not None  # what is found is here
    return folder / file


def _read_weights(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The vision weights of a file, as float32.

    Of a vision model alone, ``transformers`` 5 saves names without ``vision_model``.
    """
    try:
        require_unique_names(path)
        with safe_open(str(path), framework="pt") as file:
            stored = set(file.keys())
            prefix = "" if any(name.startswith(_PREFIX) for name in stored) else _PREFIX
            names = {name: name.removeprefix(prefix) for name in wanted}
            missing = sorted(set(names.values()) - stored)
            if missing:
                raise ModelError(
                    f"{path}: {len(missing)} vision weights are missing, {missing[0]} first",
                    hint="give a SigLIP or SigLIP 2 checkpoint of fixed size",
                )
            weights = {name: file.get_tensor(own).float() for name, own in names.items()}
    except (SafetensorError, FormatError, OSError) as error:
        raise ModelError(f"{path}: is not a readable safetensors file ({brief(error)})") from error
    for name, like in wanted.items():
        if weights[name].shape != like.shape:
            raise ModelError(
                f"{path}: {names[name]} is {list(weights[name].shape)}, not {list(like.shape)} as "
                f"{CONFIG} says"
            )
        if not is_finite(weights[name]):
            raise ModelError(f"{path}: {names[name]} has values that are not finite")
    return weights
