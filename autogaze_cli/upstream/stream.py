"""The memory of a stream between calls, as four values that scripts pass back.

Source: upstream interface 2; inference spec 7.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autogaze_cli.errors import ConfigError
from autogaze_cli.model.autogaze import AutoGaze as Engine
from autogaze_cli.model.output import GazeState


@dataclass(slots=True)
class Stream:
    """The memory of one stream, shared by the values of all its calls.

    Attributes:
        state: What the engine remembers; every call advances it.
        calls: Calls so far.
    """

    state: GazeState
    calls: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """A place in a stream, opaque to scripts. ``copy.deepcopy`` of it forks the stream.

    Attributes:
        stream: The stream.
        calls: The calls before this place.
    """

    stream: Stream
    calls: int


def values_of(stream: Stream | None) -> dict[str, Any]:
    """The four entries of a call's result; all None without a stream."""
    names = ("past_key_values", "past_input_embeds", "past_attention_mask", "past_conv_values")
    if stream is None:
        return dict.fromkeys(names)
    stream.calls += 1
    return {name: Past(stream, stream.calls) for name in names}


def as_past(*values: Any) -> Past | None:
    """The one place that the four values of a call stand for; None at the start of a stream.

    Raises:
        ConfigError: Some are missing, are not what a call returned, or are from different calls.
    """
    if all(value is None for value in values):
        return None
    if not all(isinstance(value, Past) for value in values):
        raise ConfigError(
            "past_key_values, past_inputs_embeds, past_attention_mask and past_conv_values must "
            "all be what one call returned, or all None"
        )
    first: Past = values[0]
    if any(value.calls != first.calls for value in values):
        raise ConfigError("the past values are of different calls")
    return first


def opened(past: Past | None, engine: Engine, rows: int) -> Stream:
    """The stream that a call continues, or a new one of ``rows`` rows.

    Raises:
        ConfigError: It was continued from this place already.
    """
    if past is None:
        return Stream(engine.new_state(rows))
    if past.stream.calls != past.calls:
        raise ConfigError(
            "this stream has been continued from here already",
            hint="copy.deepcopy the past values before a call to continue from them twice",
        )
    return past.stream
