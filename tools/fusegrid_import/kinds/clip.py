"""Image classification with CLIP's vision towers: heads are what the text tower says of prompts."""

import json
from pathlib import Path

from safetensors.numpy import save_file

from ..examples import choose_examples
from ..image_pack import make_parts, write_pack
from ..images import read_processor
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
    classes = {name: entry["classes"] for name, entry in prompts.items()}
    parts = {each.task.name: make_parts(job, each, processor, classes[each.task.name]) for each in examples}
    write_pack(job, examples, classes, parts)
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
