// The map: points that can be coloured, hovered, stepped through and selected. What is asked for stands in the
// URL: colour, view and selection; what has been drawn stands in data- attributes of the map.

import { asked, remember } from "./map/address.js";
import { arrow, say } from "./map/answers.js";
import { Card } from "./map/card.js";
import { Gestures } from "./map/gestures.js";
import { nearestPoint, pack, selectInside } from "./map/lasso.js";
import { describe, forgetColours, showLegend, swatchColour } from "./map/legend.js";
import { Names } from "./map/names.js";
import { Plane } from "./map/plane.js";
import { INDEXES, Points, STYLES } from "./map/points.js";
import { askSelected } from "./map/selected.js";

const STILL_MS = 160;
const NEAR_PIXELS = 12;

const map = document.querySelector("#map");
const color = document.querySelector("#color");
const rows = [...document.querySelectorAll("#regions tbody tr")];
const modes = [...document.querySelectorAll("[data-mode]")];
const thin = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");

const plane = new Plane(map);
const names = new Names(map, rows);
const columns = new Map(); // Columns by name, as they came.
let points = null; // Draws them.
let table = null; // x, y, row and region of all points.
let shown = null; // The colour: its name, the index of every point's colour, the entries of its legend.
let mask = null; // 1 for points that are selected.
let lassoed = null; // The corners of the selection.
let corners = null; // Those that are seen: of the selection, or of what is being drawn.
let gestures = null;
let current = -1; // The row of the table to which the keys have come.
let lit = null; // The entry of the legend that stands out.

// ---- Columns and colours.

async function column(name) {
  if (name === "region") return table.region;
  if (!columns.has(name)) {
    const what = `The colours by ${[...color.options].find((option) => option.value === name)?.text ?? name}`;
    const [values] = Object.values(await arrow(what, `${map.dataset.columns}&columns=${encodeURIComponent(name)}`));
    columns.set(name, values);
  }
  return columns.get(name);
}

let recolours = 0; // Columns may come in another order than they were asked for: the last one counts.
// Whether the points have this colour now.
async function recolour(name, isStep = false) {
  const own = ++recolours;
  let values;
  try {
    values = await column(name);
  } catch (error) {
    if (own !== recolours) return false;
    say("colours", error.message, () => choose(name, isStep));
    if (shown) color.value = shown.name;
    return false;
  }
  if (own !== recolours) return false;
  const hidden = shown?.name === name ? shown.entries.map((entry) => entry.isHidden) : [];
  shown = { name, ...describe(name, values, rows) };
  const counts = new Uint32Array(256);
  for (let point = 0; point < points.count; point++) counts[shown.indexes[point]]++;
  shown.entries.forEach((entry, place) => {
    entry.isHidden = hidden[place] ?? false;
    entry.count = thin(entry.indexes.reduce((sum, index) => sum + counts[index], 0));
  });
  lit = null;
  points.setIndexes(shown.indexes);
  const buttons = name === "region" ? rows.map((row) => row.querySelector("[data-entry]")) : null;
  for (const row of rows) {
    row.querySelector("[data-entry]").disabled = buttons === null;
    row.onpointerenter = row.onpointerleave = null;
  }
  showLegend(document.querySelector("#legend"), shown.entries, buttons, { point: (entry) => light(entry), toggle });
  if (![...color.options].some((option) => option.value === name)) color.querySelector("optgroup").append(new Option(name.slice("concept:".length), name));
  color.value = name;
  paint();
  tell();
  map.dataset.color = name;
  return true;
}

async function choose(name, isStep = true) {
  say("colours", "");
  if ((await recolour(name, isStep)) && isStep) remember({ color: name === "region" ? null : name }, true);
}

function light(entry) {
  if (lit === entry) return;
  lit = entry;
  paint();
}

function toggle(entry) {
  entry.isHidden = !entry.isHidden;
  paint();
  tell();
}

function paint() {
  const colours = new Uint8Array(4 * INDEXES);
  for (const entry of shown.entries) {
    const isBack = lit === null ? entry.isBack : lit !== entry;
    const style = entry.isHidden ? STYLES.hidden : isBack ? STYLES.faint : entry.isRing ? STYLES.ring : entry.swatch === "swatch-other" ? STYLES.plain : STYLES.full;
    for (const index of entry.indexes) colours.set([...swatchColour(entry.swatch), style], 4 * index);
  }
  points.setPalette(colours);
  redraw();
}

// Whether the legend hides the points of each colour.
function hiddenIndexes() {
  const hidden = new Uint8Array(256);
  for (const entry of shown.entries) for (const index of entry.indexes) hidden[index] = Number(entry.isHidden);
  return hidden;
}

// ---- Drawing: the first points while the view moves, all when it rests.

let frame = 0;
let movedAt = -Infinity;
let isBegun = false;

