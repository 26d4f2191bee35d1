"""The part of the build that pyproject.toml cannot say: what an index page shows of README.md, and
the pictures of the charts in the wheel.

An index page is not where the files are. So links to files are made absolute by the address that
``[project.urls] Source`` has in pyproject.toml, and lead to the tag of the version. It is set by
whoever publishes. Without one, the words of a link stay and the picture goes: nothing is broken.
"""

import re
import shutil
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parent
# A picture or a link to a file of the source, and a picture that has a place and a width.
_LINK = re.compile(r"(?P<is_picture>!?)\[(?P<words>[^\]]+)\]\((?!https?:|#)(?P<path>[^)]+)\)")
_TAG = re.compile(r'<img src="(?!https?:)(?P<path>[^"]+)"(?P<rest>[^>]*)>')


def description(readme: str, source: str | None, version: str) -> str:
    """README.md for an index page. ``source``: as GitHub, GitLab and their like build addresses."""

    def address_of(kind: str, path: str) -> str:
        assert source is not None
        return f"{source.rstrip('/')}/{kind}/v{version}/{path}"

    def absolute(found: re.Match[str]) -> str:
        if source is None:
            return "" if found["is_picture"] else found["words"]
        address = address_of("raw" if found["is_picture"] else "blob", found["path"])
        return f"{found['is_picture']}[{found['words']}]({address})"

    def absolute_tag(found: re.Match[str]) -> str:
        return (
            ""
            if source is None
            else f'<img src="{address_of("raw", found["path"])}"{found["rest"]}>'
        )

    return _TAG.sub(absolute_tag, _LINK.sub(absolute, readme))


if __name__ == "__main__":
    from setuptools import setup
    from setuptools.command.build_py import build_py

    class WithPictures(build_py):
        """Installed, ``hsms_engine.monitor`` has the pictures of diagrams/ beside it."""

        def run(self) -> None:
            super().run()
            if not self.editable_mode:
                folder = Path(self.build_lib) / "hsms_engine" / "monitor" / "pictures"
                folder.mkdir(parents=True, exist_ok=True)
                for picture in (_ROOT / "diagrams").glob("*.svg"):
                    shutil.copy(picture, folder)

    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = (_ROOT / "hsms_engine" / "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)
    assert version is not None
    setup(
        cmdclass={"build_py": WithPictures},
        long_description=description(
            (_ROOT / "README.md").read_text(encoding="utf-8"),
            project.get("urls", {}).get("Source"),
            version[1],
        ),
        long_description_content_type="text/markdown",
    )
