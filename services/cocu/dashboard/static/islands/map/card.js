// The card of the picture below the pointer: its picture, its caption, three added concepts; a link to its archive.

import { answer } from "./answers.js";

const KEPT = 300;
const made = (tag, properties) => Object.assign(document.createElement(tag), properties);
// A browser takes `.` and `..` out of a path.
const segment = (key) => (/^\.{1,2}$/.test(key) ? "%2E".repeat(key.length) : encodeURIComponent(key));

export class Card {
  constructor(map) {
    this.map = map;
    this.known = new Map();
    this.point = -1;
    this.element = made("a", { className: "map-card", hidden: true });
    map.append(this.element);
  }

  hide() {
    this.point = -1;
    this.element.hidden = true;
  }

  // The page of a picture's archive.
  async address(row) {
    const { sample } = await this.about(row);
    return `${this.map.dataset.pages}/${segment(sample.key)}`;
  }

  async about(row) {
    if (!this.known.has(row)) {
      const { samples, archives } = this.map.dataset;
      const [sample] = (await (await answer("The picture below the pointer", `${samples}?rows=${row}`)).json()).items;
      if (sample === undefined) throw new Error("The picture below the pointer is not there any more.");
      // A picture that came later than the curation has no archive there.
      const archive = await answer("The archive of the picture", `${archives}/${segment(sample.key)}`).then((given) => given.json(), (error) => {
        if (error.status === 404) return null;
        throw error;
      });
      if (this.known.size >= KEPT) this.known.clear();
      this.known.set(row, { sample, added: archive?.concepts.filter((concept) => concept.added).slice(0, 3).map((concept) => `+ ${concept.concept}`) ?? ["not in this curation"] });
    }
    return this.known.get(row);
  }

  // Show a point's picture beside its place on the screen. Fails where an answer does not arrive.
  async show(point, row, [left, top]) {
    this.point = point;
    let about;
    try {
      about = await this.about(row);
    } catch (error) {
      if (this.point !== point) return;
      this.hide();
      throw error;
    }
    if (this.point !== point) return;
    const { sample, added } = about;
    this.element.replaceChildren();
    if (sample.image !== null) {
      const picture = made("img", { alt: "", src: `${this.map.dataset.samples}/${segment(sample.key)}/image?size=256` });
      picture.addEventListener("error", () => picture.replaceWith(made("span", { className: "best", textContent: "Its picture did not arrive." })));
      this.element.append(picture);
    }
    this.element.append(made("bdi", { className: "caption", textContent: sample.caption }));
    this.element.append(made("span", { className: "best", textContent: added.length ? added.join("  ") : "nothing added" }));
    this.element.href = `${this.map.dataset.pages}/${segment(sample.key)}`;
    this.element.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const x = left + 16 + width > this.map.clientWidth ? left - 16 - width : left + 16;
    const y = Math.min(this.map.clientHeight - height - 4, top - height / 2);
    this.element.style.transform = `translate(${Math.round(Math.max(4, x))}px, ${Math.round(Math.max(4, y))}px)`;
    this.map.dataset.hovered = sample.key;
  }
}
