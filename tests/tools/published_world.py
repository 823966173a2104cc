"""The published models and data sets of the suites that come along, in their layouts, small and with random weights."""

import io
import json
import tarfile

import import_dense_world as dense
import import_text_world as text
from import_world import (
    cache,
    clip_adapter_files,
    clip_base_files,
    clip_expert_files,
    encoded,
    parquet,
    parquet_files,
    picture,
)
from fusegrid_import.command import SUITES
from fusegrid_import.suite import read_suite

CLIP_SIZE, LORA_SIZE, TRAIN, TEST = "base-patch32", "base-patch16", 12, 8
CORRUPTION = "motion_blur"
GLUE_TRAIN, GLUE_TEST = 20, 10
ANSWERS = ["unacceptable", "acceptable", "entailment", "neutral", "contradiction", "yes", "no", "negative", "positive"]


NYUV2_TRAIN, NYUV2_TEST = 12, 6


# ---- CLIP ------------------------------------------------------------------------------------------------------------


def clip_suite():
    return read_suite(SUITES / "clip20.json", CLIP_SIZE, None)


def prompts():
    return {
        "tasks": {
            task.name: {"classes": [f"{task.name} {c}" for c in "ab"], "templates": ["a photo of a {}."]}
            for task in clip_suite().tasks
        }
    }


def write_clip(root):
    hub = root / "hub"
    hub.mkdir(exist_ok=True)
    suite = clip_suite()
    cache(hub, "models", suite.base, clip_base_files(root))
    for task in suite.tasks:
        cache(hub, "models", task.expert, clip_expert_files(root, task.name))
        cache(hub, "datasets", task.data, _image_files(task))
    lora = read_suite(SUITES / "clip8_lora.json", LORA_SIZE, None)
    cache(hub, "models", lora.base, clip_base_files(root))
    for task in lora.tasks:
        cache(hub, "models", task.expert, clip_adapter_files(root, task.name, lora.base))


def _image_files(task):
    corrupted = [CORRUPTION] if task.name in ("stanford-cars", "eurosat", "resisc45", "gtsrb") else []
    splits = {split: _images(task.name, split) for split in ("train", task.splits.get("test", "test"), *corrupted)}
    if task.data.startswith("clip-benchmark/wds"):
        return {f"{split}/0.tar": _tar(rows) for split, rows in splits.items()}
    files = parquet_files(splits)
    config = task.config or "data"
    return {f"{config}/{name.removeprefix('data/')}": content for name, content in files.items()}


def _images(task, split):
    label = bool if task == "pcam" else int
    return [
        {"image": {"bytes": encoded(picture(f"{task}/{split}/{i}")), "path": None}, "label": label(i % 2)}
        for i in range(TRAIN if split == "train" else TEST)
    ]


def _tar(rows):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for i, row in enumerate(rows):
            for ending, member in (("jpg", row["image"]["bytes"]), ("cls", str(row["label"]).encode())):
                info = tarfile.TarInfo(f"s{i:07}.{ending}")
                info.size = len(member)
                tar.addfile(info, io.BytesIO(member))
    return content.getvalue()


# ---- GLUE ------------------------------------------------------------------------------------------------------------

_GLUE = {
    "cola": ["sentence"], "mnli": ["premise", "hypothesis"], "mrpc": ["sentence1", "sentence2"],
    "qnli": ["question", "sentence"], "qqp": ["question1", "question2"], "rte": ["sentence1", "sentence2"],
    "sst2": ["sentence"], "stsb": ["sentence1", "sentence2"],
}  # fmt: skip


def write_glue(root):
    files = {}
    for task, columns in _GLUE.items():
        end = "_matched" if task == "mnli" else ""
        for split, count in (("train", GLUE_TRAIN), (f"validation{end}", GLUE_TEST), (f"test{end}", GLUE_TEST)):
            texts = [text.sentences(f"{task}/{split}/{column}", count) for column in columns]
            labels = [-1 if split.startswith("test") else _label(task, i) for i in range(count)]
            rows = [dict(zip(columns, row)) | {"label": label} for *row, label in zip(*texts, labels)]
            files[f"{task}/{split}-00000-of-00001.parquet"] = parquet(rows)
    cache(root / "hub", "datasets", "nyu-mll/glue", files)


def _label(task, i):
    return [0.0, 1.2, 2.6, 3.75, 5.0][i % 5] if task == "stsb" else i % (3 if task == "mnli" else 2)


def write_gpt2(root):
    cache(root / "hub", "models", "gpt2", text.gpt2_files(root, "base"))
    for task in read_suite(SUITES / "gpt2_glue7.json", None, None).tasks:
        labels = 3 if task.name == "mnli" else 2
        cache(root / "hub", "models", task.expert, text.gpt2_files(root, task.name, labels))


def write_flan_t5(root):
    """Base, experts without tokenizer files, adapters."""
    hub = root / "hub"
    cache(hub, "models", "google/flan-t5-base", text.t5_files(root, "base", [*ANSWERS, *_scores()]))
    for task in read_suite(SUITES / "flan_t5_glue8.json", "base", None).tasks:
        files = text.t5_files(root, task.name, [*ANSWERS, *_scores()])
        cache(hub, "models", task.expert, {name: files[name] for name in ("config.json", "model.safetensors")})
    for task in read_suite(SUITES / "flan_t5_glue8_lora.json", "base", None).tasks:
        cache(hub, "models", task.expert, text.t5_adapter_files(root, task.name, "google/flan-t5-base"))


def _scores():
    return [f"{tenths / 10:.1f}" for tenths in range(51)]


def write_prompts(path):
    path.write_text(json.dumps(prompts()))
    return path


# ---- NYUv2 -----------------------------------------------------------------------------------------------------------


def write_nyuv2(root):
    hub = root / "hub"
    hub.mkdir(exist_ok=True)
    dense.write_models(hub, "nyuv2-{}", classes=13)
    rows = {split: [dense.hub_row(split, i) for i in range(count)]
            for split, count in (("train", NYUV2_TRAIN), ("val", NYUV2_TEST))}  # fmt: skip
    cache(hub, "datasets", "tanganke/nyuv2", parquet_files(rows))
