#!/usr/bin/env python3
"""usage: tools/page_libraries.py PACKAGES OUT

Writes what report.html carries into the folder OUT, from the packages of tools/requirements-page.txt unpacked in PACKAGES:
plots.js (Vega, Vega-Lite, Vega-Embed), tables.js and tables.css (DataTables with jQuery) and licences.txt.
./fusegrid setup calls it.
"""

import pathlib
import re
import sys

NOTICES = """\
plots.js
  Vega, Vega-Lite, Vega-Embed: Copyright (c) University of Washington Interactive Data Lab, BSD-3-Clause.
  D3 modules in Vega: Copyright Mike Bostock, ISC.
  As bundled by vl-convert, whose licence follows; the terms of BSD-3-Clause are the same for all of these.
tables.js, tables.css
  DataTables: Copyright (c) SpryMedia Ltd, MIT. jQuery: Copyright OpenJS Foundation and other contributors, MIT.
  As bundled by itables, whose licence follows; the terms of MIT are the same for all of these.
"""


def embeddable(script):
    """The script, so that no text in it acts inside an element `script`: in strings \\! and \\/ are ! and /."""
    return re.sub(r"<(!--|/script)", r"<\\\1", script, flags=re.IGNORECASE)


def tables_script(module):
    """The module, whose exports become the global DataTable."""
    exports = re.search(r"export\s*\{([^{}]*)\};?\s*(?=/\*|$)", module)
    table = exports and re.search(r"([\w$]+) as default", exports[1])
    if not table:
        sys.exit("the bundle of itables exports no default: is it another version?")
    return module[: exports.start()] + f"window.DataTable={table[1]};" + module[exports.end() :]


def main(packages, out):
    sys.path.insert(0, str(packages))
    import vl_convert

    out.mkdir(parents=True, exist_ok=True)
    bundle = packages / "itables" / "html"
    files = {
        "plots.js": embeddable(vl_convert.javascript_bundle()),
        "tables.js": embeddable(tables_script((bundle / "dt_bundle.js").read_text())),
        "tables.css": (bundle / "dt_bundle.css").read_text(),
        "licences.txt": NOTICES,
    }
    for licence in sorted(packages.glob("*.dist-info/licenses/LICENSE*")):
        name = licence.parent.parent.name.removesuffix(".dist-info")
        files["licences.txt"] += f"\n{name}\n\n{licence.read_text()}"
    for name, text in files.items():
        (out / name).write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
