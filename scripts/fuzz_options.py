"""Give commands random options and arguments; count what goes wrong.

    python -m scripts.fuzz_options --seconds 600

Every execution is one command line, with values that its options may have, odd ones, and those of
other options, in any of the forms that a value can come in: an argument, the environment, the file
of options. Small or missing inputs make it fast. What would go on for long ends early: ``view`` and
``bench`` get a file that is missing, ``compare`` and ``calibrate`` an input that is, and ``--engine
ray`` is left out. Counted per command: executions, refusals (exit code 2 or 3), exit codes that
are not documented, tracebacks, messages that are no line, files written outside of the folder,
connections, crashes, executions over 10 s, and over 1 GB.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
from click.testing import CliRunner
from PIL import Image

from autogaze_cli.cli.config import commands
from autogaze_cli.cli.main import cli
from autogaze_cli.errors import AutogazeError
from scripts.fuzzing import fuzz, is_own, options_of, outcome

ROOT = Path(__file__).parent.parent

ODD = (
    *("", " ", "1/0", "0/1", "1/3", "1e999", "-1e999", "nan", "inf", "-inf", "1e-320", "0", "-0"),
    *("-1", "1", "2", "3.5", "1_0", "0x10", "+5", " 7", "\u0663", "1" * 400, "9" * 5000, "1e9"),
    *("65536", "1048577", "2147483648", "9223372036854775808", "18446744073709551616", "1:2:3"),
    *("99:99:99", "1:1e9", "true", "none", "model", "auto", "all", "cuda:99", "cuda:x", "mps"),
    *("\udcff", "a\nb", "\x1b[31m", "\u202eabc", "x" * 5000, "a,b,,c", ",", "=", "a=b", "AGR1=x"),
    *("frames=1e999", "pixels=-1", "memory=1", "bytes=x", "1x1", "0x0", "14x", "99999x99999"),
    *("../x", "../../../x", "/dev/null", "/dev/zero", "/proc/self/mem", "file:clip.gif", "-"),
    *("https://127.0.0.1:1/a.mp4", "rtsp://127.0.0.1:1/", "concat:clip.gif|clip.gif", "data:,x"),
    *("synthetic:pan,size=32x32,frames=2", "synthetic:pan,frames=999999999999", "synthetic:", "@"),
    *("@list.txt", "@missing", "@/dev/zero", "@clip.gif", "*.gif", "[", "**", "frame_%d.png"),
    *("frame_%999999999d.png", "%s", "{}", "clip.gif/x", ".", "..", "/", "~", "~nobody/x", "CON"),
)  # fmt: skip
"""Values for anything."""

FILES = (
    *("clip.gif", "missing.mp4", "broken.mp4", "x.trace.json", "x.trace.npz", "model", "a.py"),
    *("options.toml", "list.txt", "empty", ".", "out", "made.html", "made.js", "log.txt"),
)
"""What stands in the folder, and what may be written there."""

ENDS_EARLY = {
    ("view",): ["missing/a.mp4"],
    ("bench",): ["--compare", "missing/a.json"],
    ("compare",): ["missing/a.mp4"],
    ("calibrate",): ["missing/a.mp4"],
    ("models", "fetch"): ["--offline"],
}
"""Last arguments of commands that otherwise take long, go on, or reach the network."""

EXIT_CODES = (0, 1, 2, 3)
WRITES = {"os.mkdir": 0, "os.remove": 0, "os.rmdir": 0, "os.truncate": 0, "os.rename": 1,
          "os.symlink": 1, "os.link": 1}  # fmt: skip
"""Of what changes a folder, by name in Python's audit, which argument names the file."""

REACHES = ("socket.connect", "socket.getaddrinfo", "socket.bind", "webbrowser.open")


