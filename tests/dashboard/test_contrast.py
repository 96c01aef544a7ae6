"""The colours of the style sheet, in both themes, against what WCAG 2.2 AA asks of text and of graphics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT, GRAPHICS, TILE = 4.5, 3.0, 4.5
CATEGORIES = [f"category-{number}" for number in range(1, 7)]
PAIRS = [
    *((token, "bg", TEXT) for token in ("text", "muted", "accent", "right", "wrong")),
    *((token, "raised", TEXT) for token in ("text", "muted", "accent", "right", "wrong")),
    ("bg", "accent", TEXT),
    ("mark-text", "mark", TEXT),
    ("edge", "bg", GRAPHICS),
    *((token, "bg", GRAPHICS) for token in CATEGORIES),
    *((f"ink-{number}", f"category-{number}", TILE) for number in range(1, 7)),
]
STATED = {
    ("text", "bg"): (16.6, 15.3),
    ("muted", "bg"): (6.4, 7.4),
    ("edge", "bg"): (3.4, 4.0),
    ("accent", "bg"): (6.5, 8.5),
    ("mark-text", "mark"): (5.9, 9.7),
    ("right", "bg"): (5.0, 10.3),
    ("wrong", "bg"): (6.5, 8.2),
}
"""What the design states of light and dark; a colour that is changed is computed anew here."""


def tokens(css: str) -> dict[str, tuple[str, str]]:
    """Colours of the light and the dark theme by their names."""
    pattern = r"--([\w-]+):\s*light-dark\(\s*(#[0-9a-f]{6})\s*,\s*(#[0-9a-f]{6})\s*\)"
    return {name: (light, dark) for name, light, dark in re.findall(pattern, css)}


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module")
def colours(repository: Path) -> dict[str, tuple[str, str]]:
    return tokens((repository / "services/cocu/dashboard/static/app.css").read_text(encoding="utf-8"))


def test_contrast__of_the_extremes() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "paper", "least"), PAIRS)
def test_pair__can_be_read(
    colours: dict[str, tuple[str, str]], ink: str, paper: str, least: float, theme: int
) -> None:
    assert contrast(colours[ink][theme], colours[paper][theme]) >= least


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("selector", ["button.primary", "button:disabled", "button.primary:disabled"])
def test_button__can_be_read(repository: Path, selector: str, theme: int) -> None:
    """A rule for buttons that sets an ink sets its paper too: the paper of another rule may be that ink."""
    css = (repository / "services/cocu/dashboard/static/app.css").read_text(encoding="utf-8")
    rules = [
        block
        for selectors, block in re.findall(r"^ *(button[^{]*)\{([^}]*)\}", css, re.MULTILINE)
        if selector in [one.strip() for one in selectors.split(",")]
    ]
    used = dict(re.findall(r"(?<![\w-])(color|background): var\(--([\w-]+)\)", " ".join(rules)))
    colour = {name: both[theme] for name, both in tokens(css).items()}
    assert contrast(colour[used["color"]], colour[used["background"]]) >= TEXT


@pytest.mark.parametrize(("ink", "paper"), STATED)
def test_contrast__is_as_the_design_states(colours: dict[str, tuple[str, str]], ink: str, paper: str) -> None:
    measured = [contrast(colours[ink][theme], colours[paper][theme]) for theme in (0, 1)]
    assert measured == pytest.approx(STATED[ink, paper], abs=0.1)


def test_colours__stand_in_the_tokens_alone(repository: Path) -> None:
    """A colour written anywhere else would have no dark counterpart and no test."""
    css = (repository / "services/cocu/dashboard/static/app.css").read_text(encoding="utf-8")
    rest = re.sub(r"--[\w-]+:\s*light-dark\([^)]*\);", "", css)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsl", rest) == []
    assert len(css.splitlines()) < 400
