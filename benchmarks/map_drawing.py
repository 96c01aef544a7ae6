"""The map of the dashboard: made-up points through the real page, in software WebGL.

A small server has the page, the script and the columns; there is no platform. Measured in the browser, for
100,000 points and for a million: from the beginning of the page to the first frame, a frame while the view
moves (a prefix of the points is drawn), until all points stand again, another colour, and a lasso until its
count. Medians; the machine should be idle.
"""

from __future__ import annotations

import contextlib
import io
import socket
import statistics
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import uvicorn
from numpy.typing import NDArray
from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from benchmarks.browser import new_context, opened_browser
from benchmarks.report import report
from cocu.dashboard import links
from cocu.dashboard.application import STATIC, SecurityHeaders
from cocu.dashboard.pages.map import coloured
from cocu.dashboard.rendering import Crumb, Renderer
from cocu.schemas import Region

REGIONS = 24
OPENED = 5
"""Times that the page is opened."""
MOVES = 24
"""Movements of a drag."""
LABELS = ("street", "kitchen", "beach", "dog", "train", "table", "snow", "bird")
BOUNDS = {
    100_000: {"first frame": 500, "frame while moving": 50, "all points at rest": 700, "recolour": 700},
    1_000_000: {"first frame": 2000, "frame while moving": 100, "all points at rest": 700, "recolour": 700},
}
LASSO_BOUND = 400


