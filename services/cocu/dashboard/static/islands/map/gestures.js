// The pointer on the map: drags move it or draw on it, two fingers and the wheel zoom, resting and pressing ask
// for a picture.

import { reduced } from "./lasso.js";

const HOVER_MS = 80;
const SLACK_PIXELS = 4;

export class Gestures {
  // act: {moved(), draw(corners or null), drawn(corners), hover(pixels), press(pixels, kind), mode(name)}.
  constructor(map, plane, act) {
    Object.assign(this, { map, plane, act, mode: "move", down: new Map(), began: null, timer: 0 });
    map.addEventListener("pointerdown", (event) => this.press(event));
    map.addEventListener("pointermove", (event) => this.drag(event));
    map.addEventListener("pointerup", (event) => this.release(event));
    // A capture that ends without a release, as where the system takes the pointer, is a cancelled gesture too.
    for (const kind of ["pointercancel", "lostpointercapture"]) map.addEventListener(kind, (event) => this.abandon(event));
    map.addEventListener("pointerleave", () => clearTimeout(this.timer));
    map.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  at(event) {
    const box = this.map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  setMode(mode) {
    this.mode = mode;
    this.act.mode(mode);
  }

  // Give up what is being drawn; whether there was anything to give up.
  cancel() {
    const isDrawing = this.mode !== "move";
    if (isDrawing) this.act.draw(null);
    this.began = null;
    this.setMode("move");
    return isDrawing;
  }

  press(event) {
    if (event.button !== 0 || event.target.closest("a")) return;
    const place = this.at(event);
    this.map.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, place);
    clearTimeout(this.timer);
    if (this.down.size > 1 && this.began !== null) this.act.draw(null);
    this.began = this.down.size > 1 ? null : { place, view: this.plane.view, isMoved: false, corners: [this.plane.cornerAt(place)] };
  }

  drag(event) {
    const place = this.at(event);
    const before = this.down.get(event.pointerId);
    if (before === undefined) {
      clearTimeout(this.timer);
      if (event.pointerType !== "touch" && !event.target.closest("a")) this.timer = setTimeout(() => this.act.hover(place), HOVER_MS);
      return;
    }
    this.down.set(event.pointerId, place);
    if (this.down.size === 2) this.pinch(event.pointerId, before, place);
    if (this.began === null) return;
    const [across, above] = [place[0] - this.began.place[0], place[1] - this.began.place[1]];
    this.began.isMoved ||= Math.hypot(across, above) > SLACK_PIXELS;
    if (!this.began.isMoved) return;
    if (this.mode === "move") {
      const { view } = this.began;
      const scale = this.plane.scale;
      this.plane.look({ x: view.x - across / scale[0], y: view.y + above / scale[1], size: view.size });
      this.act.moved();
      return;
    }
    const [first, last] = [this.began.corners[0], this.plane.cornerAt(place)];
    if (this.mode === "lasso") this.began.corners.push(last);
    else this.began.corners = [first, [last[0], first[1]], last, [first[0], last[1]]];
    this.act.draw(this.began.corners);
  }

  pinch(pointer, before, place) {
    const [, other] = [...this.down].find(([key]) => key !== pointer);
    const apart = ([left, top]) => Math.max(20, Math.hypot(left - other[0], top - other[1]));
    this.plane.zoom(apart(before) / apart(place), [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2]);
    this.act.moved();
  }

  // Nothing is selected or opened; a view that was moved stays.
  abandon(event) {
    if (!this.down.delete(event.pointerId) || this.began === null) return;
    this.began = null;
    if (this.mode !== "move") this.act.draw(null);
  }

  release(event) {
    const place = this.down.get(event.pointerId);
    this.down.delete(event.pointerId);
    if (this.began === null || place === undefined) return;
    const { isMoved, corners } = this.began;
    this.began = null;
    if (!isMoved) this.act.press(place, event.pointerType);
    else if (this.mode !== "move") {
      // The line closes by itself. What has no inside selects nothing.
      this.setMode("move");
      const closed = reduced(corners);
      if (closed.length > 2) this.act.drawn(closed);
      else this.act.draw(null);
    }
  }

  wheel(event) {
    event.preventDefault();
    this.plane.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 150), this.at(event));
    this.act.moved();
  }
}
