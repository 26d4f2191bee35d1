"""How Sphinx makes the site: ``make docs``.

The source folder is that of the whole project, so that the links between the pages hold in the site
as they do where the files are looked at. Nothing comes from another host: no script, no font, no
inventory of other projects.
"""

import builtins
from types import ModuleType

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import hsms_engine
from hsms_engine import __version__
from hsms_engine.messages.function import Field
from tests.support.public import comment, comments, is_data, public
from tests.support.sequence_svg import drawn

project = "hsms-engine"
author = "the hsms-engine authors"
version = release = __version__
# No year: the same source makes the same pages.
copyright = author  # noqa: A001  # Sphinx reads this name

root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "diagrams/runs.md", "docs/**.md"]
# Without these, every folder would be walked through.
exclude_patterns = [
    ".*",
    "benchmarks",
    "build",
    "deploy",
    "examples",
    "hsms_engine",
    "statecharts",
    "tests",
    "**/node_modules",
]

extensions = ["myst_parser", "sphinx.ext.autodoc"]

# The anchors of titles are those that GitHub and its like make.
myst_heading_anchors = 6
# The picture of README.md stands beside its text, which Markdown itself has no word for.
myst_enable_extensions = ["html_image"]
suppress_warnings = [
    # A page that is read elsewhere too may begin with a second-level title in its parts.
    "myst.header",
]

# The tree of all pages is made for each page; with every method in it, that takes two minutes.
toc_object_entries = False
autodoc_member_order = "bysource"
# As the source has them: the text of a function is no Python, and no signature is read that has it.
autodoc_preserve_defaults = True
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    # All but what comes from these.
    "inherited-members": "BaseException,Enum,Function,Message,Random,dict,int,object,str,tuple",
}

html_theme = "furo"
html_title = f"hsms-engine {release}"
html_static_path = ["static"]
html_css_files = ["paper.css"]
# The pages are beside their sources in a clone; a site needs no second copy of them.
html_copy_source = False
html_show_sourcelink = False
# The root page is in a folder of its own: this leads to it.
html_additional_pages = {"index": "to_docs.html"}
templates_path = ["templates"]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", begin_with_the_names)
    app.connect("autodoc-process-signature", hide_what_is_made)
    app.connect("doctree-read", say_which_name_is_meant)
    app.connect("doctree-read", draw_the_runs)


def leave_out(
    _app: Sphinx, _kind: str, _name: str, member: object, is_left_out: bool, _options: object
) -> bool:
    """The parts of a function of the catalogue are in its signature."""
    return is_left_out or isinstance(member, Field)


# What a program gets from a function, and does not make.
MADE = {"EventReader", "HsmsConnection", "HsmsLink", "HsmsServer"}


def hide_what_is_made(_app: Sphinx, kind: str, name: str, *_: object) -> tuple[str, str] | None:
    """How these are made is no business of a program."""
    if kind == "class" and name.rpartition(".")[2] in MADE:
        return "", ""
    return None


def begin_with_the_names(
    _app: Sphinx, _kind: str, name: str, module: object, _options: object, lines: list[str]
) -> None:
    """Let the page of a module have a list of its names, each a link, below what it says.

    Then come the constants and types that it has from others, which autodoc does not see.
    """
    if isinstance(module, ModuleType):
        names = public(module)
        links = (f":py:obj:`{each} <{name}.{each}>`" for each in names)
        lines += ["", "**Names:** " + " · ".join(links), ""]
        for each in names:
            # What the module itself makes is found by autodoc.
            if is_data(getattr(module, each)) and each not in comments(name):
                lines += [f".. py:data:: {each}", ""]
                lines += [f"   {line}" for line in comment(module, each).splitlines()]
                lines += [""]


def say_which_name_is_meant(_app: Sphinx, page: nodes.document) -> None:
    """Tell names of types that Sphinx would look up among all of every module.

    Several have a ``Message`` of their own, and those of Python are on no page here.
    """
    for name in list(page.findall(addnodes.pending_xref)):
        target = name["reftarget"]
        if name.get("refdomain") != "py":
            continue
        if hasattr(builtins, target):
            name.replace_self(name.children)
        elif target in hsms_engine.__all__ and name.get("py:module", "").startswith("hsms_engine"):
            name["reftarget"] = f"hsms_engine.{target}"


def draw_the_runs(_app: Sphinx, page: nodes.document) -> None:
    """Put a drawing in the place of each block of Mermaid, which code hosts draw themselves."""
    for block in list(page.findall(nodes.literal_block)):
        if block.get("language") == "mermaid":
            block.replace_self(nodes.raw("", drawn(block.astext()), format="html"))
