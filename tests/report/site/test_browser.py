"""The whole site as `make site` writes it from the committed tables, in Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest

ROOT = Path(__file__).parents[3]
SITE = ROOT / "results" / "site"
LACKING = [name for name in ("selenium", "axe_core_python") if find_spec(name) is None]
LACKING += [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
CI = os.environ.get("CI") == "true"
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    *(
        "hide-scrollbars",
        "force-prefers-reduced-motion",
        "disable-dev-shm-usage",
        "blink-settings=imagesEnabled=false",
    ),
)
NARROW = 360
READY = "return [...document.querySelectorAll('.exhibit')].every((one) => one.dataset.ready)"
CHOOSE = """
const control = document.querySelector(`[name=${arguments[0]}]`);
if (control.type === 'checkbox') control.checked = !control.checked;
else control.value = arguments[1];
control.dispatchEvent(new Event('input', {bubbles: true}));
"""
MARKS = """
const marks = [...document.querySelectorAll('.chart .role-mark')];
return marks.map((mark) => mark.outerHTML).join('') + '|' +
  document.querySelector('.numbers').textContent;
"""


class Parsed(HTMLParser):
    """Identifiers of a page, and where its links lead and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.ids.add(value)
            elif name in ("href", "src") and value is not None:
                self.links.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site; made where it does not stand as it should."""
    if find_spec("altair") is None:
        pytest.skip("the site lacks altair")
    filelock = pytest.importorskip("filelock")
    with filelock.FileLock(ROOT / "results" / ".site.lock"):  # workers share it
        subprocess.run([sys.executable, "scripts/site.py"], cwd=ROOT, check=True)
    return SITE


@pytest.fixture(scope="module")
def pages(site):
    """The paths of all pages."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory):
    """One browser for all tests; `browser.show(path)` opens a page of the site."""
    if LACKING and not CI:
        pytest.skip(f"browser: {', '.join(LACKING)} not found (chromium-driver has two of them)")
    assert not LACKING
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def show(path, width=1200, dark=False):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get((site / path).as_uri())
        wait(driver, READY)

    driver.show = show
    yield driver
    driver.quit()


