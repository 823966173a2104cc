"""An evaluator in Python: of how many patches of a vision transformer is the position embedding most like that of a
patch beside it? In a job file of fusegrid (docs/jobs.md, "Tasks of your own"):

    [task:neighbours]
    command = python3 examples/evaluate.py {request}
    metric = accuracy
"""
import json
import pathlib
import sys

import numpy
from safetensors.numpy import load_file


def position_embeddings(folder):
    for file in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        for name, tensor in load_file(file).items():
            if name.endswith("embeddings.position_embedding.weight"):
                return tensor[1:]  # the first is that of the class token
    sys.exit(f"'{folder}' has no position embeddings: it is no vision tower of CLIP's layout")


request = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
if request["split"] != "test":
    sys.exit("there are no validation examples: leave 'validation = yes' out of the job")
rows = position_embeddings(request["model"]).astype(numpy.float64)
rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
likeness = rows @ rows.T
numpy.fill_diagonal(likeness, -numpy.inf)
row, column = numpy.divmod(numpy.arange(len(rows)), round(len(rows) ** 0.5))
nearest = likeness.argmax(axis=1)
right = (abs(row - row[nearest]) <= 1) & (abs(column - column[nearest]) <= 1)
outcomes = right[: request["limit"]].tolist()
answer = {"accuracy": sum(outcomes) / len(outcomes), "count": len(outcomes), "outcomes": {"accuracy": outcomes}}
pathlib.Path(request["out"]).write_text(json.dumps({request["task"]: answer}), encoding="utf-8")
