// Names of regions on the map: the current one, then the largest first, as far as there is room.

export class Names {
  // rows: of the table of regions, largest first.
  constructor(map, rows) {
    this.map = map;
    this.rows = rows;
    this.element = document.createElement("div");
    this.element.className = "map-names";
    this.element.ariaHidden = "true";
    for (const row of rows) this.element.append(Object.assign(document.createElement("span"), { textContent: row.dataset.name }));
    map.append(this.element);
  }

  // toPixels: from the map to the screen. isHidden: whether the legend hides the region of a row.
  place(toPixels, current, isHidden) {
    const taken = [];
    const order = [...this.rows.keys()].sort((first, second) => Number(second === current) - Number(first === current) || first - second);
    for (const row of order) {
      const name = this.element.children[row];
      const { x, y } = this.rows[row].dataset;
      const [left, top] = toPixels([Number(x), Number(y)]);
      const [width, height] = [name.offsetWidth / 2 + 4, name.offsetHeight / 2 + 2];
      const isInside = left > width && left < this.map.clientWidth - width && top > height && top < this.map.clientHeight - height;
      const isFree = taken.every((box) => Math.abs(left - box.left) > width + box.width || Math.abs(top - box.top) > height + box.height);
      name.classList.toggle("is-shown", isInside && isFree && !isHidden(row));
      name.classList.toggle("is-current", row === current);
      name.style.transform = `translate(${Math.round(left - width + 4)}px, ${Math.round(top - height + 2)}px)`;
      if (isInside && isFree && !isHidden(row)) taken.push({ left, top, width, height });
    }
  }
}
