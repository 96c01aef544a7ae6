// What runs is shown as it runs: an event, or a second while something runs, reads the page again and puts
// its live parts in place. Without events nothing is lost: the page is as it was when it was loaded.

const QUIET_MS = 300;
const RUNNING_MS = 2000;
const address = document.querySelector("[data-events]")?.dataset.events;
let source = null;
let waiting = 0;
let reading = false;
let again = false;

const parts = () => [...document.querySelectorAll("[data-live][id]")];
const runs = () => document.querySelector("[data-running]") !== null;

function soon(delay = QUIET_MS) {
  window.clearTimeout(waiting);
  waiting = window.setTimeout(refresh, delay);
}

async function refresh() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  try {
    const answer = await fetch(window.location.href, { headers: { Accept: "text/html" } });
    if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The platform restarts: the next event, or the next second, asks again.
  } finally {
    reading = false;
  }
  if (again) {
    again = false;
    soon();
  } else if (runs() && !document.hidden) soon(RUNNING_MS);
}

function replace(page) {
  const ran = runs();
  for (const part of parts()) {
    const fresh = page.getElementById(part.id);
    if (fresh === null || fresh.isEqualNode(part)) continue;
    // A part that says what it is of changes as a whole only with that: what is open in it stays open.
    if (part.dataset.live !== "" && part.dataset.live === fresh.dataset.live) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceWith(document.adoptNode(fresh));
    if (focused !== null) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
  }
  // Most of a page is about what has ended: it is read as a whole then.
  const progress = document.querySelector("#progress");
  if (ran && progress !== null && !runs()) window.location.reload();
}

function follow() {
  if (address === undefined || source !== null || document.hidden) return;
  source = new EventSource(address);
  for (const kind of ["state", "stage", "progress", "upload"]) source.addEventListener(kind, () => soon());
  if (runs()) soon(RUNNING_MS);
}

function rest() {
  source?.close();
  source = null;
  window.clearTimeout(waiting);
}

// A hidden page holds no connection: a browser has six for all its pages of one origin.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) rest();
  else {
    follow();
    soon(0);
  }
});
window.addEventListener("pagehide", rest);
document.addEventListener("cocu:uploaded", () => soon());
follow();
