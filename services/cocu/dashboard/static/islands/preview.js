// Another preview says what it changed against the one before: concepts that came, and how many went.

const form = document.querySelector("form.aside");
const read = () => new Map([...form.querySelectorAll("[data-sample]")].map((card) => [card.dataset.sample, new Set(card.dataset.added.split("\n").filter(Boolean))]));
let before = read();

function mark() {
  for (const card of form.querySelectorAll("[data-sample]")) {
    const earlier = before.get(card.dataset.sample);
    if (earlier === undefined) continue;
    const added = new Set(card.dataset.added.split("\n").filter(Boolean));
    const came = [...added].filter((concept) => !earlier.has(concept));
    const went = [...earlier].filter((concept) => !added.has(concept));
    for (const name of card.querySelectorAll("[data-concept]")) name.classList.toggle("is-new", came.includes(name.dataset.concept));
    const parts = [came.length ? `▲ ${came.length} came` : "", went.length ? `▼ ${went.length} went: ${went.slice(0, 4).join(", ")}` : ""];
    card.querySelector("[data-change]").textContent = parts.filter(Boolean).join(" · ");
  }
}

// The side of the form is replaced as a whole; without a preview in it, the last one is remembered.
new MutationObserver(() => {
  const now = read();
  if (now.size === 0) return;
  mark();
  before = now;
}).observe(form, { childList: true });