@dataclass(frozen=True)
class MadeUp:
    """Points on a plane in random order, as a projection has them, and columns for them."""

    places_P2: NDArray[np.uint16]
    regions_P: NDArray[np.uint8]
    gains_P: NDArray[np.uint16]

    @classmethod
    def of(cls, count: int) -> MadeUp:
        """Clusters of different sizes; the same for the same count."""
        rng = np.random.default_rng(count)
        regions = rng.choice(REGIONS, count, p=rng.dirichlet(np.full(REGIONS, 3.0))).astype(np.uint8)
        centres_R2 = rng.uniform(6000, 59000, (REGIONS, 2))
        spread_R = rng.uniform(1500, 5000, REGIONS)
        places_P2 = centres_R2[regions] + spread_R[regions, None] * rng.standard_normal((count, 2))
        gains = rng.gamma(2.0, 1.0 + regions / 4).astype(np.uint16)
        return cls(np.clip(places_P2, 0, 65535).astype(np.uint16), regions, gains)

    @property
    def regions(self) -> list[Region]:
        """What the platform says of the regions."""
        return [
            Region(
                region=number,
                pictures=int((self.regions_P == number).sum()),
                x=int(np.median(self.places_P2[self.regions_P == number, 0])),
                y=int(np.median(self.places_P2[self.regions_P == number, 1])),
                label=[LABELS[number % 8], LABELS[number // 3 % 8]],
            )
            for number in range(REGIONS)
        ]


def main() -> None:
    """Print the times of both sizes."""
    with opened_browser() as browser:
        for count, bounds in BOUNDS.items():
            with serving(MadeUp.of(count)) as url:
                context = new_context(browser, base_url=url)
                page = context.new_page()
                times = measured(page, count)
                context.close()
            for name, bound in (bounds | {"lasso to count": LASSO_BOUND}).items():
                value = statistics.median(times[name])
                report(f"map, {count:,} points: {name}", value, "ms", f"<= {bound}", value <= bound)


def measured(page: Page, count: int) -> dict[str, list[float]]:
    """The times of a page, in ms, by what is measured."""
    times: dict[str, list[float]] = {"first frame": []}
    for _ in range(OPENED):
        page.add_init_script(_WATCH)
        page.goto("/map")
        wait_for(page, f'[data-state="ready"][data-drawn="{count}"]')
        times["first frame"].append(page.evaluate("() => window.firstFrame"))
    box = page.locator("#map").bounding_box()
    assert box is not None
    times["frame while moving"] = page.evaluate(_DRAG, [MOVES, box["x"] + 500, box["y"] + 200])
    times["all points at rest"] = [page.evaluate(_REST, count)]
    times["recolour"] = [page.evaluate(_RECOLOUR, [name, count]) for name in ("gain", "region", "gain")]
    times["lasso to count"] = [page.evaluate(_LASSO, [box["x"], box["y"]]) for _ in range(3)]
    return times


def wait_for(page: Page, state: str) -> None:
    """Wait until the map says this of itself."""
    page.locator(f"#map{state}").wait_for(timeout=120_000)


_WATCH = """
new MutationObserver((records, observer) => {
  const map = document.querySelector("#map");
  if (!map || !(Number(map.dataset.drawn) > 0)) return;
  observer.disconnect();
  window.firstFrame = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-drawn"] });
"""
_POINTER = """
  const map = document.querySelector("#map");
  map.setPointerCapture = () => {};
  const mouse = { bubbles: true, pointerId: 1, button: 0, pointerType: "mouse" };
  const send = (kind, x, y) =>
    map.dispatchEvent(new PointerEvent(kind, { clientX: x, clientY: y, ...mouse }));
  const frame = () => new Promise(requestAnimationFrame);
"""
_DRAG = f"""async ([moves, x, y]) => {{{_POINTER}
  const times = [];
  send("pointerdown", x, y);
  for (let move = 1; move <= moves; move++) {{
    const began = performance.now();
    send("pointermove", x - 6 * move, y);
    await frame();
    while (map.dataset.drawn === "0") await frame();
    times.push(performance.now() - began);
  }}
  send("pointerup", x - 6 * moves, y);
  return times.slice(4);
}}"""
_ALL = """const all = async (count) => { while (Number(map.dataset.drawn) < count) await frame(); };"""
_REST = f"""async (count) => {{{_POINTER}{_ALL}
  const began = performance.now();
  await frame();
  await all(count);
  return performance.now() - began;
}}"""
_RECOLOUR = f"""async ([name, count]) => {{{_POINTER}{_ALL}
  const color = document.querySelector("#color");
  const began = performance.now();
  color.value = name;
  color.dispatchEvent(new Event("change"));
  while (map.dataset.color !== name) await frame();
  await frame();
  await all(count);
  return performance.now() - began;
}}"""
_LASSO = f"""async ([left, top]) => {{{_POINTER}
  document.querySelector("[data-mode=lasso]").click();
  const count = document.querySelector("#count");
  send("pointerdown", left + 450, top + 300);
  for (let turn = 0; turn < 64; turn++)
    send("pointermove", left + 300 + 150 * Math.cos(turn / 10), top + 300 + 150 * Math.sin(turn / 10));
  const before = count.textContent;
  const began = performance.now();
  send("pointerup", left + 450, top + 300);
  while (count.textContent === before) await frame();
  const took = performance.now() - began;
  while (document.querySelector("#clear") === null) await frame();
  document.querySelector("#clear").click();
  while (map.dataset.selected !== "") await frame();
  return took;
}}"""


@contextlib.contextmanager
def serving(made_up: MadeUp) -> Iterator[str]:
    """A server of the page and its columns, in a thread; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application(made_up), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def application(made_up: MadeUp) -> Starlette:
    """The page and the columns."""
    renderer = Renderer(static="/static", documentation=None)
    x, y = (np.ascontiguousarray(values) for values in made_up.places_P2.T)
    rows = np.arange(len(x), dtype=np.uint32)
    points = stream({"x": x, "y": y, "row": rows, "region": made_up.regions_P})
    gains = stream({"gain": made_up.gains_P})

    async def page(request: Request) -> Response:
        view = view_of(made_up, links.MapQuery.read(request.query_params))
        crumbs = [Crumb("Map")]
        return renderer.page(request, "map.html", title="Map", crumbs=crumbs, view=view, links=links)

    async def columns(request: Request) -> Response:
        return Response(gains if request.query_params["columns"] == "gain" else b"", media_type="x/arrow")

    return Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/map", page),
            Route("/v1/datasets/d/projections/p/points", lambda request: Response(points)),
            Route("/v1/curations/c/columns", columns),
        ],
        middleware=[Middleware(SecurityHeaders)],
    )


def view_of(made_up: MadeUp, query: links.MapQuery) -> Any:
    """What the page shows, as far as the template asks."""
    count = len(made_up.regions_P)
    facets = SimpleNamespace(total=0, concepts=())
    part = SimpleNamespace(query=links.ArchiveQuery(), facets=facets, cards=(), refusal=None)
    return SimpleNamespace(
        curation=SimpleNamespace(id="c", samples=count, completed=True),
        dataset=SimpleNamespace(id="d", name="made up"),
        query=query,
        projection=SimpleNamespace(
            id="p", samples=count, points=count, without_place=0, same_samples=True, method="umap"
        ),
        is_absent=False,
        is_running=False,
        is_ready=True,
        regions=coloured(made_up.regions),
        concepts=(),
        selected=part if query.is_selected else None,
    )


def stream(columns: dict[str, NDArray[Any]]) -> bytes:
    """Columns as an Arrow IPC stream of one record batch."""
    batch = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    return out.getvalue()


if __name__ == "__main__":
    main()
