"""Build the wheels of every platform and the sdist, on one machine, the same bytes every time.

    python -m scripts.build_wheels                        # all, into dist/
    python -m scripts.build_wheels linux-x86_64 -o OUT    # one platform

Built from the files that git tracks, as they are in the checkout. The compiled libraries are loaded
with ctypes and use nothing of Python, so a wheel serves every Python 3 of its platform. Zig
(package ziglang) compiles for all of them. All times are SOURCE_DATE_EPOCH, by default the time of
the last commit.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.sbom import bill_of_materials

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Platform:
    """Where a wheel runs, in Zig's words and in those of the wheel's file name."""

    target: str
    tag: str
    suffix: str
    flags: tuple[str, ...] = ("-fPIC",)

    @property
    def arm(self) -> bool:
        """Whether its processor is an ARM."""
        return self.target.startswith("aarch64")


PLATFORMS = {
    "linux-x86_64": Platform(
        "x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64", ".so"
    ),
    "linux-aarch64": Platform(
        "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64", ".so"
    ),
    "macos-arm64": Platform("aarch64-macos.11.0", "macosx_11_0_arm64", ".so"),
    "macos-x86_64": Platform("x86_64-macos.11.0", "macosx_11_0_x86_64", ".so"),
    "windows-x86_64": Platform("x86_64-windows-gnu", "win_amd64", ".dll", flags=()),
}
X86_ONLY = ("_native_avx512", "_native_avx2")
ARM_ONLY = ("_native_neon",)


def main() -> int:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("platforms", nargs="*", help=f"of {', '.join(PLATFORMS)}; default all")
    parser.add_argument("-o", "--out-dir", type=Path, default=ROOT / "dist")
    args = parser.parse_args()
    if unknown := set(args.platforms) - PLATFORMS.keys():
        parser.error(f"unknown platform: {', '.join(sorted(unknown))}")
    for path in build(args.out_dir, args.platforms or list(PLATFORMS)):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path, sep="  ")
    return 0


def build(out: Path, names: list[str], files: list[str] | None = None) -> list[Path]:
    """Build the sdist and the wheels of these platforms; return their paths, the sdist first.

    Args:
        out: The folder to write to; made if need be.
        names: Keys of ``PLATFORMS``.
        files: Paths of the sources below the root; by default those that git tracks.

    Raises:
        subprocess.CalledProcessError: A build failed; its output is on stderr.
    """
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or _run("git", "log", "-1", "--format=%ct"))
    files = files or _run("git", "ls-files", "-z").rstrip("\0").split("\0")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "source"), Path(folder, "made")
        for name in files:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
        _setuptools("--sdist", source, made)
        (sdist,) = made.glob("*.tar.gz")
        written = [out / sdist.name]
        written[0].write_bytes(_same_sdist(sdist, epoch))
        with tarfile.open(written[0]) as archive:
            archive.extractall(folder, filter="data")
        tree = Path(folder, sdist.name.removesuffix(".tar.gz"))
        _setuptools("--wheel", tree, made)
        (plain,) = made.glob("*.whl")
        with zipfile.ZipFile(plain) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        for name in names:
            libraries = compile_libraries(tree, PLATFORMS[name])
            written.append(out / f"{tree.name}-py3-none-{PLATFORMS[name].tag}.whl")
            written[-1].write_bytes(_wheel(content | libraries, PLATFORMS[name], epoch))
    return written


def compile_libraries(tree: Path, platform: Platform) -> dict[str, bytes]:
    """Compile the extension modules of ``pyproject.toml``; return them by path in a wheel."""
    settings = tomllib.loads((tree / "pyproject.toml").read_text())["tool"]["setuptools"]
    left_out = X86_ONLY if platform.arm else ARM_ONLY
    return {
        module["name"].replace(".", "/") + platform.suffix: _compile(tree, platform, module)
        for module in settings["ext-modules"]
        if not module["name"].endswith(left_out)
    }


def _compile(tree: Path, platform: Platform, module: dict[str, Any]) -> bytes:
    """One library. The compiler sees relative paths only, so that none of this machine are in it.

    It is linked without the module's flags: what the linker adds must run on every processor, as
    the library is loaded before it is asked whether this one has its instruction set.
    """
    name = module["name"].rpartition(".")[2]
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", platform.target, "-mcpu=baseline"]
    zig += platform.flags
    folder = Path("compiled", platform.target)
    (tree / folder).mkdir(parents=True, exist_ok=True)
    objects = []
    for source in module["sources"]:
        objects.append(str(folder / f"{name}.{Path(source).stem}.o"))
        flags = module["extra-compile-args"]
        _run(*zig, *flags, "-c", source, "-o", objects[-1], folder=tree)
    library = str(folder / (name + platform.suffix))
    named = [f"-Wl,-install_name,@rpath/{Path(library).name}"] if "macos" in platform.target else []
    flags = [*named, *module.get("extra-link-args", [])]
    _run(*zig, "-shared", "-s", *objects, *flags, "-o", library, folder=tree)
    return (tree / library).read_bytes()


def _same_sdist(sdist: Path, epoch: int) -> bytes:
    """An sdist's content with the same order, times, owners and rights every time."""
    packed = io.BytesIO()
    with (
        tarfile.open(sdist) as old,
        gzip.GzipFile("", "wb", mtime=epoch, fileobj=packed) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted((m for m in old if m.isfile()), key=lambda m: m.name):
            entry = tarfile.TarInfo(member.name)
            entry.size, entry.mtime = member.size, epoch
            entry.mode = 0o755 if member.mode & 0o100 else 0o644
            new.addfile(entry, old.extractfile(member))
    return packed.getvalue()


def _wheel(files: dict[str, bytes], platform: Platform, epoch: int) -> bytes:
    """A wheel of these files, with the platform's tags, a bill of materials and a new record."""
    (info,) = {name.partition("/")[0] for name in files if ".dist-info/" in name}
    release = info.removesuffix(".dist-info").rpartition("-")[2]
    tags = [f"Tag: py3-none-{tag}" for tag in platform.tag.split(".")]
    lines = ["Wheel-Version: 1.0", "Generator: build_wheels", "Root-Is-Purelib: false", *tags]
    compiled = [name for name in files if name.endswith((".so", ".dll", ".wasm"))]
    files = files | {
        f"{info}/WHEEL": "\n".join([*lines, ""]).encode(),
        f"{info}/sboms/autogaze-cli.cdx.json": bill_of_materials(release, epoch, files, compiled),
    }
    record = f"{info}/RECORD"
    files.pop(record)
    rows = [f"{name},{_digest(content)},{len(content)}" for name, content in sorted(files.items())]
    files[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files, key=lambda name: (name.startswith(info), name)):
            entry = zipfile.ZipInfo(name, time.gmtime(epoch)[:6])
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name in compiled else 0o100644) << 16
            archive.writestr(entry, files[name])
    return packed.getvalue()


def _digest(content: bytes) -> str:
    """SHA-256 as RECORD has it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def _setuptools(kind: str, source: Path, out: Path) -> None:
    """Run the build backend with a compiler that fails: everything but the compiled libraries."""
    command = (sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", str(out))
    _run(*command, str(source), CC="false")


def _run(*command: str, folder: Path = ROOT, **variables: str) -> str:
    """What a program prints; where it fails, its output goes to stderr."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
