"""Opening a file with FFmpeg: only as formats, and through protocols, that lead nowhere else."""

from __future__ import annotations

import av
from av.container import InputContainer

from autogaze_cli.media.watched import BUFFER_BYTES, WatchedFile

FORMATS = (
    *("mov", "matroska", "webm", "avi", "asf", "flv", "live_flv", "mpegts", "mpeg", "mpegvideo"),
    *("ogg", "rm", "mxf", "gxf", "nut", "nsv", "dv", "ivf", "wtv", "dhav", "kux", "swf", "av1"),
    *("obu", "h261", "h263", "h264", "hevc", "vvc", "evc", "m4v", "vc1", "vc1test", "dirac"),
    *("dnxhd", "cavsvideo", "avs2", "avs3", "mjpeg", "mjpeg_2000", "mpjpeg", "smjpeg", "amv"),
    *("yuv4mpegpipe", "filmstrip", "film_cpk", "flic", "roq", "cine", "apv"),
    *("gif", "apng", "jpegxl_anim", "image2", "ico", "fits"),
    *(
        f"{name}_pipe"
        for name in (
            *("bmp", "cri", "dds", "dpx", "exr", "gem", "gif", "hdr", "j2k", "jpeg", "jpegls"),
            *("jpegxl", "jpegxs", "pam", "pbm", "pcx", "pfm", "pgm", "pgmyuv", "pgx", "phm"),
            *("photocd", "pictor", "png", "ppm", "psd", "qdraw", "qoi", "sgi", "sunrast"),
            *("tiff", "vbn", "webp", "xbm", "xpm", "xwd"),
        )
    ),
    *("wav", "mp3", "flac", "aac", "ac3"),
)
"""FFmpeg's names of the formats that are read; those of sound only so that an error tells.

Not among them is what names other files or addresses: playlists (HLS, DASH, concat), SDP, RTSP,
IMF, and what makes pictures of text or of a filter graph.
"""

PROTOCOLS = "file"
"""Through which a file may be read, by its own name or as one of numbered images."""

STREAM_FORMATS = (*FORMATS, "hls", "dash", "rtsp", "rtp", "rtp_mpegts", "sdp")
STREAM_PROTOCOLS = (
    "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtsp,rtmp,rtmps,rtmpe,rtmpt,rtmpte,rtmpts,"
    "mmsh,mmst,srt,crypto,data"
)
"""Of an address that the user gives: the network, and no files."""


def open_container(
    what: str | WatchedFile,
    *,
    format: str | None = None,
    options: dict[str, str] | None = None,
    max_pixels: int,
    protocols: str = PROTOCOLS,
) -> InputContainer:
    """Open something with FFmpeg.

    Args:
        what: A file of our own, an absolute path (FFmpeg takes ``a:b.mp4`` for a protocol named
            ``a``), or an address.
        format: FFmpeg's name of the format; None = it finds out.
        options: Options of the format.
        max_pixels: Of a frame, above which it is not even allocated; see ``Limits``.
        protocols: FFmpeg's names of those by which anything may be opened.

    Raises:
        FFmpegError: It cannot be opened, or is of a format that is not read.
        OSError: Likewise.
    """
    formats = STREAM_FORMATS if protocols == STREAM_PROTOCOLS else FORMATS
    lists = {"protocol_whitelist": protocols}
    if format is None:  # otherwise it is a device's, which the caller names
        lists["format_whitelist"] = ",".join(formats)
    return av.open(
        what,
        "r",
        format=format,
        options={**lists, "max_pixels": str(max_pixels), **(options or {})},
        metadata_errors="replace",
        buffer_size=BUFFER_BYTES,
    )
