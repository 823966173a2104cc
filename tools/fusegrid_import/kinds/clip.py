"""Image classification with CLIP's vision towers: heads are what the text tower says of prompts."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from packs.task_pack import TaskPack, write_task_pack

from ..examples import Chosen, Examples, choose_examples, make_task, read_labels
from ..images import Processor, read_processor
from ..job import Job, digest_of, sha256_of
from ..models import weight_files
from ..text_tower import TextTower


def make(job: Job) -> dict[str, str]:
    prompts = _read_prompts(job)
    processor = read_processor(job.base)
    examples = [choose_examples(job, task, ("image", "label")) for task in job.suite.tasks]
    for each in examples:
        each.check_class_names(prompts[each.task.name]["classes"], "the prompts file")
    heads = _make_heads(job, prompts)
    parts = {
        each.task.name: _make_parts(job, each, processor, prompts[each.task.name]["classes"]) for each in examples
    }
    _write_pack(job, examples, prompts, parts)
    return {"heads": str(heads.absolute())}


def _read_prompts(job: Job) -> dict[str, dict]:
    """{"tasks": {TASK: {"classes": [...], "templates": ["a photo of a {}."]}}}: by task, of the suite's tasks."""
    if job.prompts is None:
        raise ValueError("clip needs --prompts FILE, the classes and templates of each task; see docs/your_models.md")
    tasks = json.loads(job.prompts.read_text(encoding="utf-8")).get("tasks", {})
    for task in job.suite.tasks:
        entry = tasks.get(task.name, {})
        for part in ("classes", "templates"):
            if not entry.get(part):
                raise ValueError(f"{job.prompts} must give the {part} of task '{task.name}', but has none")
        if wrong := [template for template in entry["templates"] if "{}" not in template]:
            raise ValueError(
                f"{job.prompts}, task '{task.name}': a template must have a {{}} for the class, but one is "
                f"'{wrong[0]}'"
            )
        if len(set(entry["classes"])) != len(entry["classes"]) or not all(entry["classes"]):
            raise ValueError(f"{job.prompts}, task '{task.name}': classes must be different names")
    return {task.name: tasks[task.name] for task in job.suite.tasks}


def _make_heads(job: Job, prompts: dict[str, dict]) -> Path:
    """The file remembers what it was made with."""
    base = [sha256_of(file) for file in weight_files(job.base)]
    made_from = {"base_sha256": digest_of(base), "prompts_sha256": digest_of(prompts)}

    def write(path: Path) -> None:
        tower = TextTower(job.base)
        heads = {"logit_scale": tower.logit_scale}
        for name, entry in prompts.items():
            texts = [[t.replace("{}", each) for t in entry["templates"]] for each in entry["classes"]]
            heads[f"{name}.rows"] = tower.heads(texts, name)
        save_file(heads, path, made_from)

    return job.make("heads.safetensors", made_from, write)


def _make_parts(
    job: Job, examples: Examples, processor: Processor, classes: list[str]
) -> dict[str, tuple[Path, Path]]:
    """Images and labels of each split in files of their own, which an interrupted import goes on from."""
    made = {}
    for split, chosen in examples.splits.items():
        what = f"{examples.task.name}/{split}"
        identity = [chosen.table.identity(), chosen.rows.tolist(), repr(processor), dict(examples.task.columns)]
        labels = []

        def write(path: Path) -> None:
            labels.extend(_write_images(path, examples, chosen, processor, what))

        images = job.make(f"parts/{what}.npy", digest_of(identity), write)
        column = examples.column("label")
        answers = job.make(
            f"parts/{what}.labels.json",
            digest_of(identity),
            lambda path: path.write_text(json.dumps(labels or _read_column(chosen, column, what))),
        )
        read_labels(json.loads(answers.read_text()), chosen, classes)  # refused before the next split is read
        made[split] = images, answers
    return made


def _write_images(path: Path, examples: Examples, chosen: Chosen, processor: Processor, what: str) -> list:
    image, label = examples.column("image"), examples.column("label")
    shape = (len(chosen), 3, processor.crop, processor.crop)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    labels: list = [None] * len(chosen)
    for place, row in chosen.read([image, label], what):
        images[place] = processor(row[image], chosen.table.where)
        labels[place] = row[label]
    images.flush()
    return labels


def _read_column(chosen: Chosen, column: str, what: str) -> list:
    values: list = [None] * len(chosen)
    for place, row in chosen.read([column], what):
        values[place] = row[column]
    return values


def _write_pack(job: Job, examples: list[Examples], prompts: dict, parts: dict) -> None:
    classes = {name: entry["classes"] for name, entry in prompts.items()}

    def arrays(task: str, split: str, chosen: Chosen) -> dict:
        images, labels = parts[task][split]
        return {
            "images": np.asarray(np.load(images, mmap_mode="r")),  # mapped, not read: a suite may have 35 GB of them
            "labels": read_labels(json.loads(labels.read_text()), chosen, classes[task]),
        }

    tasks = tuple(
        make_task(
            "classify",
            each,
            {"classes": classes[each.task.name]},
            lambda split, chosen, name=each.task.name: arrays(name, split, chosen),
        )
        for each in examples
    )
    made_from = [job.suite.name, classes, [[task.name, task.title, task.licence, task.source] for task in tasks]]
    files = [file for of_task in parts.values() for pair in of_task.values() for file in pair]
    made_from += [[each.identity() for each in examples], [sha256_of(file) for file in files]]
    pack = TaskPack(job.suite.name, digest_of(made_from), tasks)
    job.make("pack.h5", digest_of(made_from), lambda path: write_task_pack(path, pack))
