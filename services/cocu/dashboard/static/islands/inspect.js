// Provenance both ways: a concept lights the neighbours that named it and their words, a neighbour its concepts.
// What is pinned by Space stays lit until it is pinned again or another is.

const inspector = document.querySelector("#inspector");
const rows = [...inspector.querySelectorAll(".concept-row[data-concept]")];
const neighbours = [...inspector.querySelectorAll(".neighbour")];
let pinned = null;

const numbers = (text) => text.split(" ").filter((part) => part !== "").map(Number);

function clear() {
  for (const element of [...rows, ...neighbours]) element.classList.remove("is-lit", "is-dim");
  for (const mark of inspector.querySelectorAll(".is-marked")) mark.classList.remove("is-marked");
  for (const share of inspector.querySelectorAll(".share")) share.textContent = "";
}

function lightConcept(row) {
  clear();
  const named = numbers(row.dataset.neighbours);
  const weights = row.dataset.weights.split(" ");
  row.classList.add("is-lit");
  neighbours.forEach((neighbour, index) => {
    const place = named.indexOf(index);
    neighbour.classList.add(place < 0 ? "is-dim" : "is-lit");
    if (place >= 0 && weights[place]) neighbour.querySelector(".share").textContent = `${Math.round(100 * weights[place])} % of its support`;
  });
  for (const mark of inspector.querySelectorAll("mark"))
    mark.classList.toggle("is-marked", mark.dataset.concept === row.dataset.concept);
}

function lightNeighbour(neighbour) {
  clear();
  const index = Number(neighbour.dataset.index);
  neighbour.classList.add("is-lit");
  for (const row of rows) row.classList.add(numbers(row.dataset.neighbours).includes(index) ? "is-lit" : "is-dim");
  for (const mark of neighbour.querySelectorAll("mark")) mark.classList.add("is-marked");
}

const light = (element) => (element.matches(".neighbour") ? lightNeighbour(element) : lightConcept(element));
const subject = (target) => target.closest?.(".concept-row[data-concept], .neighbour");

function show(target) {
  const element = subject(target);
  if (element) light(element);
  else if (pinned) light(pinned);
  else clear();
}

inspector.addEventListener("pointerover", (event) => show(event.target));
inspector.addEventListener("pointerleave", () => show(document.body));
inspector.addEventListener("focusin", (event) => show(event.target));
inspector.addEventListener("focusout", (event) => show(event.relatedTarget ?? document.body));
inspector.addEventListener("keydown", (event) => {
  const element = event.target.matches(".concept-row, .neighbour") ? event.target : null;
  if (event.key === " " && element) {
    event.preventDefault();
    pinned = pinned === element ? null : element;
    show(element);
  }
  if (event.key.toLowerCase() === "o" && !event.ctrlKey && !event.metaKey && !event.altKey)
    event.target.closest(".concept-row")?.querySelector("a.name")?.click();
  if (event.key === "Escape") {
    pinned = null;
    clear();
  }
});

// The score line and the temperature: what falls out, and how likely each concept is drawn first, at once.
// The draws themselves come from the platform, which is asked when the hand rests.

const lens = document.querySelector("#lens");

function softmax(values) {
  const highest = Math.max(...values);
  const weights = values.map((value) => Math.exp(value - highest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

// The chance of each score to be drawn first by the sampler "cluster": a cluster by the mean of its scores, then
// a concept within it. With fewer than two clusters the best score is always first.
export function firstDraws(scores, clusters, temperature) {
  const scaled = scores.map((score) => score / temperature);
  const members = new Map();
  clusters.forEach((cluster, index) => members.set(cluster, [...(members.get(cluster) ?? []), index]));
  const real = [...members.keys()].filter((cluster) => cluster !== "").length;
  const chances = new Array(scores.length).fill(0);
  if (!scores.length) return chances;
  if (real < 2) {
    chances[scores.indexOf(Math.max(...scores))] = 1;
    return chances;
  }
  const groups = [...members.values()];
  const means = groups.map((group) => group.reduce((sum, index) => sum + scaled[index], 0) / group.length);
  softmax(means).forEach((chance, place) => {
    softmax(groups[place].map((index) => scaled[index])).forEach((inside, at) => (chances[groups[place][at]] = chance * inside));
  });
  return chances;
}

function apply() {
  const threshold = Number(lens.threshold.value);
  const shown = rows.filter((row) => Number(row.dataset.score) >= threshold);
  const chances = firstDraws(
    shown.map((row) => Number(row.dataset.score)),
    shown.map((row) => row.dataset.cluster),
    Number(lens.temperature.value),
  );
  for (const row of rows) {
    const place = shown.indexOf(row);
    row.classList.toggle("below", place < 0);
    row.querySelector(".drawn").textContent = place < 0 ? "–" : `${Math.round(100 * chances[place])}\u202f%`;
    row.dataset.drawn = place < 0 ? "0" : String(chances[place]);
  }
  for (const input of lens.querySelectorAll("input[type=range]"))
    input.parentElement.querySelector("output").textContent = Number(input.value).toFixed(1).replace("-", "\u2212");
}

function remember() {
  const query = new URLSearchParams(new FormData(lens));
  for (const input of lens.querySelectorAll("input[type=range]"))
    if (Number(input.value) === Number(input.dataset.default)) query.delete(input.name);
  const text = query.toString();
  history.replaceState(history.state, "", text ? `?${text}` : location.pathname);
  if (document.querySelector("#draws"))
    htmx.ajax("GET", location.href, { target: "#draws", select: "#draws", swap: "outerHTML" });
}

if (lens) {
  apply();
  lens.addEventListener("input", apply);
  lens.addEventListener("change", remember);
  lens.addEventListener("submit", (event) => event.preventDefault());
}
