"""Tests of check_definitions.py: each double is found in a small tree, and nothing else."""

import pathlib
import tempfile
import unittest

from check_definitions import violations


class CheckDefinitions(unittest.TestCase):
    def found(self, **files):
        """Violations of a tree with these files; '__' in a name stands for '/', a final '_h' or '_cpp' for the suffix."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                stem, _, suffix = name.replace("__", "/").rpartition("_")
                path = root / f"{stem}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return list(violations(root))

    def assert_one(self, *expected, **files):
        found = self.found(**files)
        self.assertEqual(len(found), 1, found)
        for text in expected:
            self.assertIn(text, found[0])

    def test_two_headers_define_one_name(self):
        for text in ("class Table {\n int x;\n};", "struct Table final : Base<int> {};", "enum class Table : int { a };",
                     "template <typename T, typename = Enable<T>>\nclass Table {};", "inline int table(int x) { return x; }",
                     "inline const int table{1};", "template <typename T>\nT table(T x) {\n  return x;\n}"):
            scoped = "#pragma once\nnamespace fusegrid {\n" + text + "\n}\n"
            self.assert_one("src/b.h:3", "is defined in src/a.h:3 as well", src__a_h=scoped, src__b_h=scoped)

    def test_one_name_in_two_namespaces_or_overloads_is_none(self):
        self.assertEqual(self.found(src__a_h="namespace fusegrid::a { class Table {}; }\ninline void f(int x) {}",
                                    src__b_h="namespace fusegrid::b { class Table {}; }\ninline void f(double x) {}"), [])
        self.assertEqual(self.found(src__a_h="template <> Id type<int>() { return 1; }\nclass B;\nextern int n;",
                                    src__b_h="template <> Id type<bool>() { return 2; }\nclass B {};\nvoid f(B b);"), [])

    def test_names_of_one_file_belong_into_its_unnamed_namespace(self):
        for kind, text in (("type", "struct Row { int n; };"), ("type", "enum Row { a, b };"), ("function", "inline void row() {}"),
                           ("function", "template <class T> void row(T t) { t(); }"), ("function", "int row(int a = 1) {}"),
                           ("variable", "int row = 1;"), ("variable", "std::vector<int> row{1, 2};"),
                           ("variable", "inline constexpr int row = 1;")):
            self.assert_one(f"src/a.cpp:2: {kind} f::", "is declared in no header", src__a_cpp="namespace f {\n" + text + "\n}\n")
            self.assertEqual(self.found(src__a_cpp="namespace f {\nnamespace {\n" + text + "\n}\n}\n"), [])

    def test_what_a_header_declares_or_a_class_owns_passes(self):
        self.assertEqual(self.found(
            src__a_h="namespace f {\nclass Plan;\nvoid run(int x);\nextern int count;\nstruct Outer { struct State; void go(); };\n}",
            src__a_cpp="namespace f {\nclass Plan {};\nvoid run(int x) { if (x) { run({1}); } }\nint count = 0;\n"
                       "struct Outer::State { int x; };\nvoid Outer::go() {}\nOuter::Outer() : a_{1}, b_(2) {}\n"
                       "constexpr int kSize = int{2} << 20;\nstatic void help() {}\nusing A = B;\nMACRO_CALL(x)\n}\n"
                       "int main() { return 0; }\n"), [])

    def test_what_replaces_a_function_of_a_library_needs_no_header(self):
        self.assertEqual(self.found(src__a_cpp='extern "C" {\nint open(int x) { return x; }\n}\n'), [])

    def test_strings_comments_and_macros_hold_no_code(self):
        self.assertEqual(self.found(src__a_cpp='// struct A {};\n/* struct B {}; */\n#define C \\\n  struct C {}\n'
                                    "namespace {\nauto d = R\"(struct D { \")\";\nchar e = '{', f = '\"';\nint g = 1'000;\n}\n"), [])

    def test_files_of_a_folder_hide_different_names(self):
        text = "namespace f {\nnamespace {\nconstexpr int kSize = 3;\n}\n}\n"
        self.assert_one("src/a/y.cpp:3: variable f::kSize is that of src/a/x.cpp:3 too", src__a__x_cpp=text, src__a__y_cpp=text)
        self.assertEqual(self.found(src__a__x_cpp=text, src__b__y_cpp=text,
                                    src__a__z_cpp=text.replace("namespace f", "namespace f::z")), [])
        self.assertEqual(self.found(src__a__x_cpp="namespace {\nvoid f(int x) {}\n}", src__a__y_cpp="namespace {\nvoid f(bool x) {}\n}"),
                         [])

    def test_unnamed_namespaces_of_headers(self):
        self.assert_one("src/a.h:2", "another function in each file", src__a_h="namespace {\nvoid f() {}\n}\n")


if __name__ == "__main__":
    unittest.main()
