#!/usr/bin/env python3
"""usage: browser_test.py REPORT_SPEED SOURCE-FOLDER

Opens a page that `fusegrid report` writes in headless Chromium, narrow and wide, light and dark, and checks what its
script makes of it. Exit status 77 (skipped) where Chromium or the libraries of the page are not installed.
"""

import functools
import http.server
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
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
filter.value = '"Method 1"';  // in quotes: one phrase
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
<script>addEventListener('message', (event) => fetch('found', {{method: 'POST', body: event.data}}));</script>"""
LONGEST_SECONDS = 120  # until a page has told what it found


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what a page of it sends in the server's `found`."""

    def do_POST(self):
        self.server.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def libraries():
    sys.path.insert(0, str(SOURCE / "tools"))
    import plots

    return plots.packages().parent


class Browser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        subprocess.run([PROGRAM, LIBRARIES, cls.folder / "results", "10000"], check=True, stdout=subprocess.DEVNULL)
        page = (cls.folder / "results" / "report.html").read_text()
        # Not the first end of a body: the libraries have one in a text.
        body, end = page.replace("<head>", "<head>" + FAULTS, 1).rsplit("</body>", 1)
        (cls.folder / "page.html").write_text(f"{body}{CHECKS}</body>{end}")

        handler = functools.partial(Handler, directory=str(cls.folder))
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        cls.server.found = queue.Queue()
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()
        cls.temporary.cleanup()

    def look(self, width, *options):
        """What the page finds of itself, opened in a frame of this width: however long a busy machine takes."""
        (self.folder / "frame.html").write_text(FRAME.format(width=width))
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1400,1000",
                   "--no-proxy-server", f"--user-data-dir={self.folder}/profile-{width}", "--remote-debugging-port=0",
                   *options, f"http://127.0.0.1:{self.server.server_port}/frame.html"]
        log = self.folder / "browser.log"
        with log.open("w") as output:
            browser = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            return self.server.found.get(timeout=LONGEST_SECONDS)
        except queue.Empty:
            self.fail(f"the page told nothing in {LONGEST_SECONDS} s: {log.read_text()[-4000:]}")
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()

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