def wait(driver, script, *arguments, seconds=5):
    """Return what a script returns as soon as it is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    ask = lambda d: d.execute_script(script, *arguments)  # noqa: E731
    return WebDriverWait(driver, seconds, poll_frequency=0.02).until(ask)


def of_each_template(pages):
    """One page of every folder, and those that stand alone; all of the laboratory."""
    seen, chosen = set(), []
    for path in pages:
        folder, *names = path.split("/")
        kind = path if folder == "laboratory" or names in ([], ["index.html"]) else folder
        if kind not in seen:
            seen.add(kind)
            chosen.append(path)
    return chosen


def test_every_link_and_anchor_holds(site, pages):
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    parsed = {path: Parsed((site / path).read_text()) for path in pages}
    wrong = []
    for path, page in parsed.items():
        for link in page.links:
            if re.match(r"https?:|mailto:|data:", link):
                continue
            to, _, anchor = link.partition("#")
            target = normpath(join(dirname(path), to)) if to else path
            if target not in files or (
                anchor and target in parsed and anchor not in parsed[target].ids
            ):
                wrong.append((path, link))
    assert not wrong


def test_the_site_is_no_larger_than_15_mb_and_its_front_page_than_1(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) <= 15e6
    front = Parsed((site / "index.html").read_text())
    loaded = [link for link in front.links if re.search(r"\.(svg|png|css|js)$", link)]
    sizes = [(site / link).stat().st_size for link in loaded]
    assert (site / "index.html").stat().st_size + sum(sizes) <= 1e6


def test_every_page_loads_without_a_word_in_the_console(browser, pages):
    for path in pages:
        browser.show(path)
        said = [entry["message"] for entry in browser.get_log("browser")]
        assert not said, path


def controls_of(site):
    """Every control of every exhibit: its page, its name, and a value other than the first."""
    for page in sorted((site / "laboratory").glob("*.html")):
        text = page.read_text()
        for name, options in re.findall(r'<select name="(\w+)">(.*?)</select>', text, re.S):
            start = re.search(r'value="([^"]*)" selected', options)[1]
            values = re.findall(r'value="([^"]*)"', options)
            yield page.name, name, next(v for v in reversed(values) if v != start)
        for name, last in re.findall(r'type="range" name="(\w+)" min="0" max="(\d+)"', text):
            yield page.name, name, last
        for name in re.findall(r'type="checkbox" name="(\w+)"', text):
            yield page.name, name, None


def test_every_select_and_slider_changes_the_chart_or_its_numbers(browser, site):
    found = [*controls_of(site)]
    names = ("watch", "by-layer", "curves", "by-depth", "by-depth-tuned", "map", "by-step")
    assert {page for page, *_ in found} == {f"{n}.html" for n in (*names, "distributions")}
    shown = None
    for page, name, value in found:
        if page != shown:
            browser.show(f"laboratory/{page}")
            shown = page
            if page == "watch.html":  # the input is the same for all weights
                browser.find_element("css selector", "[data-move='1']").click()
        before = browser.execute_script(MARKS)
        browser.execute_script(CHOOSE, name, value)
        changed = f"const marks = (() => {{{MARKS}}})(); return marks !== arguments[0] && marks"
        after = wait(browser, changed, before)
        drawn = [marks.partition("|")[0] for marks in (before, after)]
        assert drawn[0] != drawn[1], (page, name)
        status = browser.find_element("css selector", "[role=status]")
        assert ": " in status.get_attribute("textContent"), (page, name)
        chart = browser.find_element("css selector", ".chart")
        assert chart.get_attribute("role") == "img"
        assert "Shown: " in chart.get_attribute("aria-label")
    assert not browser.get_log("browser")


def test_layers_are_watched_by_keyboard(browser):
    from selenium.webdriver.common.keys import Keys

    browser.show("laboratory/watch.html")
    table = "return document.querySelector('.numbers tbody').textContent"
    first = browser.execute_script(table)
    browser.find_element("css selector", "[type=radio]:checked").send_keys(Keys.ARROW_RIGHT)
    second = wait(
        browser, f"const t = (() => {{{table}}})(); return t !== arguments[0] && t", first
    )
    layer = "return document.querySelector('[type=radio]:checked').value"
    assert browser.execute_script(layer) == "1"
    browser.find_element("css selector", "[data-move='1']").send_keys(Keys.ENTER)
    wait(browser, f"return (() => {{{table}}})() !== arguments[0]", second)
    assert browser.execute_script(layer) == "2"
    said = browser.find_element("css selector", "[role=status]").get_attribute("textContent")
    assert said.startswith("Layer: 2;")


def test_a_box_over_the_map_dims_the_same_networks_in_the_curves(browser):
    from selenium.webdriver import ActionChains

    browser.show("laboratory/map.html")
    faint = "return document.querySelectorAll('.chart .mark-symbol [opacity=\"0.15\"]').length"
    assert browser.execute_script(faint) == 0
    cells = browser.find_elements("css selector", ".chart .role-mark path[fill^=rgb]")
    drag = ActionChains(browser, duration=20).move_to_element(cells[5]).click_and_hold()
    drag.move_to_element(cells[40]).release().perform()
    wait(browser, f"return (() => {{{faint}}})() > 0")


def test_the_laboratory_is_ready_within_a_second(browser, site):
    for page in sorted((site / "laboratory").glob("*.html")):
        if page.name != "index.html":
            browser.show(f"laboratory/{page.name}")
            ready = browser.execute_script(
                "return document.querySelector('.exhibit').dataset.ready"
            )
            assert int(ready) < (3000 if CI else 1000), page.name  # machines of CI are shared


def test_no_template_has_a_serious_fault_or_is_wider_than_a_phone(browser, pages):
    import axe_core_python

    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    run = """
const done = arguments[arguments.length - 1];
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'];
axe.run({resultTypes: ['violations'], runOnly: rules}).then((found) => done(found.violations
  .filter((fault) => ['serious', 'critical'].includes(fault.impact))
  .map((fault) => [fault.id, fault.nodes.slice(0, 3).map((node) => node.html)])));
"""
    faults = {}
    for number, path in enumerate(of_each_template(pages)):
        browser.show(path, width=NARROW, dark=bool(number % 2))
        browser.execute_script(axe)
        if found := browser.execute_async_script(run):
            faults[path] = found
        if (
            width := browser.execute_script("return document.documentElement.scrollWidth")
        ) > NARROW:
            faults[f"{path} is so wide"] = width
    assert not faults, json.dumps(faults, indent=1)
