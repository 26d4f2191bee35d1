"""What is published: the source archive and the wheel, built as an installer builds them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import hsms_engine
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parent.parent
PACKAGES = ("hsms_engine", "statecharts")
# What is in the source archive, beside files of the top folder.
SOURCE = (*PACKAGES, ".ci", "benchmarks", "diagrams", "docs", "examples", "tests")
TOP = "CHANGELOG.md LICENSE MANIFEST.in Makefile README.md pyproject.toml setup.py".split()
MADE = shutil.ignore_patterns("__pycache__", "node_modules", ".peers", "*.egg-info")
SOURCE_ADDRESS = "https://example.org/team/hsms"
README = (ROOT / "README.md").read_text(encoding="utf-8")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
description = runpy.run_path(str(ROOT / "setup.py"))["description"]


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        # What is there, not what is installed.
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=4 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


class Built(NamedTuple):
    """A copy of the source, the source archive unpacked, and the wheel made from that."""

    original: Path
    unpacked: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    original, made = folder / "original", folder / "made"
    for name in SOURCE:
        shutil.copytree(ROOT / name, original / name, ignore=MADE)
    for name in TOP:
        shutil.copy(ROOT / name, original)
    before = files(original)
    build = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
    run(original, "-W", "ignore", "-c", build.format("sdist"), str(made))
    (archive,) = made.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    (folder / "again").mkdir()
    again = shutil.copytree(unpacked, folder / "again" / "source")
    run(again, "-W", "ignore", "-c", build.format("wheel"), str(made))
    (wheel,) = made.glob("*.whl")
    # Only what was there before: a build leaves files behind.
    for name in files(original) - before:
        (original / name).unlink()
    return Built(original, unpacked, wheel)


def test_the_source_archive_has_everything(built: Built) -> None:
    made = {name for name in files(built.unpacked) if ".egg-info/" in name}
    assert files(built.unpacked) - made == files(built.original) | {"PKG-INFO", "setup.cfg"}


def test_the_demo_and_tests_run_from_the_source_archive(built: Built) -> None:
    run(built.unpacked, "-m", "hsms_engine.demo")
    run(built.unpacked, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_wire.py")


def test_the_wheel_has_the_packages_with_their_data_and_nothing_else(built: Built) -> None:
    wanted = {
        f"{package}/{name}"
        for package in PACKAGES
        for name in files(built.original / package)
        if name.endswith((".py", ".typed", ".toml", ".txt", ".html", ".js", ".css"))
    } | {
        # The one copy that the source has is in diagrams/.
        f"hsms_engine/monitor/pictures/{name}"
        for name in files(built.original / "diagrams")
        if name.endswith(".svg")
    }
    with zipfile.ZipFile(built.wheel) as opened:
        found = {name for name in opened.namelist() if ".dist-info/" not in name}
    assert found == wanted
    assert {
        "hsms_engine/fake/default.toml",
        "statecharts/hsms/rules.txt",
        "hsms_engine/py.typed",
    } < found


def metadata(wheel: Path) -> tuple[list[str], str]:
    """The fields, and the text for an index page."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (each for each in opened.namelist() if each.endswith(".dist-info/METADATA"))
        fields, _, text = opened.read(name).decode().partition("\n\n")
    return fields.splitlines(), text


def test_the_version_stands_in_one_place(built: Built) -> None:
    fields, _ = metadata(built.wheel)
    assert f"Version: {hsms_engine.__version__}" in fields
    assert "version" not in PROJECT
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {hsms_engine.__version__}" in changes


def test_the_text_for_an_index_page_has_no_link_that_leads_nowhere(built: Built) -> None:
    fields, text = metadata(built.wheel)
    assert "Description-Content-Type: text/markdown" in fields
    source = PROJECT.get("urls", {}).get("Source")
    assert text == description(README, source, hsms_engine.__version__)
    assert set(re.findall(r"\]\((?!https:)[^)]*\)", text)) == set()
    assert set(re.findall(r'src="(?!https:)[^"]*"', text)) == set()


def test_links_and_the_picture_are_absolute_once_the_source_has_an_address() -> None:
    text = description(README, SOURCE_ADDRESS + "/", "1.2.3")
    assert f'<img src="{SOURCE_ADDRESS}/raw/v1.2.3/diagrams/lifecycle.svg" ' in text
    assert f"[the guide]({SOURCE_ADDRESS}/blob/v1.2.3/docs/guide.md)" in text
    assert re.sub(rf"{SOURCE_ADDRESS}/(blob|raw)/v1\.2\.3/", "", text) == README


@pytest.mark.parametrize(
    ("link", "with_address", "without"),
    [
        ("[a](https://b.org)", "[a](https://b.org)", "[a](https://b.org)"),
        ("[a](#b)", "[a](#b)", "[a](#b)"),
        ("[`a`](b/c.py)", "[`a`](https://x.org/blob/v1/b/c.py)", "`a`"),
        ("![a](b.svg)", "![a](https://x.org/raw/v1/b.svg)", ""),
        ('<img src="b.svg" alt="a">', '<img src="https://x.org/raw/v1/b.svg" alt="a">', ""),
        ('<img src="https://b.org/c">',) * 3,
    ],
)
def test_a_link(link: str, with_address: str, without: str) -> None:
    assert description(link, "https://x.org", "1") == with_address
    assert description(link, None, "1") == without
