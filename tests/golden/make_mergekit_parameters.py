"""What mergekit 0.1.5 declares: its methods, their parameters and defaults, as Python writes them.

Run: python make_mergekit_parameters.py [OUTPUT_FILE]   (default: mergekit_parameters.json)

{method: {parameter: default}}; "" stands for a parameter that must be given.
"""

import json
import os
import sys

from mergekit import merge_methods

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "mergekit_parameters.json")


def main():
    declared = {
        method.spec.name: {p.name: "" if p.required else str(p.default)
                           for p in method.spec.parameters}
        for method in merge_methods.registered_methods()}
    with open(OUT, "w", encoding="utf-8") as out:
        json.dump(declared, out, indent=1, sort_keys=True)
        out.write("\n")


if __name__ == "__main__":
    main()
