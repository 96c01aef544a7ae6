"""A page as its HTML says it, read with the parser of the standard library."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta", "col", "source"})
_REFERENCES: Final = frozenset({"href", "src", "action", "hx-get", "hx-post", "formaction", "data-url"})
_FIELDS: Final = frozenset({"input", "select", "textarea"})


@dataclass
class Element:
    """An element: its attributes, the text in it, and the elements around it."""

    tag: str
    attributes: dict[str, str]
    around: tuple[Element, ...]
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, white space as one space."""
        return " ".join("".join(self.pieces).split())

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())


class PageDocument(HTMLParser):
    """The elements of a page in order of their start."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.unclosed: list[Element] = []
        self.misplaced: list[str] = []
        self.doctype = ""
        self.feed(html)
        self.close()

    def handle_decl(self, decl: str) -> None:
        self.doctype = decl.lower()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(self.unclosed))
        self.elements.append(element)
        if tag not in _VOID:
            self.unclosed.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # `<rect/>` of SVG.
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}, tuple(self.unclosed)))

    def handle_endtag(self, tag: str) -> None:
        if not self.unclosed or self.unclosed[-1].tag != tag:
            self.misplaced.append(tag)
            return
        self.unclosed.pop()

    def handle_data(self, data: str) -> None:
        for element in self.unclosed:
            element.pieces.append(data)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of this tag with these attributes; `class_` is one of the classes."""
        class_ = attributes.pop("class_", None)
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag
            and wanted.items() <= element.attributes.items()
            and (class_ is None or class_ in element.classes)
        ]

    def first(self, tag: str, **attributes: str) -> Element:
        """The first of `all`."""
        return self.all(tag, **attributes)[0]

    @property
    def references(self) -> set[str]:
        """Every address on the page, as it stands there."""
        return {
            element.attributes[name]
            for element in self.elements
            for name in _REFERENCES & element.attributes.keys()
        }

    @property
    def unlabelled(self) -> list[Element]:
        """Fields that have no label."""
        labelled = {label.attributes.get("for") for label in self.all("label")}
        return [
            element
            for element in self.elements
            if element.tag in _FIELDS
            and element.attributes.get("type") not in {"hidden", "submit"}
            and not any(outer.tag == "label" for outer in element.around)
            and not {"aria-label", "aria-labelledby"} & element.attributes.keys()
            and element.attributes.get("id", "") not in labelled
        ]

    @property
    def code(self) -> list[str]:
        """What a strict content security policy would refuse: scripts and styles inside the page."""
        inline = [
            f"<{element.tag}>"
            for element in self.elements
            if element.tag in {"style"} or (element.tag == "script" and "src" not in element.attributes)
        ]
        for element in self.elements:
            for name, value in element.attributes.items():
                if name.startswith(("on", "hx-on", "hx-live")) or name == "style":
                    inline.append(f"<{element.tag} {name}>")
                elif _is_code(name, value):
                    inline.append(f"<{element.tag} {name}={value}>")
        return inline


def _is_code(name: str, value: str) -> bool:
    if name in _REFERENCES:
        return value.strip().lower().startswith(("javascript:", "data:"))
    return name.startswith("hx-") and value.startswith(("js:", "javascript:"))