function redraw(isMoving = false) {
  if (isMoving) movedAt = performance.now();
  isBegun = false;
  map.dataset.drawn = 0;
  if (!frame) frame = requestAnimationFrame(draw);
}

function draw() {
  frame = points.isLost ? 0 : requestAnimationFrame(draw);
  if (!frame) return; // The graphics that come back draw everything.
  // The graphics may be behind: what is asked for meanwhile is drawn next, once.
  if (!points.isIdle) return;
  const isMoving = performance.now() - movedAt < STILL_MS;
  if (!isBegun) {
    const scale = plane.scale;
    points.begin(plane.view, scale);
    points.more(isMoving);
    isBegun = true;
    names.place((place) => plane.toPixels(place, scale), current, (row) => shown.name === "region" && shown.entries[row].isHidden);
    drawOutline();
    return;
  }
  map.dataset.drawn = points.drawn;
  if (points.drawn >= points.count) {
    cancelAnimationFrame(frame);
    frame = 0;
  } else if (!isMoving) points.more();
}

let viewTimer = 0;
function moved() {
  card.hide();
  redraw(true);
  clearTimeout(viewTimer);
  viewTimer = setTimeout(() => remember({ view: plane.text }, false), 250);
}

function look(view) {
  plane.look(view);
  moved();
}

// ---- Selecting.

const overlay = document.createElementNS("http://www.w3.org/2000/svg", "svg");
const outline = document.createElementNS("http://www.w3.org/2000/svg", "polygon");

function drawOutline() {
  const scale = plane.scale;
  outline.setAttribute("points", (corners ?? []).map((corner) => plane.toPixels(corner, scale).map((value) => value.toFixed(1)).join()).join(" "));
}

function select({ lasso, region }, isStep = true) {
  corners = lassoed = lasso;
  mask = lasso || region !== null ? new Uint8Array(points.count) : null;
  if (lasso) selectInside(lasso, table.x, table.y, mask);
  else if (mask) for (let index = 0; index < mask.length; index++) mask[index] = Number(table.region[index] === region);
  current = rows.findIndex((row) => Number(row.dataset.region) === region);
  for (const [place, row] of rows.entries()) place === current ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current");
  points.setSelection(mask);
  redraw();
  tell();
  if (!isStep) return;
  shows++; // An address that is still being shown is older than this.
  remember({ lasso: lasso && pack(lasso), region }, true);
  askSelected();
}

// How many points there are, how many are selected, and how many of those the legend hides.
function tell() {
  const hidden = hiddenIndexes();
  let selected = 0;
  let unseen = 0;
  for (let point = 0; point < points.count; point++) {
    if (mask !== null && mask[point] === 0) continue;
    selected++;
    unseen += hidden[shown.indexes[point]];
  }
  const total = `${thin(points.count)} pictures`;
  const text = (mask ? `${thin(selected)} selected of ${total}` : total) + (unseen ? `, ${thin(unseen)} of them hidden` : "");
  const count = document.querySelector("#count");
  if (count.textContent !== text) count.textContent = text;
  map.dataset.selected = mask ? selected : "";
  map.dataset.hidden = unseen;
}

// ---- The picture below the pointer.

const card = new Card(map);
function pointAt(pixels) {
  const hidden = hiddenIndexes();
  return nearestPoint(table, plane.toMap(pixels), plane.scale, NEAR_PIXELS, (point) => hidden[shown.indexes[point]]);
}

// A press on a picture opens its archive; a touch, which cannot hover, shows its card first.
async function open(pixels, kind) {
  const point = pointAt(pixels);
  if (point < 0) card.hide();
  else if (kind === "touch") hover(pixels);
  else await card.address(table.row[point]).then((address) => location.assign(address), (error) => say("picture", error.message, () => open(pixels, kind)));
}

function hover(pixels) {
  const point = pointAt(pixels);
  if (point < 0) card.hide();
  else if (point !== card.point)
    card.show(point, table.row[point], plane.toPixels([table.x[point], table.y[point]])).then(
      () => say("picture", ""),
      (error) => say("picture", error.message, () => hover(pixels)),
    );
}

// ---- Keys: arrows step through the regions, Enter selects one, Escape gives up what is being drawn.

function step(by) {
  current = (current + by + rows.length) % rows.length;
  const row = rows[current];
  light(shown.name === "region" ? shown.entries[current] : null);
  const centre = [Number(row.dataset.x), Number(row.dataset.y)];
  const [left, top] = plane.toPixels(centre);
  if (left < 0 || top < 0 || left > map.clientWidth || top > map.clientHeight) look({ ...plane.view, x: centre[0], y: centre[1] });
  map.dataset.region = row.dataset.region;
  document.querySelector("#live").textContent = `${row.dataset.name}: ${row.querySelector(".figure").textContent} pictures`;
  redraw();
}

