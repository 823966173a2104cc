#!/usr/bin/env python3
"""usage: check_definitions.py [REPOSITORY]

Finds what the linker does not: two definitions of one name in one program, of which it takes the first that comes. So
what only one .cpp of src/ or tests/ knows (types, functions, templates, variables) must be in an unnamed namespace,
unless a header declares it, and no two headers may define one name. Files of a folder are compiled in batches, as if
they were one: so names in unnamed namespaces must differ within a folder too. Prints one line per violation; exit status
1 if there is any.
"""

import pathlib
import re
import sys
from dataclasses import dataclass

# Comments, literals and preprocessor lines: nothing in them is code of a scope.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"'
                     r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.DOTALL | re.MULTILINE)
NAMESPACE = re.compile(r"(?:inline\s+)?namespace\b([\w\s:]*)$")
LANGUAGE = re.compile(r'extern\s*(?:""|\s)$')
TYPE = re.compile(r"(?:class|struct|union|enum(?:\s+(?:class|struct))?)\s+(?:\[\[.*?\]\]\s*|alignas\s*\(.*?\)\s*)*"
                  r"(?P<name>\w+(?:\s*::\s*\w+)*)\s*(?P<arguments><[^{]*>)?\s*(?:final\b)?\s*(?::(?!:).*?)?(?P<body>\{\})?\s*;?$",
                  re.DOTALL)
CALLABLE = re.compile(r"(?P<name>(?:\w+\s*(?:<[^()]*>)?\s*::\s*)*(?:operator\s*(?:\(\s*\)|[^\s(]+|\s\w+)|~?\w+))\s*(?P<arguments><[^()]*>)?\s*\(")
VARIABLE = re.compile(r"(?P<name>(?:\w+\s*(?:<[^;]*>)?\s*::\s*)*\w+)\s*(?:\[[^\]]*\]\s*)*;$")
ALONE = {("tests", "benchmarks"), ("tests", "mpi")}  # folders whose files are a program each
INTERNAL = re.compile(r"\b(?:static|constexpr|const)\b")


@dataclass(frozen=True)
class Entity:
    kind: str  # type, function or variable
    name: str  # with its namespaces
    signature: str  # tells overloads and specialisations apart
    defined: bool
    hidden: bool  # in an unnamed namespace, or of one file by its own words
    member: bool  # of a class that is declared elsewhere
    line: int


def blanked(text):
    def blank(match):
        word = match.group()
        return ('""' if word[0] in '"R' else "0" if word[0] == "'" else "") + "\n" * word.count("\n")
    return NO_CODE.sub(blank, text)


def closing(code, opening):
    """Position of the brace that closes the one at `opening`."""
    depth = 0
    for brace in re.finditer(r"[{}]", code[opening:]):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return opening + brace.start()
    return len(code) - 1


def is_initialised(text):
    """Whether it is a variable with '=': its statement goes on to the semicolon."""
    outside = text
    while (inner := re.sub(r"\([^()]*\)|<[^<>]*>", "", outside)) != outside:
        outside = inner
    return "=" in outside and "operator" not in outside


def statements(code):
    """(namespaces, text, line) of everything at namespace scope; bodies are cut down to {}."""
    scopes, text, begin, at = [], "", 0, 0
    while at < len(code):
        char = code[at]
        if not text and char.isspace():
            at += 1
            continue
        if not text:
            begin = at
        head = text.strip()
        if char == "{" and (NAMESPACE.match(head) or LANGUAGE.match(head)):
            match = NAMESPACE.match(head)
            scopes.append(match.group(1).strip() if match else None)
            text = ""
        elif char == "{":
            at = closing(code, at)
            text += "{}"
            following = code[at + 1:].lstrip()[:1]
            if not is_initialised(text) and following not in {",", ";", "{", ")", "=", "("}:
                yield tuple(scopes), text, code.count("\n", 0, begin) + 1
                text = ""
        elif char == "}":
            if scopes:
                scopes.pop()
            text = ""
        elif char == ";":
            yield tuple(scopes), text + ";", code.count("\n", 0, begin) + 1
            text = ""
        else:
            text += char
        at += 1


def without_template(text):
    """(text without its template<...> heads and requires clauses, whether there were any, whether with parameters)."""
    found = parameters = False
    while match := re.match(r"template\s*<", text):
        found, depth, end = True, 1, match.end()
        while depth and end < len(text):
            depth += {"<": 1, ">": -1}.get(text[end], 0)
            end += 1
        parameters = parameters or bool(text[match.end():end - 1].strip())
        text = text[end:].lstrip()
        text = re.sub(r"^requires\s+[\w:]+(?:<[^()]*?>)?(?:\s*(?:&&|\|\|)\s*[\w:]+(?:<[^()]*?>)?)*\s+", "", text)
    return text, found, parameters


