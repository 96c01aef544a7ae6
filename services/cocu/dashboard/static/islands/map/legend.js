// Colours of the map: entries of its legend, each a colour of the style sheet and the indexes that have it.

const SAMPLE = 20000;
const BINS = 5;
const CHOICES = {
  changed: [["swatch-none", "as before"], ["swatch-added", "neighbours changed"]],
  concept: [["swatch-none", "without it"], ["swatch-2", "in the caption"], ["swatch-added", "added"]],
};
const probe = document.createElement("span");
const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const minus = (value) => value.toFixed(1).replace("-", "\u2212");

const known = new Map();

// Red, green and blue of a swatch in the theme of the page.
export function swatchColour(swatch) {
  if (!known.has(swatch)) {
    Object.assign(probe, { className: `swatch ${swatch}`, hidden: true });
    if (!probe.isConnected) document.body.append(probe);
    pixel.fillStyle = getComputedStyle(probe).color;
    pixel.fillRect(0, 0, 1, 1);
    known.set(swatch, [...pixel.getImageData(0, 0, 1, 1).data.subarray(0, 3)]);
  }
  return known.get(swatch);
}

// The theme has changed.
export const forgetColours = () => known.clear();

// How a column is coloured: {indexes, entries}, for every point the index of its colour, and who has which.
export function describe(name, values, rows) {
  if (name === "region")
    return { indexes: values, entries: rows.map((row) => ({ indexes: [Number(row.dataset.region)], swatch: row.dataset.swatch, isRing: "ring" in row.dataset, label: row.dataset.name })) };
  if (name === "gain") return ramp(values, 0, (low, high) => (high === undefined ? `${low} and more` : high - 1 > low ? `${low} to ${high - 1}` : `${low}`));
  if (name === "best_added") return ramp(values, 1, (low, high) => (high === undefined ? `${minus(low)} and more` : `${minus(low)} to ${minus(high)}`));
  const choices = CHOICES[name === "changed" ? name : "concept"];
  return { indexes: values, entries: choices.map(([swatch, label], index) => ({ indexes: [index], swatch, label, isBack: index === 0 })) };
}

// Bins with about as many points each. Points come in random order: the first ones are a fair sample.
function ramp(values, digits, label) {
  const isNothing = values instanceof Float32Array ? Number.isNaN : (value) => value === 0;
  const sample = values.slice(0, SAMPLE).filter((value) => !isNothing(value)).sort();
  const edges = sample.length ? [Number(sample[0].toFixed(digits))] : [0];
  for (let bin = 1; bin < BINS && sample.length; bin++) {
    const edge = Number(sample[Math.floor((bin * sample.length) / BINS)].toFixed(digits));
    if (edge > edges.at(-1)) edges.push(edge);
  }
  const indexes = new Uint8Array(values.length);
  for (let point = 0; point < values.length; point++) {
    const value = values[point];
    if (isNothing(value)) continue;
    let index = 1;
    while (index < edges.length && value >= edges[index]) index++;
    indexes[point] = index;
  }
  const bins = edges.map((low, bin) => ({
    indexes: [bin + 1],
    swatch: `swatch-ramp-${edges.length === 1 ? BINS : Math.round(1 + (bin * (BINS - 1)) / (edges.length - 1))}`,
    label: bin ? label(low, edges[bin + 1]) : edges.length === 1 ? "something added" : digits ? `below ${minus(edges[1])}` : label(1, edges[1]),
  }));
  return { indexes, entries: [{ indexes: [0], swatch: "swatch-none", label: "nothing added", isBack: true }, ...bins] };
}

// The legend: pointing at an entry dims the others, pressing it hides it and shows it again.
// buttons: those that are there already, one for an entry; else they are made in the list.
export function showLegend(list, entries, buttons, { point, toggle }) {
  list.replaceChildren();
  list.hidden = buttons !== null;
  entries.forEach((entry, place) => {
    if (!buttons && entry.count === "0") return;
    let button = buttons?.[place];
    if (button === undefined) {
      button = document.createElement("button");
      button.type = "button";
      button.append(Object.assign(document.createElement("span"), { className: `swatch ${entry.swatch}` }), ` ${entry.label} `);
      button.append(Object.assign(document.createElement("span"), { className: "muted", textContent: entry.count }));
      const item = document.createElement("li");
      item.append(button);
      list.append(item);
    }
    button.setAttribute("aria-pressed", String(!entry.isHidden));
    const subject = buttons ? button.closest("tr") : button;
    subject.onpointerenter = button.onfocus = () => point(entry);
    subject.onpointerleave = button.onblur = () => point(null);
    button.onclick = () => {
      toggle(entry);
      button.setAttribute("aria-pressed", String(!entry.isHidden));
    };
  });
}
