"""Text classification: heads are those of the experts."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from packs.task_pack import TaskPack, write_task_pack

from ..class_heads import classes_of, owner_of_head
from ..examples import Chosen, Examples, choose_examples, make_task, read_labels
from ..job import Job, digest_of, sha256_of
from ..models import is_adapter, read_config, read_tensors, weight_files
from ..rows import Tokens, check_types, columns_of, filled, read_rows, templates

# model_type -> a layer under tanh, the classifier, which token they read.
_ROBERTA = ("classifier.dense", "classifier.out_proj", "first")
_HEADS = {"bert": ("pooler.dense", "classifier", "first")}
_HEADS |= dict.fromkeys(("roberta", "xlm-roberta", "camembert"), _ROBERTA)
_HEADS |= dict.fromkeys(("gpt2", "llama", "mistral", "qwen2"), (None, "score", "last"))


def make(job: Job) -> dict[str, str]:
    tokens = Tokens(job)
    base = read_config(job.base)
    if base.get("model_type") not in _HEADS:
        raise ValueError(
            f"{job.base}: model_type must be one of {', '.join(_HEADS)}, but it is {base.get('model_type')}"
        )
    owners = {task.name: owner_of_head(job, task) for task in job.suite.tasks}
    heads = {name: _read_head(job.base, owner, base["model_type"]) for name, owner in owners.items()}
    texts = {task.name: templates(task, "text", most=2) for task in job.suite.tasks}
    examples = [
        choose_examples(job, task, [*(c for text in texts[task.name] for c in columns_of(text)), "label"])
        for task in job.suite.tasks
    ]
    # Of the families, BERT alone was trained to tell the texts of a pair apart by their types.
    has_types = base["model_type"] == "bert" and base.get("type_vocab_size", 2) > 1
    separator = tokens.separator() if has_types and any(len(each) == 2 for each in texts.values()) else None
    classes = {
        each.task.name: classes_of(each, owners[each.task.name], len(heads[each.task.name]["weight"]))
        for each in examples
    }
    made_from = [[each.identity() for each in examples], [dict(each.task.more) for each in examples], classes]
    made_from += [tokens.sha256, tokens.longest, job.suite.name]
    made_from += [] if separator is None else [separator]
    write = lambda path: _write_pack(path, job, tokens, examples, classes, separator)
    job.make("pack.h5", digest_of(made_from), write)
    experts = [sha256_of(file) for owner in owners.values() for file in weight_files(owner)]
    named = {f"{name}.{part}": tensor for name, head in heads.items() for part, tensor in head.items()}
    path = job.make("heads.safetensors", digest_of(experts), lambda path: save_file(named, path))
    return {"heads": str(path.absolute()), "pooling": _HEADS[base["model_type"]][2]}


def _read_head(base: Path, owner: Path, model_type: str) -> dict[str, np.ndarray]:
    hidden, out, _ = _HEADS[model_type]
    own = read_tensors(owner, lambda name: name.startswith((f"{hidden}.", f"{out}.")))
    if is_adapter(owner) and hidden == "pooler.dense":  # which is part of the base
        own = read_tensors(base, lambda name: name.startswith(f"{hidden}.")) | own
    names = {"weight": f"{out}.weight", "bias": f"{out}.bias"}
    if hidden:
        names |= {"hidden.weight": f"{hidden}.weight", "hidden.bias": f"{hidden}.bias"}
    head = {part: own[name] for part, name in names.items() if name in own}
    if missing := [part for part in names if part.endswith("weight") and part not in head]:
        raise ValueError(
            f"{owner} must have a classification head, but has no {names[missing[0]]}; an adapter has it where "
            "modules_to_save names it"
        )
    return head


def _write_pack(
    path: Path, job: Job, tokens: Tokens, examples: list[Examples], classes: dict, separator: int | None
) -> None:
    stored = []

    def arrays(each: Examples, split: str, chosen: Chosen) -> dict:
        texts, label = templates(each.task, "text", most=2), each.column("label")
        rows = read_rows(
            chosen, [label, *(c for text in texts for c in columns_of(text))], f"{each.task.name}/{split}"
        )
        given = [tuple(filled(text, row, chosen.table.where) for text in texts) for row in rows]
        encodings = tokens.encoded([pair if len(pair) == 2 else pair[0] for pair in given], tokens.longest)
        if separator is not None:
            check_types(encodings, separator, chosen.table.where)
        stored.append(tokens.ragged([each.ids for each in encodings], chosen.table.where))
        labels = read_labels([row[label] for row in rows], chosen, classes[each.task.name])
        return {"tokens": stored[-1], "labels": labels}

    tasks = tuple(
        make_task(
            "classify", each, {"classes": classes[each.task.name]}, lambda split, chosen: arrays(each, split, chosen)
        )
        for each in examples
    )
    made_from = digest_of([each.identity() for each in examples])
    write_task_pack(path, TaskPack(job.suite.name, made_from, tasks, tokens.table(stored, separator)))
