import contextlib
import io
import unittest
from unittest import mock

import support  # noqa: F401  (finds tools/)
import leaderboard
from leaderboard import Board, Zoo, chosen_boards, commands_of, estimated_minutes, make, read_boards
from support import ROOT, FolderTest


def board(job: str, minutes: float = 3, zoo_minutes: float = 4, scripts=(), scales=("small",)) -> Board:
    return Board(job, zoo_minutes, minutes, "small", scripts, (Zoo("embedded", scales, ("--seeds", "0..2")),))


class BoardsTest(FolderTest):
    def test_each_board_has_its_job_and_recipe(self):
        boards = read_boards()
        self.assertEqual(len({each.job for each in boards}), len(boards))
        for each in boards:
            self.assertTrue((ROOT / f"jobs/{each.job}.cfg").exists(), each.job)
            for zoo in each.zoos:
                self.assertTrue((ROOT / f"src/zoo/recipes/{zoo.recipe}.cpp").exists(), each.job)
            for script in each.scripts:
                self.assertTrue((ROOT / "tools" / script).exists(), script)

    def test_one_seed_of_all_small_boards_takes_less_than_four_hours(self):
        small = chosen_boards(read_boards(), {"small"}, None)
        self.assertLess(estimated_minutes(small, set(), 2), 240)

    def test_a_bad_line_is_named(self):
        (self.folder / "boards.txt").write_text("# a comment\n\nquickstart 1 2 tiny - embedded --scale small\n")
        with self.assertRaisesRegex(ValueError, "boards.txt:3: a board is"):
            read_boards(self.folder / "boards.txt")

    def test_a_board_may_have_several_zoos(self):
        line = "a 1 2 small - embedded --scale s,m ; many --scale small --seeds 0..2 --out zoos/x\n"
        (self.folder / "boards.txt").write_text(line)
        (read,) = read_boards(self.folder / "boards.txt")
        self.assertEqual(
            [" ".join(command) for command in commands_of(read, ["go"], None)],
            [
                "go zoo build embedded --scale s",
                "go zoo build embedded --scale m",
                "go zoo build many --scale small --seeds 0..2 --out zoos/x",
                "go run jobs/a.cfg",
            ],
        )
        (self.folder / "boards.txt").write_text("a 1 2 small - embedded --scale s ; many small\n")
        with self.assertRaisesRegex(ValueError, "boards.txt:1: a board is"):
            read_boards(self.folder / "boards.txt")

    def test_only_finds_boards_of_any_group(self):
        boards = read_boards()
        self.assertEqual([each.job for each in chosen_boards(boards, set(), "^data_free$")], ["data_free"])
        with self.assertRaisesRegex(ValueError, "finds no board; there are quickstart"):
            chosen_boards(boards, {"small"}, "nothing")

    def test_a_shared_zoo_counts_once_and_what_is_done_not_at_all(self):
        boards = [board("a"), board("b"), board("c", scales=("large",))]
        self.assertEqual(estimated_minutes(boards, set(), 2), 4 + 4 + 9)
        self.assertEqual(estimated_minutes(boards, {"c"}, 4), (4 + 6) / 2)

    def test_commands_make_data_then_zoos_then_the_board(self):
        commands = commands_of(board("a", scripts=("make_x.py",), scales=("s", "m")), ["run-it"], "cpu")
        self.assertEqual(commands[0], ["tools/data_python", "tools/make_x.py"])
        self.assertEqual(
            [" ".join(command) for command in commands[1:]],
            [
                "run-it zoo build embedded --scale s --seeds 0..2 --device cpu",
                "run-it zoo build embedded --scale m --seeds 0..2 --device cpu",
                "run-it run jobs/a.cfg --device cpu",
            ],
        )

    def test_failed_cells_are_no_failure_and_a_failed_build_is(self):
        codes = {"zoo": 0, "run": 3}

        def run(command, **_):
            return mock.Mock(returncode=codes["zoo" if "zoo" in command else "run"])

        with mock.patch.object(leaderboard.subprocess, "run", run), contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(make(board("a"), ["run-it"], None), "")
            codes["zoo"] = 2
            self.assertIn("ended with 2", make(board("a"), ["run-it"], None))


if __name__ == "__main__":
    unittest.main()
