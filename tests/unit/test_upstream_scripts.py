"""Scripts written for the published package, unchanged, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from autogaze_cli.model.autogaze import load_model
from autogaze_cli.upstream.__main__ import main
from autogaze_cli.upstream.siglip import SiglipVisionConfig, SiglipVisionModel

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "parity-tiny"

# The steps of the published quick start: one clip, SigLIP, another resolution and patch size,
# chunks of a larger video, a stream.
QUICK_START = """
import sys, json
import av
import torch
from autogaze.datasets.video_utils import read_video_pyav, transform_video_for_pytorch
from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
from autogaze.vision_encoders.siglip import SiglipVisionModel

gaze_name, siglip_name, path = sys.argv[1:]
transform = AutoGazeImageProcessor.from_pretrained(gaze_name)
model = AutoGaze.from_pretrained(gaze_name)
container = av.open(path)
indices = list(range(model.config.max_num_frames))
raw = read_video_pyav(container=container, indices=indices)
container.close()
video = transform_video_for_pytorch(raw, transform)[None]
ratio = [0.2] + [0.05] * 15
with torch.inference_mode():
    gaze = model({"video": video}, gazing_ratio=0.1, task_loss_requirement=0.7)
    listed = model({"video": video}, gazing_ratio=ratio)

siglip_transform = AutoGazeImageProcessor(size=(224, 224))
siglip = SiglipVisionModel.from_pretrained(
    siglip_name, scales=model.config.scales, attn_implementation="sdpa"
)
seen = transform_video_for_pytorch(raw, siglip_transform)[None]
features = siglip(seen, gazing_info=gaze)
kept = [f[~pad] for f, pad in zip(features.last_hidden_state, gaze["if_padded_gazing"])]

transform_392 = AutoGazeImageProcessor.from_pretrained(gaze_name, size=(392, 392))
video_392 = transform_video_for_pytorch(raw, transform_392)[None]
with torch.inference_mode():
    gaze_392 = model(
        {"video": video_392}, gazing_ratio=0.05, task_loss_requirement=0.7,
        target_scales=[56, 112, 196, 392], target_patch_size=14,
    )
siglip_392 = SiglipVisionModel.from_pretrained(
    siglip_name + "-14", scales="56+112+196+392", attn_implementation="sdpa"
)
features_392 = siglip_392(video_392, gazing_info=gaze_392)

large = video.repeat(1, 2, 1, 2, 1)[..., :448, :224]
chunks = large.view(1, 2, 16, 3, 2, 224, 1, 224).permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(0, 3)
with torch.inference_mode():
    many = model({"video": chunks}, gazing_ratio=0.02, generate_only=True)
features_many = siglip(chunks, gazing_info=many)

past = {"past_key_values": None, "past_inputs_embeds": None,
        "past_attention_mask": None, "past_conv_values": None}
outputs = []
for t in range(video.shape[1]):
    out = model({"video": video[:, t:t + 1]}, gazing_ratio=0.1, task_loss_requirement=0.7,
                generate_only=True, use_cache=True, **past)
    outputs.append(out)
    past = {"past_key_values": out["past_key_values"],
            "past_inputs_embeds": out["past_input_embeds"],
            "past_attention_mask": out["past_attention_mask"],
            "past_conv_values": out["past_conv_values"]}
positions = [out["gazing_pos"] + model.num_vision_tokens_each_frame * t
             for t, out in enumerate(outputs)]
assert torch.allclose(gaze["gazing_pos"], torch.cat(positions, dim=1))

print(json.dumps({
    "ids": gaze["gazing_pos"].tolist(),
    "valid": int((~gaze["if_padded_gazing"]).sum()),
    "kept": [list(k.shape) for k in kept],
    "finite": bool(features.last_hidden_state.isfinite().all()),
    "listed": listed["num_gazing_each_frame"].tolist(),
    "ids_392": gaze_392["gazing_pos"].tolist(),
    "padded_392": gaze_392["if_padded_gazing"].tolist(),
    "features_392": list(features_392.last_hidden_state.shape),
    "many": [list(many["gazing_pos"].shape), list(features_many.last_hidden_state.shape)],
    "modules": sorted(name for name in sys.modules if name.partition(".")[0] == "transformers"),
}))
"""

# A preprocessor that loads once, resizes to the largest scale, and moves results to the CPU.
PREPROCESSOR = """
import sys, json
import numpy as np, torch
import autogaze_cli.upstream; autogaze_cli.upstream.install()
from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor

