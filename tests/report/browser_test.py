#!/usr/bin/env python3
"""usage: browser_test.py REPORT_SPEED SOURCE-FOLDER

Opens a page that `fusegrid report` writes in headless Chromium, narrow and wide, light and dark, and checks what its
script makes of it. Exit status 77 (skipped) where Chromium or the libraries of the page are not installed.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SKIPPED = 77
FAULTS = """<script>
const faults = [];
addEventListener('error', (event) => faults.push(event.message));
addEventListener('unhandledrejection', (event) => faults.push(String(event.reason)));
addEventListener('securitypolicyviolation', (event) => faults.push(`policy: ${event.violatedDirective}`));
console.error = console.warn = (...words) => faults.push(words.join(' '));
</script>"""
CHECKS = """<script type="module">
const until = async (test) => {
  for (let i = 0; i < 400 && !test(); ++i) await new Promise((resolve) => setTimeout(resolve, 50));
};
await until(() => document.documentElement.dataset.ready);
const table = document.querySelector('#boards table.sortable');
const heads = [...table.tHead.rows[0].cells];
const column = (name) => heads.findIndex((head) => head.textContent.trim() === name);
const texts = (name) => [...table.tBodies[0].rows].map((row) => row.cells[column(name)].textContent);
const found = {rows: texts('Method')};
const sorter = heads[column('Average')].querySelector('[role=button], button');
found.focusable = sorter !== null && sorter.tabIndex >= 0;
sorter.dispatchEvent(new KeyboardEvent('keypress', {key: 'Enter', keyCode: 13, which: 13, bubbles: true}));
await new Promise((resolve) => setTimeout(resolve, 100));
if (!heads[column('Average')].ariaSort) sorter.click();
await until(() => heads[column('Average')].ariaSort);
found.sort = heads[column('Average')].ariaSort;
found.averages = texts('Average').map(parseFloat);
const filter = document.querySelector('#boards .dt-search input');
filter.value = 'Method 1';
filter.dispatchEvent(new Event('input', {bubbles: true}));
await until(() => texts('Method').length < found.rows.length);
found.filtered = texts('Method');
for (const figure of [...document.querySelectorAll('figure.plot')].slice(0, 3)) {
  figure.scrollIntoView();
  await until(() => figure.querySelector('.place svg'));
}
found.plots = document.querySelectorAll('figure.plot').length;
found.drawn = document.querySelectorAll('figure.plot .place svg').length;
found.labelled = document.querySelectorAll('figure.plot .place svg [aria-label], figure.plot .place svg[aria-label]').length;
found.overflow = document.documentElement.scrollWidth - innerWidth;
found.width = innerWidth;
found.ground = getComputedStyle(document.body).backgroundColor;
found.faults = faults;
parent.postMessage(JSON.stringify(found), '*');
</script>"""
FRAME = """<!doctype html><body style="margin:0"><iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>
<script>addEventListener('message', (event) => {{
  const result = document.createElement('pre');
  result.id = 'found';
  result.textContent = event.data;
  document.body.append(result);
}});</script>"""


def libraries():
    sys.path.insert(0, str(SOURCE / "tools"))
    import plots

    return plots.packages().parent


class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        subprocess.run([PROGRAM, LIBRARIES, cls.folder / "results", "1500"], check=True, stdout=subprocess.DEVNULL)
        page = (cls.folder / "results" / "report.html").read_text()
        page = page.replace("<head>", "<head>" + FAULTS, 1).replace("</body>", CHECKS + "</body>", 1)
        (cls.folder / "page.html").write_text(page)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def look(self, width, *options):
        (self.folder / "frame.html").write_text(FRAME.format(width=width))
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--dump-dom",
                   "--window-size=1400,1000", f"--user-data-dir={self.folder}/profile", *options,
                   (self.folder / "frame.html").as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=300)
        found = re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL)
        self.assertTrue(found, shown.stdout[-2000:] + shown.stderr[-2000:])
        return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))

    def check(self, found, width):
        self.assertEqual(found["faults"], [])
        self.assertEqual(found["width"], width)
        self.assertLessEqual(found["overflow"], 0)
        self.assertIn("Method 0", found["rows"])
        self.assertTrue(found["focusable"])
        self.assertEqual(found["sort"], "ascending")
        numbers = [value for value in found["averages"] if value is not None]
        self.assertEqual(numbers, sorted(numbers))
        self.assertTrue(found["filtered"])
        self.assertTrue(all("Method 1" in title for title in found["filtered"]), found["filtered"])
        self.assertGreaterEqual(found["drawn"], 3)
        self.assertGreaterEqual(found["labelled"], 3)

    def test_wide_and_light(self):
        found = self.look(1280)
        self.check(found, 1280)
        self.assertEqual(found["ground"], "rgb(255, 255, 255)")

    def test_narrow_and_dark(self):
        found = self.look(380, "--blink-settings=preferredColorScheme=0")
        self.check(found, 380)
        self.assertEqual(found["ground"], "rgb(23, 27, 32)")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    PROGRAM, SOURCE = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        LIBRARIES = libraries()
    except SystemExit as missing:
        print(f"skipped: {missing}")
        sys.exit(SKIPPED)
    if not CHROMIUM:
        print("skipped: no Chromium is installed (./fusegrid setup --lint installs it)")
        sys.exit(SKIPPED)
    unittest.main(argv=sys.argv[:1])
