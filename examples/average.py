"""A merging method in Python: averages the experts. In a job file of fusegrid (docs/jobs.md, "External methods"):

    [external:average]
    command = python3 examples/average.py {request}
"""
import json
import pathlib
import shutil
import sys

import numpy
from safetensors.numpy import load_file, save_file


def load_model(folder):
    tensors = {}
    for file in sorted(pathlib.Path(folder).glob("model*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def average(tensors):
    return numpy.mean(tensors, axis=0, dtype=numpy.float64).astype(tensors[0].dtype)


request = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
experts = [load_model(expert["folder"]) for expert in request["experts"]]
merged = {name: average([expert[name] for expert in experts]) for name in experts[0]}

out = pathlib.Path(request["out"])
out.mkdir()
save_file(merged, out / "model.safetensors")
shutil.copy(pathlib.Path(request["base"]) / "config.json", out)
