"""A hook of MkDocs: the pages beside docs/ are part of the site, and so is every new page.

The site's first page is README.md. A link that leads out of docs/, or into it from outside, is
turned into the one between the pages of the site.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
MERMAID = Path(__file__).parent / "node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"
BESIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(r"(\]\()([^):#\s]+)((?:#[^)]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    for name, page in BESIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_within(text)))
    files.append(File.generated(config, "LICENSE", abs_src_path=str(ROOT / "LICENSE")))
    files.append(File.generated(config, "assets/mermaid.js", abs_src_path=str(MERMAID)))
    _name_the_rest(files, config)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """`../CONTRIBUTING.md` of a page in docs/ is `contributing.md` of the site."""

    def inside(link: re.Match[str]) -> str:
        up, _, name = link[2].rpartition("../")
        is_outside = up.count("..") + 1 > len(PurePosixPath(page.file.src_uri).parent.parts)
        found = BESIDE.get(name) if "../" in link[2] and is_outside else None
        return f"{link[1]}{up and up + '/'}{found}{link[3]}" if found else link[0]

    return LINK.sub(inside, markdown)


def _within(text: str) -> str:
    """A page beside docs/, as if it were in it."""

    def inside(link: re.Match[str]) -> str:
        target = BESIDE.get(link[2], link[2].removeprefix("docs/"))
        return f"{link[1]}{target}{link[3]}"

    return LINK.sub(inside, text)


def _name_the_rest(files: Files, config: Any) -> None:
    named = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    rest = [file.src_uri for file in files.documentation_pages() if file.src_uri not in named]
    decisions = [page for page in rest if page.startswith("decisions/")]
    more = [page for page in rest if page not in decisions]
    config["nav"] += [{"Decisions": decisions}] if decisions else []
    config["nav"] += [{"More": more}] if more else []
