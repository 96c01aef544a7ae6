// Points drawn by WebGL2: one program, columns as they arrive, no copy per point.
//
// Points stand in random order, so the first of them are a fair sample of all: while the view moves, as many are
// drawn as time allows; when it rests, the others follow in slices, and the page stays awake between them.

export const SIDE = 65536;
export const INDEXES = 128;
export const STYLES = { hidden: 0, faint: 85, ring: 150, plain: 205, full: 255 };
const MOVING_MS = 30;
const RESTING_MS = 120;
const LEAST = 5000;

const VERTEX = `#version 300 es
precision highp float;
in float a_x, a_y, a_index, a_selected;
uniform vec2 u_centre, u_scale;
uniform float u_size, u_opacity;
uniform bool u_selecting;
uniform vec4 u_palette[128];
out vec4 v_colour;
flat out float v_ring;
void main() {
  vec4 texel = u_palette[int(255.0 * a_index + 0.5)];
  bool back = texel.a < 0.4 || (u_selecting && a_selected == 0.0);
  v_ring = texel.a > 0.5 && texel.a < 0.7 && u_size > 4.5 ? 1.0 : 0.0;
  v_colour = vec4(texel.rgb, back ? 0.3 * u_opacity : u_opacity);
  gl_PointSize = back ? 0.8 * u_size : u_size;
  gl_Position = texel.a < 0.1 ? vec4(2.0, 2.0, 2.0, 1.0)
    : vec4((65535.0 * a_x - u_centre.x) * u_scale.x, (65535.0 * a_y - u_centre.y) * u_scale.y, back ? 0.5 : texel.a > 0.7 && texel.a < 0.9 ? 0.25 : 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 v_colour;
flat in float v_ring;
uniform float u_size;
out vec4 colour;
void main() {
  float alpha = v_colour.a;
  if (u_size > 3.0) {
    float radius = 2.0 * length(gl_PointCoord - 0.5);
    float hole = v_ring * (1.0 - smoothstep(0.45, 0.65, radius));
    alpha *= clamp((1.0 - radius) * u_size * 0.5 + 0.3, 0.0, 1.0) * (1.0 - hole);
  }
  colour = vec4(v_colour.rgb * alpha, alpha);
}`;

function compiled(gl, kind, source) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  return shader;
}

export class Points {
  // Null where the browser has no WebGL2.
  static on(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true, premultipliedAlpha: true });
    return gl && new Points(canvas, gl);
  }

  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.count = 0;
    this.drawn = 0;
    this.rate = 3000; // Points a millisecond, measured at every slice.
    this.slice = null; // What is being drawn just now.
    this.columns = []; // What was uploaded, for a context that comes back.
    this.palette = null;
    this.selecting = false;
    this.build();
    // Without this the browser does not bring it back.
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.build());
  }

  get isLost() {
    return this.gl.isContextLost();
  }

  // Build and upload everything that the context holds; again where a context that was lost comes back.
  build() {
    const gl = this.gl;
    this.slice = null;
    this.buffers = [];
    if (this.isLost) return;
    const program = gl.createProgram();
    gl.attachShader(program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    ["a_x", "a_y", "a_index", "a_selected"].forEach((name, place) => gl.bindAttribLocation(program, place, name));
    gl.linkProgram(program);
    gl.useProgram(program);
    this.at = new Proxy({}, { get: (known, name) => (known[name] ??= gl.getUniformLocation(program, name)) });
    this.buffers = [0, 1, 2, 3].map(() => gl.createBuffer());
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    // What is in front is in front in whatever order points come.
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    this.columns.forEach((values, place) => this.column(place, values));
    if (this.palette) this.setPalette(this.palette);
    this.setSelection(this.selecting ? this.columns[3] : null);
  }

  column(place, values) {
    const gl = this.gl;
    this.columns[place] = values;
    if (this.isLost) return;
    const kind = values instanceof Uint16Array ? gl.UNSIGNED_SHORT : gl.UNSIGNED_BYTE;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[place]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    // As parts of their largest value: formats of whole numbers are converted point by point on some machines.
    gl.vertexAttribPointer(place, 1, kind, true, 0, 0);
  }

  setPlaces(x, y) {
    this.count = x.length;
    this.column(0, x);
    this.column(1, y);
  }

  // For every point the index of its colour in the palette.
  setIndexes(indexes) {
    this.column(2, indexes);
  }

  // colours: red, green, blue and style of every index, from 0 to 255.
  setPalette(colours) {
    this.palette = colours;
    if (this.isLost) return;
    this.gl.uniform4fv(this.at.u_palette, Float32Array.from(colours, (value) => value / 255));
  }

  // mask: 1 for what is selected; null where nothing is.
  setSelection(mask) {
    this.selecting = mask !== null;
    if (mask) this.column(3, mask);
    else this.gl.disableVertexAttribArray(3);
    if (!this.isLost) this.gl.uniform1i(this.at.u_selecting, Number(this.selecting));
  }

  // Begin a picture of a view of the plane, with this many pixels of the page for a unit to the right and upwards.
  begin(view, [across, above]) {
    const gl = this.gl;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniform2f(this.at.u_centre, view.x, view.y);
    gl.uniform2f(this.at.u_scale, (2 * ratio * across) / width, (2 * ratio * above) / height);
    const near = Math.sqrt(SIDE / view.size);
    const { clientWidth, clientHeight } = this.canvas;
    const room = Math.min(Math.sqrt((0.9 * clientWidth * clientHeight) / this.count), Math.min(clientWidth, clientHeight) / 70);
    const size = ratio * Math.min(16, Math.max(1.0, Math.min(9, room)) * near);
    gl.uniform1f(this.at.u_size, size);
    gl.uniform1f(this.at.u_opacity, Math.max(0.5, Math.min(0.9, 0.9 - 0.25 * Math.log10(this.count / 50000) + 0.1 * Math.log2(near))));
    this.drawn = 0;
  }

  // Draw the next points; few enough of them while the view moves.
  more(isMoving = false) {
    const gl = this.gl;
    const slice = Math.min(this.count - this.drawn, Math.max(LEAST, Math.round(this.rate * (isMoving ? MOVING_MS : RESTING_MS))));
    if (slice <= 0) return;
    gl.drawArrays(gl.POINTS, this.drawn, slice);
    this.slice = { points: slice, began: performance.now(), fence: gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0) };
    gl.flush();
    this.drawn += slice;
  }

  // Whether what was to be drawn is drawn. How long that took says how much the next slice may be.
  get isIdle() {
    if (this.slice === null) return true;
    const { points, began, fence } = this.slice;
    if (fence !== null && !this.isLost && this.gl.getSyncParameter(fence, this.gl.SYNC_STATUS) !== this.gl.SIGNALED) return false;
    this.gl.deleteSync(fence);
    this.slice = null;
    if (points >= LEAST) this.rate = Math.min(2 * this.rate, points / Math.max(1, performance.now() - began));
    return true;
  }
}