def forbid(home: Path) -> None:
    """Fail where this process writes outside of a folder, or connects to anything."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        path = None
        if event in WRITES and not (
            event == "os.mkdir" and Path(os.fsdecode(arguments[0])).is_dir()
        ):
            path = arguments[WRITES[event]]
        elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike) and not is_allowed(path, home):
            raise RuntimeError(f"{event} outside of the folder: {path!r}")
        if event in REACHES:
            raise RuntimeError(f"{event}: {arguments!r}")

    sys.addaudithook(watch)


def settle(home: Path) -> None:
    """Let this process keep its own files in a folder, and watch it."""
    logging.disable(logging.NOTSET)  # messages are looked at
    sys.dont_write_bytecode = True
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = str(home)
    forbid(home)


def is_allowed(path: str | bytes | os.PathLike[Any], home: Path) -> bool:
    """Whether a file may be written: below ``home``, or a device."""
    there = os.path.realpath(os.fsdecode(path))
    return there.startswith((f"{home}/", "/dev/", f"/proc/{os.getpid()}/")) or there == str(home)


def value(param: click.Parameter, chance: random.Random) -> str:
    """A value for a parameter, which it may have or not."""
    kind = chance.randrange(10)
    if kind == 0:
        return chance.choice(ODD)
    if kind == 1:
        return chance.choice(FILES)
    if isinstance(param.type, click.Choice):
        return str(chance.choice([*param.type.choices, chance.choice(ODD)]))
    if isinstance(param.type, click.Path) or isinstance(param, click.Argument):
        return chance.choice((*FILES, *["clip.gif"] * 10))
    words = str(param.type.name).replace(",", "|").split("|")
    if len(words) > 1:
        return chance.choice((*words, f"{words[0]},{words[1]}"))
    return chance.choice(("1", "2", "4", "8", "0.5", "14", "32", "224", chance.choice(ODD)))


def options(command: click.Command, chance: random.Random) -> Iterator[list[str]]:
    """Some options of a command, each as its arguments."""
    params = [param for param in command.params if isinstance(param, click.Option)]
    for param in chance.choices(params, k=chance.choice((0, 1, 1, 2, 3, 5, 8))):
        name = chance.choice(param.opts + param.secondary_opts)
        if param.name == "engine":
            continue
        if chance.randrange(20) == 0:
            name = chance.choice((name[:-1], f"{name}x", "--no-such", "-Z"))
        if param.is_flag or param.count:
            yield [name] if chance.randrange(20) else [f"{name}={value(param, chance)}"]
        elif chance.randrange(20) == 0:
            yield [name]
        elif name.startswith("--") and chance.randrange(3) == 0:
            yield [f"{name}={value(param, chance)}"]
        else:
            yield [name, value(param, chance)]


def line(
    path: tuple[str, ...], command: click.Command, chance: random.Random
) -> tuple[list[str], dict[str, str], dict[str, Any]]:
    """A command line: its arguments, its environment, and a file of options."""
    arguments = [word for given in options(command, chance) for word in given]
    names = {param.name for param in command.params}
    for param in command.params:
        if isinstance(param, click.Argument):
            many = chance.choice((0, 1, 1, 1, 2, 3)) if param.nargs == -1 else chance.choice((0, 1))
            arguments += [value(param, chance) for _ in range(many)]
    if "dry_run" in names and chance.randrange(2):
        arguments.append("--dry-run")
    environment = {"AUTOGAZE_OFFLINE": "1"}
    table: dict[str, Any] = {}
    if "mask_source" in names and chance.randrange(8):
        environment["AUTOGAZE_MASK_SOURCE"] = "patch-diff"
    for param in chance.choices(command.params, k=chance.choice((0, 0, 0, 1, 2))):
        if isinstance(param, click.Option) and param.name != "engine" and param.envvar:
            name = param.envvar if isinstance(param.envvar, str) else chance.choice(param.envvar)
            environment[name] = value(param, chance)
    for param in chance.choices(command.params, k=chance.choice((0, 0, 0, 1, 2))):
        if isinstance(param, click.Option) and param.name != "engine":
            odd: tuple[Any, ...] = (1, -1, 0.5, True, [], [1, "x"], 10**30, value(param, chance))
            table[str(param.name).replace("_", "-")] = chance.choice(odd)
    before = [word for given in options(cli, chance) for word in given]
    first = before if chance.randrange(8) == 0 else []
    return [*first, *path, *arguments, *ENDS_EARLY.get(path, [])], environment, table


def prepare(folder: Path, model: Path) -> None:
    """Write the inputs, at a place so deep that what leads out of it does not lead out of all."""
    (folder / "empty").mkdir(parents=True)
    pictures = [Image.new("RGB", (32, 24), (40 * n, 90, 20)) for n in range(3)]
    pictures[0].save(folder / "clip.gif", save_all=True, append_images=pictures[1:], duration=100)
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(40))
    (folder / "list.txt").write_text("clip.gif\nmissing.mp4\n")
    (folder / "a.py").write_text("y = out.gazing_pos % 265\n")
    (folder / "options.toml").write_text('frames = 2\nmask-source = "patch-diff"\n')
    for form in ("json", "npz"):
        shutil.copy(ROOT / f"fixtures/traces/v1.trace.{form}", folder / f"x.trace.{form}")
    (folder / "model").symlink_to(model)


def run(arguments: list[str], environment: dict[str, str]) -> None:
    """Run a command line in this process.

    Raises:
        AutogazeError: It ended with exit code 2 or 3: the last line of its messages.
        RuntimeError: Something is wrong with how it ended, or with what it wrote.
    """
    done = CliRunner().invoke(cli, arguments, env=environment, catch_exceptions=False)
    shown = f"{arguments} {environment}: exit code {done.exit_code}: {done.stderr[-2000:]}"
    lines = done.stderr.splitlines()
    if done.exit_code not in EXIT_CODES or not all(map(is_own, lines)):
        raise RuntimeError(shown)
    if "Traceback" in done.output and "traceback of the error:" not in done.output:  # that is -vv
        raise RuntimeError(shown)
    if done.exit_code in (2, 3):
        if not any(line.startswith("Error: ") for line in lines) and len(arguments) > 1:
            raise RuntimeError(f"no message: {shown}")
        raise AutogazeError(lines[-1] if lines else "")


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table, and return 1 if anything went wrong."""
    parsed = options_of(str(__doc__).splitlines()[0]).parse_args(arguments)
    torch.set_num_threads(1)  # a process that has more of them cannot be forked
    table = dict(commands(cli))
    names = list(table)
    watched: list[Path] = []

    def execute(number: int, folder: Path) -> str | None:
        chance = random.Random(number)
        path = names[number % len(names)]
        given, environment, settings = line(path, table[path], chance)
        place = folder / "a" / "b" / "c" / "d"
        model = folder.parent / "model"
        if not model.exists():
            shutil.copytree(ROOT / "fixtures" / "parity-tiny", model)
        prepare(place, model)
        if settings:
            text = "".join(f"{key} = {json.dumps(item)}\n" for key, item in settings.items())
            (place / "autogaze.toml").write_text(text)
        os.chdir(place)
        if not watched:
            watched.append(folder.parent.resolve())
            settle(watched[0])
        return outcome(lambda: run(given, environment))

    return fuzz([" ".join(path) for path in names], execute, parsed)


if __name__ == "__main__":
    sys.exit(main())
