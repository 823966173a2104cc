"""Digests of what mergekit 0.1.5 makes of the configurations of tests/mergekit/grid.py.

Run: python make_mergekit_files.py PROGRAM [FILE]   (default: ../mergekit/digests.json)

PROGRAM is a built fusegrid, which makes the models. While mergekit runs, equal magnitudes are kept by
position and not as an unstable sort leaves them: stable() of make_compat_mergekit.py.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "mergekit"))
import grid

if any(os.environ.get(name) != value for name, value in grid.ENVIRONMENT.items()):
    # PyTorch reads them when it is loaded
    os.execve(sys.executable, [sys.executable, *sys.argv], {**grid.environment(), "PYTHONHASHSEED": "0"})

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

sys.argv, arguments = [sys.argv[0]], sys.argv[1:]
from make_compat_mergekit import stable

PROGRAM = pathlib.Path(arguments[0]).resolve()
FILE = pathlib.Path(arguments[1] if len(arguments) > 1 else HERE.parent / "mergekit" / "digests.json").resolve()


def merged(configuration, folder):
    with stable(None):
        run_merge(MergeConfiguration.model_validate(configuration), str(folder),
                  MergeOptions(quiet=True, write_model_card=False, copy_tokenizer=False))
    (weights,) = folder.glob("*.safetensors")
    weights.rename(folder / "model.safetensors")
    result = grid.digest(folder, configuration)
    shutil.rmtree(folder)
    return result


def main():
    torch.set_num_threads(1)
    digests = {}
    with tempfile.TemporaryDirectory() as folder:
        grid.make_models(PROGRAM, pathlib.Path(folder))
        os.chdir(folder)
        for name, configuration in grid.cases():
            # as mergekit reads it
            read = yaml.safe_load(json.dumps(configuration))
            digests[name] = merged(read, pathlib.Path("out"))
            print(name, digests[name], flush=True)
    FILE.write_text(json.dumps(digests, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
