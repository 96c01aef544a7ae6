// Keys of every page: an element with data-key is pressed by that key; arrows move between cards.
// Keys rest while text is edited, while a dialog is open, and with a modifier.

const edits = (target) => target.closest("input:not([type=range]), textarea, select, [contenteditable], dialog");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || edits(event.target)) return;
  const key = event.key.toLowerCase();
  const named = [...document.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);
  if (named) {
    event.preventDefault();
    named.click();
    return;
  }
  const cards = [...document.querySelectorAll("[data-grid] .card")];
  if (cards.length && ["arrowleft", "arrowright", "arrowup", "arrowdown"].includes(key)) move(event, key, cards);
});

function move(event, key, cards) {
  const at = cards.indexOf(document.activeElement);
  const perRow = cards.findIndex((card) => card.offsetTop > cards[0].offsetTop);
  const step = { arrowleft: -1, arrowright: 1, arrowup: -perRow, arrowdown: perRow }[key];
  const next = at < 0 ? 0 : at + step;
  if (next < 0 || next >= cards.length || (at < 0 && key !== "arrowright" && key !== "arrowdown")) return;
  event.preventDefault();
  cards[next].focus();
}

// The page after this one is fetched while this one is looked at: pressing J shows it at once.
for (const link of document.querySelectorAll("a[rel=next], a[rel=prev]")) {
  const hint = document.createElement("link");
  hint.rel = "prefetch";
  hint.href = link.href;
  document.head.append(hint);
}