def entity_of(scopes, text, line):
    text = re.sub(r"\s+", " ", text).strip()
    if re.match(r"(?:using|typedef|static_assert|namespace|friend|extern template|asm)\b", text) or text in {";", "{}"}:
        return None
    text, template, _ = without_template(text)
    text = re.sub(r"^(?:\[\[.*?\]\] ?)+", "", text)
    if text.startswith("concept "):
        return None
    prefix = "".join(f"{scope}::" for scope in scopes if scope)
    hidden = "" in scopes or None in scopes  # extern "C" in a file of its own: what replaces a function of a library

    def made(kind, name, signature, defined, internal=False):
        name = re.sub(r"\s+", "", name)
        return Entity(kind, prefix + name, signature, defined, hidden or internal, "::" in name and "operator" not in name.split("::")[0],
                      line)

    match = TYPE.match(text)
    if match:
        return made("type", match["name"], match["arguments"] or "", bool(match["body"]))
    head = re.sub(r"(?:alignas|decltype|noexcept|__attribute__|explicit) ?\((?:[^()]|\([^()]*\))*\)", "", text)
    initial = re.search(r"(?<![=!<>&|+*/%^-])=(?!=)", head)
    match = CALLABLE.search(head)
    if match and (not initial or match.start() < initial.start() or "operator" in match["name"]):
        parameters = re.sub(r"\b\w+(?=[,)])", "", head[match.end():head.rfind(")")])
        defined = head.endswith("}") or bool(re.search(r"= default ?;$", head))
        constructed = not defined and not re.search(r"\)\s*(?:const|noexcept|override|&|->.*)?\s*;$", head)
        if re.fullmatch(r"[A-Z][A-Z0-9_]+", match["name"].strip()):
            return None  # a macro
        if not constructed:
            return made("function", match["name"], (match["arguments"] or "") + parameters.strip(), defined, bool(re.search(r"\bstatic\b", head[:match.start()])))
    match = VARIABLE.search(re.split(r"(?:\{\}|=)", head)[0].rstrip(" ;") + ";")
    if not match or match["name"].isupper():  # a macro's name
        return None
    before = head[:match.start()]
    internal = bool(INTERNAL.search(before)) and "inline" not in before and "extern" not in before
    return made("variable", match["name"], "", "extern" not in before, internal or template)


def entities(path):
    return [entity for statement in statements(blanked(path.read_text())) if (entity := entity_of(*statement))]


def violations(root):
    paths = sorted(path for top in ("src", "tests") for path in (root / top).rglob("*") if path.suffix in {".h", ".cpp"})
    declared = {}  # (kind, name) of headers
    definitions = {}  # (kind, name, signature) -> where
    content = {path: entities(path) for path in paths}
    batched = {}  # (folder, kind, name, signature) of what is hidden in a file
    for path in paths:
        if path.suffix == ".h":
            declared.update({(entity.kind, entity.name): path for entity in content[path]})
    for path in paths:
        for entity in content[path]:
            where = f"{path.relative_to(root)}:{entity.line}"
            if path.suffix == ".h" and entity.hidden and entity.kind != "variable" and not entity.member:
                yield f"{where}: {entity.name} is another {entity.kind} in each file that includes this header; write inline, outside unnamed namespaces"
            if path.suffix == ".cpp" and entity.hidden and entity.defined and not entity.member:
                key = (path.relative_to(root).parts[:2], entity.kind, entity.name, entity.signature)
                if key in batched and batched[key][0] != path and key[0] not in ALONE:
                    yield (f"{where}: {entity.kind} {entity.name} is that of {batched[key][1]} too, with which it may be compiled "
                           "as one; give it another name, or the file a namespace of its own")
                batched.setdefault(key, (path, where))
            if entity.hidden or entity.member or not entity.defined:
                continue
            if path.suffix == ".cpp" and (entity.kind, entity.name) not in declared and entity.name != "main" \
                    and not entity.name.startswith("LLVMFuzzer"):
                yield f"{where}: {entity.kind} {entity.name} is declared in no header: put it into the unnamed namespace"
            key = (entity.kind, entity.name, entity.signature)
            if path.suffix == ".h" or entity.kind == "type":
                if key in definitions:
                    yield f"{where}: {entity.kind} {entity.name} is defined in {definitions[key]} as well: one of them needs another name"
                definitions.setdefault(key, where)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    found = list(violations(root))
    for violation in found:
        print(violation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
