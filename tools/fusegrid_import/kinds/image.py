"""Image classification with Vision Transformers and ResNets: heads are those of the experts."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ..class_heads import classes_of, owner_of_head
from ..examples import choose_examples
from ..image_pack import make_parts, write_pack
from ..images import Processor, read_processor
from ..job import Job, digest_of, sha256_of
from ..models import read_config, read_tensors, weight_files

# model_type -> the classifier, the features that it reads.
_HEADS = {"vit": ("classifier", "first"), "resnet": ("classifier.1", "mean")}
_IMAGE_SIZE = 224  # of a config.json without one


def make(job: Job) -> dict[str, str]:
    config = read_config(job.base)
    if config.get("model_type") not in _HEADS:
        raise ValueError(
            f"{job.base}: model_type must be one of {', '.join(_HEADS)}, but it is {config.get('model_type')}"
        )
    name, pooling = _HEADS[config["model_type"]]
    processor = read_processor(job.base)
    _check_size(job.base, config, processor)
    owners = {task.name: owner_of_head(job, task) for task in job.suite.tasks}
    heads = {task: _read_head(owner, name) for task, owner in owners.items()}
    examples = [choose_examples(job, task, ("image", "label")) for task in job.suite.tasks]
    classes = {
        each.task.name: classes_of(each, owners[each.task.name], len(heads[each.task.name]["weight"]))
        for each in examples
    }
    parts = {each.task.name: make_parts(job, each, processor, classes[each.task.name]) for each in examples}
    write_pack(job, examples, classes, parts)
    experts = [sha256_of(file) for owner in owners.values() for file in weight_files(owner)]
    named = {f"{task}.{part}": tensor for task, head in heads.items() for part, tensor in head.items()}
    path = job.make("heads.safetensors", digest_of(experts), lambda path: save_file(named, path))
    return {"heads": str(path.absolute()), "pooling": pooling}


def _check_size(base: Path, config: dict, processor: Processor) -> None:
    size = config.get("image_size", _IMAGE_SIZE)
    if processor.side != size:
        raise ValueError(
            f"{base}: its processor makes images of {processor.side} pixels, but its config.json says {size}"
            f"{'' if 'image_size' in config else ', as where image_size is not given'}; where the model takes images "
            f'of that size, write "image_size": {processor.side} into config.json of it and of its experts'
        )


def _read_head(owner: Path, name: str) -> dict[str, np.ndarray]:
    head = read_tensors(owner, lambda each: each in (f"{name}.weight", f"{name}.bias"))
    if f"{name}.weight" not in head:
        raise ValueError(f"{owner} must have a classification head, but has no {name}.weight")
    return {each.removeprefix(f"{name}."): values for each, values in head.items()}
