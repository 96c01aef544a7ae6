// What is asked for stands in the URL, in one order and without defaults, as the server writes it.

import { unpack } from "./lasso.js";
import { SIDE } from "./points.js";

const ORDER = ["projection", "color", "view", "lasso", "region"];

// colors: those that can be chosen; that of the URL is among them where it is known. whole: the view of a URL that says none.
export function asked(colors, whole) {
  const query = new URLSearchParams(location.search);
  const [x, y, size] = (query.get("view") ?? "").split("-").map(Number);
  const color = query.get("color") ?? "";
  const lasso = unpack(query.get("lasso") ?? "");
  return {
    color: colors.includes(color) ? color : "region",
    view: x < SIDE && y < SIDE && size > 0 ? { x, y, size } : { ...whole },
    lasso,
    region: lasso || !/^\d+$/.test(query.get("region")) ? null : Number(query.get("region")),
  };
}

// Other values; null takes one out. A step is one that Back returns from.
export function remember(changes, isStep) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) value === null ? query.delete(name) : query.set(name, value);
  const ordered = new URLSearchParams();
  for (const name of ORDER) if (query.has(name)) ordered.set(name, query.get(name));
  const url = ordered.size ? `?${ordered}` : location.pathname;
  // Without the mark of htmx, which would ask for the page again and put it in place of the map.
  if (isStep) history.pushState({ map: true }, "", url);
  else history.replaceState(history.state, "", url);
}