function keyed(event) {
  if (event.key === "Escape" && !event.target.closest?.("input, select")) {
    card.hide();
    if (!gestures.cancel() && mask !== null) select({ lasso: null, region: null });
    return;
  }
  if (event.target !== map || event.ctrlKey || event.metaKey || event.altKey || !rows.length) return;
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (by !== undefined) step(current < 0 && by < 0 ? 0 : by);
  else if (event.key === "Enter" && current >= 0) select({ lasso: null, region: Number(rows[current].dataset.region) });
  else return;
  event.preventDefault();
}

// ---- From the columns to the first picture.

async function showGains() {
  let gains;
  try {
    gains = await column("gain");
  } catch (error) {
    return say("gains", `${error.message} The table of regions shows no gains.`, showGains);
  }
  const sums = new Float64Array(256);
  const counts = new Uint32Array(256);
  for (let index = 0; index < gains.length; index++) {
    sums[table.region[index]] += gains[index];
    counts[table.region[index]]++;
  }
  for (const row of rows) row.querySelector("[data-gain]").textContent = counts[row.dataset.region] ? `+${(sums[row.dataset.region] / counts[row.dataset.region]).toFixed(1)}` : "–";
}

// Without WebGL2: the picture of the platform; the table beside it says the rest.
function showPicture() {
  const image = Object.assign(document.createElement("img"), { className: "density", src: map.dataset.image, alt: "How dense pictures lie on the map; its regions stand in the table beside it" });
  map.replaceChildren(image);
  map.dataset.state = "picture";
  say("graphics", "This browser has no WebGL2, which draws the points. The regions lead to their pictures.");
}

function zoomTo(factor) {
  if (factor === 0) plane.look(plane.whole);
  else plane.zoom(factor);
  moved();
}

function listen() {
  gestures = new Gestures(map, plane, {
    moved,
    draw: (line) => {
      corners = line ?? lassoed;
      drawOutline();
    },
    drawn: (lasso) => select({ lasso, region: null }),
    hover,
    press: open,
    mode: (mode) => {
      map.dataset.mode = mode;
      for (const button of modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    },
  });
  window.addEventListener("keydown", keyed, { capture: true });
  map.addEventListener("blur", () => light(null));
  for (const button of modes) button.addEventListener("click", () => gestures.setMode(button.dataset.mode));
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoomTo(Number(button.dataset.zoom)));
  color.addEventListener("change", () => choose(color.value));
  document.querySelector("#other").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = new FormData(event.target).get("concept").trim();
    if (name === "") return;
    // The page knows whether there is such a concept.
    remember({ color: `concept:${name}` }, true);
    location.reload();
  });
  document.addEventListener("click", (event) => {
    const [link, isPlain] = [event.target.closest?.("#clear, #regions a.name"), !event.ctrlKey && !event.metaKey && !event.shiftKey];
    if (!link || !isPlain) return;
    event.preventDefault();
    const row = link.closest("tr");
    select({ lasso: null, region: row ? Number(row.dataset.region) : null });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    forgetColours();
    paint();
  });
  new ResizeObserver(() => redraw()).observe(map);
}

// Show what the URL asks for. Where it changes before that is shown, only the last one is.
let shows = 0;
let latest = null;
const show = (isFirst) => (latest = showOnce(++shows, isFirst));
async function showOnce(own, isFirst) {
  const query = asked([...color.options].map((option) => option.value), plane.whole);
  clearTimeout(viewTimer);
  plane.look(query.view);
  say("colours", "");
  await recolour(query.color);
  if (shown === null && own === shows) await recolour("region");
  if (own !== shows) return latest;
  select(query, false);
  if (!isFirst) askSelected();
}

async function start() {
  points = Points.on(document.createElement("canvas"));
  if (points === null) return showPicture();
  const { canvas } = points;
  map.prepend(canvas);
  canvas.addEventListener("webglcontextlost", () => say("graphics", "The graphics of this browser were lost. The map is drawn again as soon as they are back."));
  canvas.addEventListener("webglcontextrestored", () => {
    say("graphics", "");
    if (shown) redraw();
  });
  overlay.setAttribute("aria-hidden", "true");
  overlay.append(outline);
  map.append(overlay);
  await load();
}

async function load() {
  map.dataset.state = "loading";
  try {
    table = await arrow("The points of the map", map.dataset.points);
  } catch (error) {
    map.dataset.state = "failed";
    return say("points", error.message, load);
  }
  points.setPlaces(table.x, table.y);
  plane.fit(table);
  map.dataset.count = points.count;
  window.addEventListener("popstate", () => show(false));
  await show(true);
  listen();
  for (const [name, value] of Object.entries({ role: "application", tabindex: "0", "aria-label": "Map of the pictures", "aria-describedby": "map-help" })) map.setAttribute(name, value);
  document.querySelector("#tools").hidden = false;
  gestures.setMode("move");
  map.dataset.state = "ready";
  await showGains();
}

start();
