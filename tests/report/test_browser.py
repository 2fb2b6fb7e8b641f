"""A browser opens the page: nothing is fetched, nothing fails, and the picture answers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import dyninfer as di
from dyninfer.report import Scene, pictures, write_report
from dyninfer.report.scene import FINEST

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
PHONE = 390
MARGIN = 14  # of the picture, in pixels, as in scene.js


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(25, 2)) + 3 * shift for shift in range(4)]
    data = di.Snapshots(times=[0, 1, 2, 3], samples=samples, features=["Sox2", "Pax6"])
    model = di.ActionMatching(width=8, training=di.Training(max_steps=10))
    model.fit(data, hold_out=2, progress=False)
    table = model.evaluate(data, baselines=["still", "ot"])
    traj = model.simulate(data, np.linspace(0, 3, 13), n_paths=5)
    scene = Scene.of(data, traj, color=["Sox2"], time_unit="h")
    figures = [("Cells and paths.", scene), *pictures(model, data, table)]
    path = tmp_path_factory.mktemp("page") / "report.html"
    return scene.content, write_report(path, model, table, figures, time_unit="h")


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page):
    def at(width, scheme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        face = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [face]})
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(page[1].as_uri())
        return browser

    return at


def drawn(driver):
    return driver.execute_script("return document.querySelector('canvas').toDataURL()")


def shown_time(driver):
    return driver.find_element("tag name", "output").text


def move_slider(driver, position):
    driver.execute_script(
        "const slider = document.querySelector('input[type=range]');"
        "slider.value = arguments[0]; slider.dispatchEvent(new Event('input'));",
        position,
    )


def hover(driver, x, y):
    """Move the pointer to a place of the scene, and return what is said there."""
    canvas = driver.find_element("tag name", "canvas")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    box = driver.execute_script(
        "const b = arguments[0].getBoundingClientRect();"
        "return [b.left, b.top, arguments[0].clientWidth, arguments[0].clientHeight]",
        canvas,
    )
    left, top, width, height = box
    event = {
        "type": "mouseMoved",
        "x": left + MARGIN + x / FINEST * (width - 2 * MARGIN),
        "y": top + height - MARGIN - y / FINEST * (height - 2 * MARGIN),
    }
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    return driver.find_element("class name", "tip").text.splitlines()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, PHONE])
def test_no_error_no_request_and_no_sideways_scroll(opened, width, scheme):
    driver = opened(width, scheme)
    assert driver.get_log("browser") == []
    fetched = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            fetched.append(message["params"]["request"]["url"].split(":")[0])
    assert set(fetched) <= {"file", "data"}
    assert fetched.count("file") == 1  # the page itself
    page = "document.documentElement"
    room, content = driver.execute_script(f"return [{page}.clientWidth, {page}.scrollWidth]")
    assert content == room
    assert room > width - 20  # less a scroll bar


def test_the_slider_moves_through_time(opened):
    driver = opened(1280)
    assert shown_time(driver) == "3 h"
    last = drawn(driver)
    move_slider(driver, 4)
    assert shown_time(driver) == "1 h"
    assert drawn(driver) != last
    move_slider(driver, 12)
    assert drawn(driver) == last


def test_a_pointer_on_a_cell_or_a_path_reads_its_name(opened, page):
    content, _ = page
    driver = opened(1280)
    cells = content["cells"]
    # The outermost cell has no path near it.
    outermost = int(np.argmin(cells["x"]))
    lines = hover(driver, cells["x"][outermost], cells["y"][outermost])
    assert lines[0] == cells["name"][outermost]
    assert lines[1] == f"observed, {cells['time'][outermost]} h"
    assert lines[2] == f"Sox2: {content['colors'][0]['values'][outermost]:g}"
    move_slider(driver, 0)
    paths = content["paths"]
    lines = hover(driver, paths["x"][0][0], paths["y"][0][0])
    # A path starts at its cell: there, the cell is told.
    assert lines[1] == "observed, 0 h"


def test_another_colour_redraws_cells_and_their_legend(opened):
    driver = opened(PHONE)
    before = drawn(driver)
    low, high = driver.find_element("class name", "legend").text.split("\n")[0::1][:2]
    driver.execute_script(
        "const choice = document.querySelector('select');"
        "choice.value = 1; choice.dispatchEvent(new Event('change'));"
    )
    assert drawn(driver) != before
    assert (low, high) != tuple(driver.find_element("class name", "legend").text.split("\n")[:2])


def test_play_starts_anew_runs_to_the_last_time_and_stops(opened):
    driver = opened(1280)
    said = driver.execute_async_script(
        "const [button, time, done] = ['button', 'output'].map((name) => "
        "document.querySelector(name)).concat(arguments[0]);"
        "button.click();"
        "const said = [button.textContent, time.textContent];"
        "const wait = setInterval(() => {"
        "  if (button.textContent !== 'Play') return;"
        "  clearInterval(wait); done([...said, time.textContent]);"
        "}, 50);"
    )
    assert said == ["Pause", "0 h", "3 h"]
