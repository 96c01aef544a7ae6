// Shapes on the map: corners with 16-bit coordinates, as they travel in the URL, and the points inside.

export const MOST_CORNERS = 64;

// base64url of x and y of every corner, little-endian.
export function pack(corners) {
  const bytes = new Uint8Array(4 * corners.length);
  const numbers = new DataView(bytes.buffer);
  corners.flat().forEach((value, place) => numbers.setUint16(2 * place, value, true));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

// The corners of a lasso; null for what is none.
export function unpack(text) {
  if (!/^[\w-]{16,342}$/.test(text)) return null;
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    if (bytes.length % 4 || bytes.length > 4 * MOST_CORNERS) return null;
    const numbers = new DataView(bytes.buffer);
    return Array.from({ length: bytes.length / 4 }, (_, corner) => [numbers.getUint16(4 * corner, true), numbers.getUint16(4 * corner + 2, true)]);
  } catch {
    return null;
  }
}

// At most MOST_CORNERS of a drawn line: the corner whose triangle with its neighbours is smallest goes first.
export function reduced(corners) {
  const kept = corners.filter(([x, y], place) => place === 0 || x !== corners[place - 1][0] || y !== corners[place - 1][1]);
  // A line of a thousand corners would take a million triangles: first every second one, until they are few.
  let line = kept;
  while (line.length > 8 * MOST_CORNERS) line = line.filter((_, place) => place % 2 === 0);
  const area = ([ax, ay], [bx, by], [cx, cy]) => Math.abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay));
  while (line.length > MOST_CORNERS) {
    let least = 0;
    let smallest = Infinity;
    line.forEach((corner, place) => {
      const size = area(line.at(place - 1), corner, line[(place + 1) % line.length]);
      if (size < smallest) [smallest, least] = [size, place];
    });
    line.splice(least, 1);
  }
  return line;
}

// Mark the points inside, by the even-odd rule, in doubles: the platform counts the same ones.
export function selectInside(corners, x, y, mask) {
  const [left, right] = [Math.min(...corners.map((corner) => corner[0])), Math.max(...corners.map((corner) => corner[0]))];
  const [top, bottom] = [Math.min(...corners.map((corner) => corner[1])), Math.max(...corners.map((corner) => corner[1]))];
  const count = corners.length;
  const xs = Float64Array.from(corners, (corner) => corner[0]);
  const ys = Float64Array.from(corners, (corner) => corner[1]);
  for (let index = 0; index < mask.length; index++) {
    const [px, py] = [x[index], y[index]];
    if (px < left || px > right || py < top || py > bottom) continue;
    let isInside = false;
    for (let at = 0, before = count - 1; at < count; before = at++)
      if (ys[at] > py !== ys[before] > py && px < ((xs[before] - xs[at]) * (py - ys[at])) / (ys[before] - ys[at]) + xs[at]) isInside = !isInside;
    if (isInside) mask[index] = 1;
  }
}

// The point nearest to a place of the map, among those that are not hidden, within some pixels; -1 for none.
export function nearestPoint({ x, y }, [px, py], [across, upwards], pixels, isHidden) {
  let nearest = -1;
  let least = pixels * pixels;
  for (let index = 0; index < x.length; index++) {
    const aside = (x[index] - px) * across;
    const above = (y[index] - py) * upwards;
    const distance = aside * aside + above * above;
    if (distance < least && !isHidden(index)) [least, nearest] = [distance, index];
  }
  return nearest;
}
