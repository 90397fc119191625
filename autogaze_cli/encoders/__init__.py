"""Vision transformers that encode only the gazed patches of a clip."""

from autogaze_cli.encoders.attention import ATTEND, Attend
from autogaze_cli.encoders.encoder import Encoder, load_encoder
from autogaze_cli.encoders.output import EncoderOutput

__all__ = ["ATTEND", "Attend", "Encoder", "EncoderOutput", "load_encoder"]
