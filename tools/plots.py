#!/usr/bin/env python3
"""usage: tools/plots.py REPORT.html FOLDER [--width PIXELS] [--only TEXT]

Draws the plots of a page that `fusegrid report` wrote, without a browser: FOLDER/<plot>.svg, with its data in <plot>.csv.
--only takes those whose name contains TEXT. ./fusegrid setup installs the renderer.
"""

import argparse
import hashlib
import html.parser
import json
import os
import pathlib
import sys

TOOLS = pathlib.Path(__file__).resolve().parent


def packages():
    """Where ./fusegrid setup unpacks tools/requirements-page.txt."""
    base = os.environ.get("FUSEGRID_CACHE")
    if not base:
        base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "fusegrid"
    digest = hashlib.sha256((TOOLS / "requirements-page.txt").read_bytes()).hexdigest()
    folder = pathlib.Path(base) / f"page-{digest[:12]}" / "packages"
    if not folder.is_dir():
        sys.exit("the renderer of plots is not installed: run ./fusegrid setup")
    return folder


class Page(html.parser.HTMLParser):
    """Collects the specifications of the page's plots and its themes."""

    def __init__(self):
        super().__init__()
        self.plots = {}
        self.themes = None
        self.figure = None
        self.script = None
        self.text = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "figure":
            self.figure = attributes.get("id")
            self.width = int(attributes.get("data-width", 0))
        elif tag == "script" and attributes.get("type") == "application/json":
            self.script, self.text = attributes.get("id", "plot"), []

    def handle_data(self, data):
        if self.script:
            self.text.append(data)

    def handle_endtag(self, tag):
        if tag != "script" or not self.script:
            return
        content = json.loads("".join(self.text))
        if self.script == "themes":
            self.themes = content
        else:
            self.plots[self.figure] = (content, self.width)
        self.script = None


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n")[0].removeprefix("usage: "))
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    sys.path.insert(0, str(packages()))
    import vl_convert

    page = Page()
    page.feed(options.report.read_text(encoding="utf-8"))
    if page.themes is None:
        sys.exit(f"{options.report} is no page of `fusegrid report`")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, (spec, width) in page.plots.items():
        if options.only in name:
            spec["width"] = max(options.width, width)
            svg = vl_convert.vegalite_to_svg(spec, config=page.themes["light"])
            (options.folder / f"{name}.svg").write_text(svg, encoding="utf-8")
            (options.folder / f"{name}.csv").write_text(spec["data"]["values"], encoding="utf-8")
            print(options.folder / f"{name}.svg")


if __name__ == "__main__":
    main()
