#!/usr/bin/env python3
"""usage: grid_test.py PROGRAM

Merges every configuration of grid.py with `fusegrid merge --mergekit` and compares the tensors with those of mergekit
0.1.5, whose digests are in digests.json. All are documents of one file, so one process reads and merges them.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import grid

PROGRAM = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
DIGESTS = json.loads((pathlib.Path(__file__).parent / "digests.json").read_text())


class Grid(unittest.TestCase):
    def test_has_at_least_120_configurations_that_mergekit_ran(self):
        self.assertEqual(sorted(DIGESTS), sorted(name for name, _ in grid.cases()))
        self.assertGreaterEqual(len(DIGESTS), 120)
        # methods that keep everything at density 1 make what others make
        self.assertGreaterEqual(len(set(DIGESTS.values())), 110, "too many configurations make the same model")

    def test_makes_the_bytes_of_mergekit(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            grid.make_models(PROGRAM, folder)
            documents = [{**configuration, "name": name} for name, configuration in grid.cases()]
            documents.append({"merge_method": "passthrough", "models": [{"model": "bf16/base"}]})
            # JSON is YAML
            (folder / "grid.yml").write_text("".join(f"---\n{json.dumps(d)}\n" for d in documents))
            subprocess.run([PROGRAM, "merge", "--mergekit", "grid.yml", "--out", "out", "--quiet", "--digests", "none"],
                           cwd=folder, env=grid.environment(), check=True)
            for name, configuration in grid.cases():
                with self.subTest(name):
                    self.assertEqual(grid.digest(folder / f"out.{name}", configuration), DIGESTS[name])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
