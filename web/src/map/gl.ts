// Points by the million in one call of WebGL 2. An own few lines rather than a library: those for it compile code at run
// time, which the page's Content-Security-Policy forbids, and none gives points of one call different shapes.
import { MOST } from "./groups";
import type { Group } from "./groups";

export interface Camera {
  x: number;
  y: number;
  /** Pixels of the screen for one unit of the map. */
  scale: number;
}

const VERTEX = `#version 300 es
uniform vec2 u_middle, u_scale;
uniform float u_size, u_any;
uniform vec4 u_look[${MOST + 1}];
in vec2 a_place;
in uint a_group;
in uint a_marked;
flat out vec4 v_look;
flat out float v_dim;
void main() {
  v_look = u_look[a_group];
  bool marked = a_marked == 1u;
  v_dim = u_any > 0.5 && !marked ? 0.25 : 1.0;
  float hide = v_look.w < 0.0 ? 4.0 : 0.0;
  float depth = marked ? 0.4 : 0.9; // what is marked lies in front
  gl_Position = vec4((a_place - u_middle) * u_scale + hide, depth, 1.0);
  gl_PointSize = u_size * (marked ? 1.4 : 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
flat in vec4 v_look;
flat in float v_dim;
uniform float u_size;
uniform vec3 u_ground;
out vec4 colour;
void main() {
  vec2 p = gl_PointCoord * 2.0 - 1.0;
  vec2 a = abs(p);
  float shape = v_look.w;
  bool inside = true;
  if (u_size > 3.5) {
    if (shape < 0.5) inside = dot(p, p) < 0.8;
    else if (shape < 1.5) inside = max(a.x, a.y) < 0.78;
    else if (shape < 2.5) inside = p.y < 0.75 && a.x * 1.9 - p.y < 0.85;
    else if (shape < 3.5) inside = a.x + a.y < 1.0;
    else if (shape < 4.5) inside = min(a.x, a.y) < 0.32 && max(a.x, a.y) < 0.95;
    else { float r = dot(p, p); inside = r < 0.9 && r > 0.3; }
  }
  if (!inside) discard;
  colour = vec4(mix(u_ground, v_look.rgb, v_dim), 1.0);
}`;

export const rgb = (hex: string): [number, number, number] => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as [number, number, number];

/** How large a point is on the screen, in its pixels: small where there are many, larger as one looks closer. */
export function sizeOf(count: number, zoom: number): number {
  const base = count < 2000 ? 9 : count < 20_000 ? 6 : count < 200_000 ? 4 : 2.5;
  return Math.min(base * zoom ** 0.4, 18);
}

export class Points {
  private readonly gl: WebGL2RenderingContext;
  private readonly program: WebGLProgram;
  private readonly groups: WebGLBuffer;
  private readonly marked: WebGLBuffer;
  private readonly count: number;
  private anyMarked = false;
  private looks = new Float32Array((MOST + 1) * 4);

  /** @throws Error where the browser has no WebGL 2. */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    places: Float32Array,
  ) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: true, preserveDrawingBuffer: false });
    if (!gl) throw new Error("this browser draws no WebGL 2: the map needs it");
    this.gl = gl;
    this.count = places.length / 2;
    this.program = linked(gl);
    this.buffer(places, "a_place");
    this.groups = this.buffer(new Uint8Array(this.count), "a_group");
    this.marked = this.buffer(new Uint8Array(this.count), "a_marked");
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
  }

  private buffer(values: Float32Array | Uint8Array, name: string): WebGLBuffer {
    const { gl } = this;
    const made = gl.createBuffer() as WebGLBuffer;
    const at = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, made);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(at);
    if (values instanceof Float32Array) gl.vertexAttribPointer(at, 2, gl.FLOAT, false, 0, 0);
    else gl.vertexAttribIPointer(at, 1, gl.UNSIGNED_BYTE, 0, 0);
    return made;
  }

  private write(into: WebGLBuffer, values: Uint8Array): void {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, into);
    this.gl.bufferSubData(this.gl.ARRAY_BUFFER, 0, values);
  }

  /** @param hidden places of the groups that are not shown. */
  group(of: Uint8Array, groups: Group[], hidden: Set<number>): void {
    this.write(this.groups, of);
    this.looks = new Float32Array((MOST + 1) * 4);
    groups.forEach((one, at) => this.looks.set([...rgb(one.colour), hidden.has(at) ? -1 : one.shape], at * 4));
  }

  mark(which: Uint8Array, any: boolean): void {
    this.anyMarked = any;
    this.write(this.marked, which);
  }

  draw(camera: Camera, zoom: number, ground: string): void {
    const { gl, canvas, program } = this;
    const ratio = window.devicePixelRatio || 1;
    gl.viewport(0, 0, canvas.width, canvas.height);
    const [r, g, b] = rgb(ground);
    gl.clearColor(r, g, b, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(program);
    const at = (name: string) => gl.getUniformLocation(program, name);
    gl.uniform2f(at("u_middle"), camera.x, camera.y);
    gl.uniform2f(at("u_scale"), (2 * camera.scale * ratio) / canvas.width, (2 * camera.scale * ratio) / canvas.height);
    gl.uniform1f(at("u_size"), sizeOf(this.count, zoom) * ratio);
    gl.uniform1f(at("u_any"), this.anyMarked ? 1 : 0);
    gl.uniform3f(at("u_ground"), r, g, b);
    gl.uniform4fv(at("u_look"), this.looks);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }

  /** Gives the memory back at once: browsers allow few contexts at a time. */
  end(): void {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

function linked(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram() as WebGLProgram;
  for (const [type, text] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(type) as WebGLShader;
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? "a shader does not compile");
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "shaders do not link");
  return program;
}
