// The platform does not answer, or a server between says so: the page stays as it is, and a banner asks again
// with growing pauses. When it answers, what was asked for is shown: a fragment has the URL of its page, so that
// is a navigation. A request that succeeds meanwhile ends the waiting.

const FIRST_MS = 1000;
const LONGEST_MS = 30000;
const banner = document.querySelector("#away");
let timer = 0;

const isRead = (request) => request?.method?.toUpperCase() === "GET";

document.addEventListener("htmx:error", (event) => {
  const request = event.detail.ctx?.request;
  if (isRead(request)) wait(request.action, FIRST_MS);
});

document.addEventListener("htmx:before:response", (event) => {
  const { request, response } = event.detail.ctx;
  if (response.status < 500) {
    end();
  } else if (isRead(request)) {
    // The answer is a page about the error: put in the place of a part, it would take that away.
    event.preventDefault();
    wait(request.action, FIRST_MS);
  }
});

function wait(address, pause) {
  window.clearTimeout(timer);
  banner.hidden = false;
  banner.textContent = `The platform does not answer. It is asked again in ${Math.round(pause / 1000)} s.`;
  timer = window.setTimeout(ask, pause, address, Math.min(2 * pause, LONGEST_MS));
}

function end() {
  window.clearTimeout(timer);
  timer = 0;
  banner.hidden = true;
}

async function ask(address, pause) {
  const own = timer;
  const isBack = await fetch(address, { method: "HEAD", cache: "no-store" }).then((answer) => answer.status < 500, () => false);
  // Another request has begun to wait, or has succeeded.
  if (timer !== own) return;
  if (isBack) window.location.assign(address);
  else wait(address, pause);
}
