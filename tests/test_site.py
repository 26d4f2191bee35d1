"""The site is built without a warning, needs no network, and has every public name."""

from __future__ import annotations

import base64
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from sphinx.util.inventory import InventoryFile

import hsms_engine
import statecharts
from tests.support.browser import asked_for, open_browser, seen_as
from tests.support.patience import PATIENCE
from tests.support.public import comment, is_data, public
from tests.support.tools import needs

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "api"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` does it."""
    folder = tmp_path_factory.mktemp("site")
    words = re.findall(r"-m sphinx (.*) \\\n\t +-d \S+ \. \S+$", MAKEFILE, re.MULTILINE)
    assert len(words) == 1
    # What it imports is measured where it is tested.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", *words[0].split()),
            *("-d", str(folder / "doctrees"), ".", str(folder / "site")),
        ],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=4 * PATIENCE,
    )
    assert (done.returncode, done.stdout) == (0, "")
    return folder / "site"


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


# Without a network


class Loaded(HTMLParser):
    """The addresses that a browser asks for by itself: all but those of links that one follows."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if tag != "a" and name in {"src", "href", "srcset", "data", "poster", "action"}:
                self.addresses.append(value or "")
            elif name == "style":
                self.addresses += addresses_in_style(value or "")


def addresses_in_style(text: str) -> list[str]:
    return re.findall(r"url\(\s*[\"']?([^\"')]+)", text) + re.findall(
        r"@import\s+[\"']([^\"']+)", text
    )


def loaded_by(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".css":
        return addresses_in_style(text)
    parser = Loaded()
    parser.feed(text)
    return parser.addresses


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    files = [*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]
    asked = [(file.name, each) for file in files for each in loaded_by(file)]
    # A drawing has the names of its languages.
    assert [each for each in asked if re.match(r"(\w+:)?//", each[1])] == []
    assert any(each.endswith("searchtools.js?v=") or "searchtools" in each for _, each in asked)


def test_what_a_page_loads_is_there(site: Path) -> None:
    missing = [
        (file.name, each)
        for file in site.rglob("*.html")
        for each in loaded_by(file)
        if not each.startswith(("data:", "#"))
        if not (file.parent / each.partition("?")[0].partition("#")[0]).exists()
    ]
    assert missing == []


def test_the_search_knows_the_words_of_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    # A script, and no file that is fetched: so a browser reads it from a folder too.
    assert index.startswith("Search.setIndex(")
    for page in ("docs/guide", "docs/protocol", "docs/api/trio", "README"):
        assert f'"{page}"' in index, page
    assert '"reply_timeout' in index or "replytimeouterror" in index


# The reference

# What these give is in the reference under another module, or programs have no use for it.
INTERNAL = {
    "hsms_engine.message",
    "statecharts.nursery",
    "hsms_engine.toml_text",
    "hsms_engine.traffic",
}
# Public too: modules without a list of their names, and one further down.
MORE = {
    "hsms_engine.bounds",
    "hsms_engine.driver.tcp",
    "hsms_engine.events",
    "hsms_engine.fake.model",
    "hsms_engine.profiles",
    "hsms_engine.pytest_plugin",
    "hsms_engine.wire",
    "statecharts.run",
}


def documented() -> list[str]:
    """The modules of the reference."""
    pages = (page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))
    return [
        module
        for text in pages
        for module in re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE)
    ]


def rooms() -> set[str]:
    """The two packages, and what is directly in them and lists its names for others."""
    found = set()
    for package in (hsms_engine, statecharts):
        inside = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        for name in [package.__name__, *(each.name for each in inside)]:
            path = ROOT / name.replace(".", "/")
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            if re.search(r"^ *__all__ = ", file.read_text(encoding="utf-8"), re.MULTILINE):
                found.add(name)
    return found


def test_every_room_that_lists_its_names_is_in_the_reference() -> None:
    assert sorted(documented()) == sorted((rooms() - INTERNAL) | MORE)


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    known = {name for kind, items in inventory.data.items() if "py:" in kind for name in items}
    # Where two modules give the same, one of them has it.
    found, missing = [], {}
    for name in documented():
        module = importlib.import_module(name)
        for each in public(module):
            value = getattr(module, each)
            if f"{name}.{each}" in known:
                found.append(value)
            else:
                missing[f"{name}.{each}"] = value
    assert {
        name for name, value in missing.items() if not any(value is it for it in found)
    } == set()


def without_a_docstring(module: ModuleType) -> Iterator[str]:
    for name in public(module):
        value = getattr(module, name)
        # Not the one that a dataclass or a tuple makes of its fields.
        text = comment(module, name) if is_data(value) else inspect.getdoc(value) or ""
        if not text or text.startswith(f"{name}("):
            yield f"{module.__name__}.{name}"
        if inspect.isclass(value):
            for each, member in inspect.getmembers(value, callable_or_property):
                origin = getattr(member, "__module__", "") or module.__name__
                if each.startswith("_") or not origin.startswith(("hsms_engine", "statecharts")):
                    continue
                if not inspect.getdoc(member):
                    yield f"{module.__name__}.{name}.{each}"


def callable_or_property(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property)


@pytest.mark.parametrize("name", documented())
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert list(without_a_docstring(importlib.import_module(name))) == []


# In a browser, from a folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    driver = open_browser(tmp_path_factory.mktemp("browser"))
    yield driver
    driver.quit()


def pages(site: Path) -> list[Path]:
    """All that people read."""
    return sorted([*site.glob("docs/**/*.html"), site / "README.html", site / "CHANGELOG.html"])


def test_the_search_of_a_folder_finds_a_timer_and_leads_to_its_page(
    browser: Chrome, site: Path
) -> None:
    seen_as(browser, 1400)
    browser.get((site / "docs" / "index.html").as_uri())
    asked_for(browser)
    box = browser.find_element(By.CSS_SELECTOR, ".sidebar-search")
    box.send_keys("T3")
    box.submit()
    symptom = "#search-results li a[href*='troubleshooting.html']"
    found = WebDriverWait(browser, PATIENCE).until(
        lambda it: it.find_elements(By.CSS_SELECTOR, symptom)
    )
    # Not by its place in the window: results are still being added, and move it.
    browser.execute_script("arguments[0].click()", found[0])
    WebDriverWait(browser, PATIENCE).until(lambda it: "troubleshooting.html" in it.current_url)
    article = browser.find_element(By.TAG_NAME, "article")
    assert "T3" in article.text
    asked = asked_for(browser)
    assert any("searchindex.js" in each for each in asked)
    assert [each for each in asked if not each.startswith(("file:", "data:"))] == []


def test_no_page_asks_for_what_is_not_in_the_folder(browser: Chrome, site: Path) -> None:
    asked_for(browser)
    for page in pages(site):
        browser.get(page.as_uri())
    asked = asked_for(browser)
    assert any("paper.css" in each for each in asked)
    assert [each for each in asked if not each.startswith((site.as_uri(), "data:"))] == []


# What reaches beyond the right edge, and is in nothing that can be moved by itself.
BEYOND = """
const parts = [...document.querySelectorAll("article *")];
const moved = parts.filter(it => ["auto", "scroll"].includes(getComputedStyle(it).overflowX));
const text = it => it.tagName == "PRE" && !moved.includes(it) ? it.scrollWidth : 0;
const right = it => Math.max(it.getBoundingClientRect().right, text(it));
return parts
    .filter(it => right(it) > arguments[0] + 1)
    .filter(it => !moved.some(box => box != it && box.contains(it)))
    .map(it => `${it.tagName} ${right(it)} ${it.textContent.slice(0, 40)}`);
"""


def test_a_narrow_window_has_to_be_moved_on_no_page(browser: Chrome, site: Path) -> None:
    seen_as(browser, 400)
    beyond = {}
    for page in pages(site):
        browser.get(page.as_uri())
        beyond[page.name] = browser.execute_script(BEYOND, 400)
    assert {name: parts for name, parts in beyond.items() if parts} == {}


# A4, the narrower one of the usual papers, has 794 pixels, and two margins of 12 mm.
PAPER = 703


def test_on_paper_nothing_is_cut(browser: Chrome, site: Path) -> None:
    seen_as(browser, PAPER, "print")
    beyond = {}
    for page in pages(site):
        browser.get(page.as_uri())
        beyond[page.name] = browser.execute_script(BEYOND, PAPER)
    assert {name: parts for name, parts in beyond.items() if parts} == {}


LIGHT = """
const light = it => getComputedStyle(it).backgroundColor.match(/[\\d.]+/g).map(Number);
return [light(document.body), ...[...document.querySelectorAll("img")].map(light)];
"""


def test_drawings_are_on_white_in_the_dark(browser: Chrome, site: Path) -> None:
    seen_as(browser, 1400, scheme="dark")
    browser.get((site / "docs" / "protocol.html").as_uri())
    page, *drawings = browser.execute_script(LIGHT)
    assert max(page[:3]) < 64
    assert len(drawings) > 9
    assert [each for each in drawings if each != [255, 255, 255]] == []


def printed(browser: Chrome, page: Path, folder: Path) -> str:
    """The text of a page on paper, as ``letters`` has it: a long line is wrapped."""
    needs("pdftotext")
    seen_as(browser, 1400, media="")
    browser.get(page.as_uri())
    paper = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    file = folder / "page.pdf"
    file.write_bytes(base64.b64decode(paper["data"]))
    done = subprocess.run(
        ["pdftotext", "-raw", "-enc", "UTF-8", str(file), "-"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
        timeout=PATIENCE,
    )
    return letters(done.stdout)


def letters(text: str) -> str:
    """Without blanks, and in ASCII: not every machine has a font for more."""
    return re.sub(r"\s|[^\x00-\x7f]", "", text)


@pytest.mark.parametrize("name", ["guide", "start", "cookbook/host", "simulator"])
def test_paper_has_every_line_of_code(
    browser: Chrome, site: Path, tmp_path: Path, name: str
) -> None:
    text = printed(browser, site / "docs" / f"{name}.html", tmp_path)
    blocks = [
        each.get_attribute("textContent") for each in browser.find_elements(By.TAG_NAME, "pre")
    ]
    lines = [letters(line) for block in blocks for line in (block or "").splitlines()]
    assert len(lines) > 30
    assert [line for line in lines if line not in text] == []
    assert "Skiptocontent" not in text


def test_paper_has_the_address_of_a_link_to_elsewhere(
    browser: Chrome, site: Path, tmp_path: Path
) -> None:
    text = printed(browser, site / "README.html", tmp_path)
    links = browser.find_elements(By.CSS_SELECTOR, "article a.external[href^=http]")
    addresses = [each.get_attribute("href") or "?" for each in links]
    assert addresses
    assert [each for each in addresses if each.rstrip("/") not in text] == []