case = sys.argv[1]
settings = json.load(open(case + "/case.json"))["settings"]
scales, size = settings["target_scales"], settings["processor_size"]
processor = AutoGazeImageProcessor.from_pretrained(sys.argv[2])
model = AutoGaze.from_pretrained(sys.argv[2], device_map="cpu").eval()
clips = [list(clip) for clip in np.load(case + "/frames.npz")["frames"]]
size = {"height": size[0], "width": size[1]} if isinstance(size, list) else size
video = processor(clips, size=size, return_tensors="pt")["pixel_values"].to(model.device)
with torch.inference_mode():
    out = model({"video": video}, target_scales=scales,
                target_patch_size=settings["target_patch_size"],
                gazing_ratio=settings["gazing_ratio"],
                task_loss_requirement=settings["task_loss_requirement"], generate_only=True)
torch.save({k: v.cpu() for k, v in out.items() if isinstance(v, torch.Tensor)}, sys.argv[3])
"""


def run(
    *command: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def save_siglip(folder: Path, **sizes: Any) -> None:
    config = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, **sizes
    )
    torch.manual_seed(8)
    folder.mkdir()
    save_file(SiglipVisionModel(config).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


def test_the_quick_start_runs_unchanged(tmp_path: Path) -> None:
    save_siglip(tmp_path / "siglip")
    save_siglip(tmp_path / "siglip-14", image_size=384, patch_size=14)
    script = tmp_path / "quick_start.py"
    script.write_text(QUICK_START)
    video = ROOT / "fixtures" / "dog.mp4"
    done = run("-m", "autogaze_cli.upstream", script, TINY, tmp_path / "siglip", video)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["modules"] == []
    assert found["kept"] == [[found["valid"], 32]]
    assert found["finite"]
    assert found["listed"] == [53] + [13] * 15
    valid = np.array(found["ids_392"])[~np.array(found["padded_392"])]
    frame = valid // 1060
    assert frame.tolist() == sorted(frame.tolist())
    assert set(frame.tolist()) == set(range(16))
    assert (np.diff(valid) > 0).all()
    assert found["features_392"] == [1, len(found["ids_392"][0]), 32]
    assert found["many"][0][0] == found["many"][1][0] == 4
    # The same clip through the engine, read and preprocessed another way.
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    model = load_model(TINY)
    clip = model.preprocess(np.stack(frames[:16]).astype(np.uint8))
    wanted = model.generate(clip, gazing_ratio=0.1, task_loss_requirement=0.7)
    assert wanted.gazing_pos.tolist() == found["ids"]


@pytest.mark.parametrize("name", ["tiny-b4-t4-stop", "tiny-b1-t2-tiles392"])
def test_published_rows_are_chosen_without_touching_the_script(name: str, tmp_path: Path) -> None:
    case = ROOT / "fixtures" / "parity" / name
    script, out = tmp_path / "preprocess.py", tmp_path / "out.pt"
    script.write_text(PREPROCESSOR)
    if name == "tiny-b4-t4-stop":
        done = run(script, case, TINY, out, env={"AUTOGAZE_UPSTREAM_ROWS": "published"})
    else:
        done = run("-m", "autogaze_cli.upstream", "--rows", "published", script, case, TINY, out)
    assert (done.returncode, done.stderr) == (0, "")
    found, wanted = torch.load(out), load_file(case / "outputs.safetensors")
    assert torch.equal(found["gazing_pos"], wanted["gazing_pos"])
    assert torch.equal(found["if_padded_gazing"], wanted["if_padded_gazing"].bool())
    assert torch.equal(found["num_gazing_each_frame"], wanted["num_gazing_each_frame"])


WHOSE = """
import autogaze_cli.upstream as upstream

def whose():
    import autogaze.utils
    from autogaze.models.autogaze import AutoGaze
    return AutoGaze.__module__, autogaze.utils.__name__

print(upstream.install(), *whose())
print(upstream.install(replace=True), *whose())
print(upstream.install(), *whose())
"""


@pytest.mark.parametrize("present", [False, True])
def test_a_present_package_is_left_alone(present: bool, tmp_path: Path) -> None:
    package = tmp_path / "autogaze"
    package.mkdir()  # without the model, a folder of that name is not the package
    if present:
        (package / "models" / "autogaze").mkdir(parents=True)
        (package / "models" / "autogaze" / "__init__.py").write_text("class AutoGaze: pass")
        (package / "utils.py").write_text("")
    done = run("-c", WHOSE, env={"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])})
    assert done.stderr == ""
    ours = "True autogaze_cli.upstream.model autogaze.utils"
    theirs = "False autogaze.models.autogaze autogaze.utils"
    assert done.stdout.splitlines() == [theirs if present else ours, ours, ours]


def test_errors_of_the_runner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "none.py")])
    assert capsys.readouterr().err.endswith("none.py: is not a file\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from autogaze.models.autogaze import AutoGaze\n"
        "AutoGaze.from_pretrained(sys.argv[1])\n"
    )
    done = run("-m", "autogaze_cli.upstream", script, "some/where", "--rows", "x")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: some/where: no such model")
    assert "autogaze models fetch some/where" in done.stderr
    assert len(done.stderr.splitlines()) == 1
