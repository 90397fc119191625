"""The bill of materials of a wheel: CycloneDX 1.6, for ``.dist-info/sboms/`` (PEP 770).

It names what is inside the wheel: the bundled models with the data they were trained on, the
compiled libraries, and what is linked into them. What a wheel depends on is in its metadata.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

NAME = "autogaze-cli"
DATA_ROW = re.compile(r"^\| ([\w.-]+)/([\w.-]+) \| (.+?) \| (.+?) \| (train|val) \|$", re.MULTILINE)

LINKED = {
    "": ("compiler_rt", "MIT"),
    ".dll": ("mingw-w64 runtime", "MIT AND ZPL-2.1"),
    ".wasm": ("wasi-libc", "MIT"),
}
"""What the compiler links into files with this ending, with its licence; "" is any ending."""


def bill_of_materials(
    release: str, epoch: int, files: Mapping[str, bytes], binaries: Iterable[str]
) -> bytes:
    """Describe a wheel as a CycloneDX document in JSON.

    Args:
        release: Version of the package.
        epoch: Time of the build in seconds since 1970.
        files: Content of the wheel's files by path.
        binaries: Paths of those that are compiled.
    """
    package = _component("library", NAME, release, "Apache-2.0")
    package["purl"] = f"pkg:pypi/{NAME}@{release}"
    components = list(_models(files))
    compiled = [_file(path, files[path]) for path in sorted(binaries)]
    endings = {""} | {ending for ending in LINKED if any(p.endswith(ending) for p in binaries)}
    zig = version("ziglang")
    linked = [_component("library", LINKED[e][0], zig, LINKED[e][1]) for e in sorted(endings)]
    for one in linked:
        one["description"] = f"as distributed with Zig {zig}, linked into the compiled files"
    components += [*compiled, *linked] if compiled else []
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "tools": {"components": [_component("application", "zig", zig, "MIT")]},
            "component": package,
        },
        "components": components,
        "dependencies": [
            {"ref": package["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]},
            *(
                {"ref": one["bom-ref"], "dependsOn": [other["bom-ref"] for other in linked]}
                for one in compiled
            ),
        ],
    }
    content = json.dumps(document, sort_keys=True).encode()
    document["serialNumber"] = f"urn:uuid:{uuid.UUID(hashlib.sha256(content).hexdigest()[:32])}"
    return (json.dumps(document, indent=1) + "\n").encode()


def _models(files: Mapping[str, bytes]) -> Iterable[dict[str, Any]]:
    """The bundled models, each followed by its data, from the catalog and the model cards."""
    for model in json.loads(files["autogaze_cli/models/models.json"])["models"]:
        folder = f"autogaze_cli/models/{model['name']}/"
        card = files[folder + "MODEL_CARD.md"].decode()
        rows: dict[str, dict[str, Any]] = {}
        for group, name, licence, items, split in DATA_ROW.findall(card):
            data = _component("data", name, "", licence) | {"group": group}
            data["bom-ref"] = f"data:{group}/{name}"
            data["description"] = f"{items} ({split})"
            if same := rows.get(data["bom-ref"]):  # videos and stills of one source
                same["description"] += f", {data['description']}"
                same["licenses"] += [one for one in data["licenses"] if one not in same["licenses"]]
            else:
                rows[data["bom-ref"]] = data
        weights = _file(folder + "model.safetensors", files[folder + "model.safetensors"])
        yield (
            weights
            | _component("machine-learning-model", model["name"], "", model["licence"])
            | {
                "description": model["summary"],
                "modelCard": {"modelParameters": {"datasets": [{"ref": ref} for ref in rows]}},
            }
        )
        yield from rows.values()


def _component(kind: str, name: str, release: str, licence: str) -> dict[str, Any]:
    made = {
        "type": kind,
        "bom-ref": f"{kind}:{name}",
        "name": name,
        "licenses": [_licence(licence)],
    }
    return made | ({"version": release} if release else {})


def _licence(stated: str) -> dict[str, Any]:
    """As an SPDX expression or identifier where it is one, and as a name otherwise."""
    try:
        known = canonicalize_license_expression(stated)
    except InvalidLicenseExpression:
        return {"license": {"name": stated}}
    return {"expression": known} if " " in known else {"license": {"id": known}}


def _file(path: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": hashes}
