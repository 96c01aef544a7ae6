// Answers of the platform: one that does not arrive says what it is, in words for a person.

export async function answer(what, url, options = {}) {
  let given;
  try {
    given = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(`${what} did not arrive: the platform does not answer.`);
  }
  if (given.ok) return given;
  const { detail } = await given.json().catch(() => ({}));
  throw Object.assign(new Error(`${what} did not arrive: ${detail?.replace(/[^.]$/, "$&.") ?? `the platform answers ${given.status}.`}`), { status: given.status });
}

// Columns of an Arrow stream, by name.
export async function arrow(what, url) {
  const given = await answer(what, url);
  try {
    const read = globalThis.fl.tableFromIPC(new Uint8Array(await given.arrayBuffer()));
    return Object.fromEntries(read.names.map((name) => [name, read.getChild(name).toArray()]));
  } catch {
    throw new Error(`${what} did not arrive whole.`);
  }
}

// A note for each thing that failed, with a button that tries it again; an empty text takes the note of it away.
export function say(about, text, again = null) {
  const notes = document.querySelector("#note");
  let note = notes.querySelector(`[data-about="${about}"]`);
  if (text !== "") {
    if (note === null) {
      note = document.createElement("p");
      note.dataset.about = about;
      notes.append(note);
    }
    note.textContent = text;
    if (again !== null) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Try again" });
      button.addEventListener("click", () => {
        say(about, "");
        again();
      });
      note.append(" ", button);
    }
  } else note?.remove();
  notes.hidden = notes.childElementCount === 0;
}
