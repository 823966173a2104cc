"""Unicode CLDR: names of languages, territories, currencies, subdivisions and emoji."""

from xml.etree import ElementTree
from dataclasses import dataclass
from pathlib import Path

# Languages in Latin script, several of each family, so that telling them apart is not easy.
LANGUAGES = ("es", "pt", "gl", "ca", "it", "ro", "fr", "de", "nl", "da", "no", "sv", "cs", "sk", "hr", "sl")

_INHERITED = "\u2191\u2191\u2191"  # "as in the parent locale"
_WORLD = "001"
_VARIATION = "\ufe0f"  # asks for the coloured form of a character; files disagree about writing it


@dataclass(frozen=True)
class Locale:
    names: dict[str, str]  # concept ("territory/FR", "emoji/...") -> its name
    keywords: dict[str, list[str]]  # concept of an emoji -> words beside its name
    subdivisions: dict[str, str]  # code, of which the first two letters are the territory -> its name


@dataclass(frozen=True)
class Cldr:
    english: Locale
    locales: dict[str, Locale]  # of LANGUAGES
    continents: dict[str, str]  # code of a territory -> that of its continent, both as in names
    emoji_groups: dict[str, str]  # concept -> title of its group, in the order of the Unicode standard


def read_cldr(cldr: Path, unicode_data: Path) -> Cldr:
    folder = cldr / "usr/share/unicode/cldr/common"
    return Cldr(
        english=_read_locale(folder, "en"),
        locales={language: _read_locale(folder, language) for language in LANGUAGES},
        continents=_read_continents(folder / "supplemental/supplementalData.xml"),
        emoji_groups=_read_emoji_groups(unicode_data / "usr/share/unicode/emoji/emoji-test.txt"),
    )


def _read_locale(folder: Path, language: str) -> Locale:
    names: dict[str, str] = {}
    root = ElementTree.parse(folder / "main" / f"{language}.xml").getroot()
    for kind, path in (("language", "languages/language"), ("territory", "territories/territory")):
        for element in root.findall(f"localeDisplayNames/{path}"):
            if "alt" not in element.attrib:
                _put(names, f"{kind}/{element.attrib['type']}", element.text)
    for element in root.findall("numbers/currencies/currency"):
        for name in element.findall("displayName"):
            if "count" not in name.attrib:
                _put(names, f"currency/{element.attrib['type']}", name.text)
    keywords: dict[str, list[str]] = {}
    annotations = ElementTree.parse(folder / "annotations" / f"{language}.xml").getroot()
    for element in annotations.findall("annotations/annotation"):
        concept = emoji_concept(element.attrib["cp"])
        if element.attrib.get("type") == "tts":
            _put(names, concept, element.text)
        elif element.text and element.text != _INHERITED:
            keywords[concept] = [word.strip() for word in element.text.split("|")]
    return Locale(names, keywords, _read_subdivisions(folder / "subdivisions" / f"{language}.xml"))


def _put(names: dict[str, str], concept: str, text: str | None) -> None:
    if text and text != _INHERITED:
        names.setdefault(concept, text.strip())


def emoji_concept(characters: str) -> str:
    return "emoji/" + characters.replace(_VARIATION, "")


def _read_subdivisions(path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for element in ElementTree.parse(path).getroot().iter("subdivision"):
        if "alt" not in element.attrib:
            _put(names, element.attrib["type"], element.text)
    return names


def _read_continents(path: Path) -> dict[str, str]:
    """Territories are parts of regions, which are parts of continents, which are parts of the world."""
    parents: dict[str, str] = {}
    for element in ElementTree.parse(path).getroot().findall("territoryContainment/group"):
        if not {"status", "grouping"} & set(element.attrib):  # neither deprecated nor a group beside the regions
            parents |= dict.fromkeys(element.attrib["contains"].split(), element.attrib["type"])

    def continent(code: str) -> str:
        return code if parents.get(code, _WORLD) == _WORLD else continent(parents[code])

    return {code: continent(code) for code in parents}


def _read_emoji_groups(path: Path) -> dict[str, str]:
    groups: dict[str, str] = {}
    title = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            title = line.split(":", 1)[1].strip()
        elif "; fully-qualified" in line:
            points = line.split(";")[0].split()
            groups[emoji_concept("".join(chr(int(point, 16)) for point in points))] = title
    return groups
