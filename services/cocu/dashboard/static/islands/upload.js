// Files are sent in pieces by tus: they can be paused, and go on after a reload, because the browser keeps the
// address of each upload. Wrong formats are told before anything is sent.

const drop = document.querySelector("#drop");
const input = drop.querySelector("input[type=file]");
const refused = drop.querySelector("#refused");
const sending = drop.querySelector("#sending");
const endings = drop.dataset.endings.split(" ");
const endpoint = new URL(drop.dataset.endpoint, window.location.href).href;
const NAME = /^[\p{L}\p{N}_][\p{L}\p{N}_ .()+,=@-]*$/u;

const bare = (name) => name.toLowerCase().replace(/(\.(csv|tsv))\.(gz|zst)$/, "$1");
const fits = (file) => endings.some((ending) => bare(file.name).endsWith(ending));
// A name with other characters cannot stand in an address; they become a line.
const nameOf = (file) => (NAME.test(file.name) ? file.name : file.name.replace(/[^\p{L}\p{N}_ .()+,=@-]/gu, "_").replace(/^[^\p{L}\p{N}_]+/u, ""));

function take(files) {
  const wrong = [...files].filter((file) => !fits(file) || file.size === 0);
  refused.textContent = wrong.length
    ? `Not sent: ${wrong.map((file) => (file.size === 0 ? `${file.name} (empty)` : file.name)).join(", ")}. Files must end in ${endings.join(", ")}.`
    : "";
  for (const file of files) if (fits(file) && file.size > 0) send(file);
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value.toFixed(unit && value < 10 ? 1 : 0)}\u202f${units[unit]}`;
}

function row(file) {
  const item = document.createElement("li");
  const name = document.createElement("bdi");
  name.textContent = file.name;
  const bar = document.createElement("progress");
  bar.max = file.size;
  bar.value = 0;
  bar.setAttribute("aria-label", `sent of ${file.name}`);
  const state = document.createElement("span");
  state.className = "note";
  state.textContent = "begins";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Pause";
  button.setAttribute("aria-label", `Pause ${file.name}`);
  item.append(name, " ", bar, " ", state, " ", button);
  sending.append(item);
  return { item, bar, state, button };
}

function label(parts, file, text) {
  parts.button.textContent = text;
  parts.button.setAttribute("aria-label", `${text} ${file.name}`);
}

async function send(file) {
  const parts = row(file);
  let began = performance.now();
  let first = null;
  let paused = false;
  const upload = new tus.Upload(file, {
    endpoint,
    chunkSize: 16 * 1024 * 1024,
    retryDelays: [0, 1000, 3000, 5000, 10000, 20000],
    metadata: { filename: nameOf(file) },
    removeFingerprintOnSuccess: true,
    fingerprint: async (chosen) => ["cocu", drop.dataset.dataset, chosen.name, chosen.size, chosen.lastModified].join(" "),
    onProgress(sent, total) {
      first ??= sent;
      parts.bar.value = sent;
      const seconds = (performance.now() - began) / 1000;
      const rate = seconds > 1 ? ` · ${size((sent - first) / seconds)}/s` : "";
      parts.state.textContent = `${size(sent)} of ${size(total)}${rate}`;
    },
    onSuccess() {
      parts.bar.value = file.size;
      parts.state.textContent = "arrived; it is read now";
      parts.button.remove();
      document.dispatchEvent(new Event("cocu:uploaded"));
      window.setTimeout(() => parts.item.remove(), 4000);
    },
    onError(error) {
      parts.state.className = "wrong";
      parts.state.textContent = reason(error);
      paused = true;
      label(parts, file, "Try again");
    },
  });
  parts.button.addEventListener("click", () => {
    paused = !paused;
    if (paused) {
      upload.abort();
      parts.state.textContent += " · paused";
      label(parts, file, "Go on");
    } else {
      parts.state.className = "note";
      first = null;
      began = performance.now();
      upload.start();
      label(parts, file, "Pause");
    }
  });
  try {
    const earlier = await upload.findPreviousUploads();
    if (earlier.length) upload.resumeFromPreviousUpload(earlier[0]);
  } catch {
    // The store of the browser is closed to us: it is sent from the beginning.
  }
  upload.start();
}

function reason(error) {
  const body = error.originalResponse?.getBody?.();
  try {
    const problem = JSON.parse(body);
    const fields = (problem.errors ?? []).map((field) => `${field.field} ${field.problem}`);
    return [problem.title, problem.detail, ...fields].filter(Boolean).join(" ");
  } catch {
    return "The platform does not answer; it is sent on from where it was.";
  }
}

for (const part of drop.querySelectorAll(".needs-script")) part.hidden = false;
input.addEventListener("change", () => {
  take(input.files);
  input.value = "";
});
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("is-over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("is-over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("is-over");
  take(event.dataTransfer.files);
});
