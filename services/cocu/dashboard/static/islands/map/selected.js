// What is selected, as the page at the same address says it: that part of it is put in place.

import { answer, say } from "./answers.js";

let asking = null;
export async function askSelected() {
  asking?.abort();
  const own = (asking = new AbortController());
  const part = document.querySelector("#selected");
  part.setAttribute("aria-busy", "true");
  try {
    const given = await answer("What is selected", location.href, { headers: { Accept: "text/html" }, signal: own.signal });
    const fresh = new DOMParser().parseFromString(await given.text(), "text/html").querySelector("#selected");
    if (fresh === null) throw new Error("What is selected did not arrive: the page has no such part.");
    part.replaceWith(document.adoptNode(fresh));
    say("selected", "");
  } catch (error) {
    if (own.signal.aborted) return;
    part.removeAttribute("aria-busy");
    say("selected", error.message, askSelected);
  }
}
