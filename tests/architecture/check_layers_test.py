"""Tests of check_layers.py: each rule finds its violation in a small tree, and only there."""

import pathlib
import tempfile
import unittest

from check_layers import violations


class CheckLayers(unittest.TestCase):
    def found(self, **files):
        """Violations of a tree with these files; '__' in a name stands for '/', a final '_h' or '_cpp' for the suffix."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {"src__core__text_h": "", **files}.items():
                stem, _, suffix = name.replace("__", "/").rpartition("_")
                path = root / f"{stem}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return list(violations(root))

    def assert_one(self, expected, **files):
        found = self.found(**files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_allowed_arrows_and_comments_pass(self):
        self.assertEqual(self.found(src__store__a_cpp='#include "core/text.h"\n// MPI_Send, "mpi.h"\nauto s = "ncclSend";\n'
                                                      "auto x = H5Fopen();\n"), [])

    def test_upward_arrow(self):
        self.assert_one("src/core/a.cpp:2: core must not include store", src__store__b_h="",
                        src__core__a_cpp='// first line\n#include "store/b.h"\n')

    def test_coordinator_sees_only_the_protocol_of_workers(self):
        files = {"src__worker__protocol_h": "", "src__worker__device_h": ""}
        self.assertEqual(self.found(src__coordinator__a_h='#include "worker/protocol.h"\n', **files), [])
        self.assert_one("protocol.h, executor.h, supervisor.h and memory_shares.h only", src__coordinator__a_h='#include "worker/device.h"\n', **files)

    def test_missing_header_and_unknown_folder(self):
        self.assert_one("is not a file of src/", src__core__a_cpp='#include "text.h"\n')
        self.assert_one("folder 'misc' is unknown", src__misc__a_cpp="")

    def test_raw_calls_leave_their_rooms(self):
        self.assert_one("raw MPI (MPI_Send)", src__worker__a_cpp="void f() { MPI_Send(); }\n")
        self.assert_one("raw MPI", src__worker__a_cpp="#include <mpi.h>\n")
        self.assert_one("raw NCCL (ncclAllReduce)", src__fusion__a_cpp="void f() { ncclAllReduce(); }\n")
        self.assert_one("raw HDF5 (H5Fopen)", src__report__a_cpp="void f() { H5Fopen(); }\n")

    def test_forks(self):
        self.assert_one("src/store/a.cpp:1: fork() without exec", src__store__a_cpp="void f() { ::fork(); }\n")
        self.assert_one("fork() without exec", src__worker__child_process_cpp="void f() { if (fork() == 0) work(); }\n")
        self.assertEqual(self.found(src__worker__child_process_cpp="void g() { execve(a, b, c); }\nvoid f() { fork(); g(); }\n"), [])
        self.assertEqual(self.found(src__store__a_cpp="// fork()\nint prefork();\nbool has_fork = prefork();\n"), [])

    def test_torch_header(self):
        self.assert_one("torch/torch.h costs", src__core__a_cpp="#include <torch/torch.h>\n")

    def test_method_without_test_and_with_header(self):
        self.assert_one("write tests/methods/ties_test.cpp", src__methods__ties_cpp="")
        self.assert_one("write tests/metrics/rules/mcc_test.cpp", src__metrics__rules__mcc_cpp="")
        self.assert_one("one .cpp that registers itself", src__methods__ties_h="")
        self.assertEqual(self.found(src__methods__ties_cpp="", tests__methods__ties_test_cpp=""), [])

    def test_wrong_root(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("holds no sources", list(violations(pathlib.Path(folder)))[0])


if __name__ == "__main__":
    unittest.main()
