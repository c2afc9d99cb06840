// The page: streams text through a decoder in slices of a few milliseconds and paints it.
import { adapterChecksum, checksum, load, primedPreset } from "./mambabyte.js";

const SHADES = [[1, "#00005f"], [2, "#000087"], [3, "#5f0087"], [4, "#870087"], [6, "#af005f"], [8, "#d70000"], [11, "#ff0000"]];
const SLICE = 12; // milliseconds of decoding between two paintings
const KEEP = 400; // lines on the page
const ADAPTER = "16K";
const POINTS = 256; // of a curve

const element = (id) => document.getElementById(id);
const shade = (bits) => SHADES.findLast(([from]) => bits >= from)?.[1];

const library = await load(fetch("mambabyte.wasm"));
let decoder = null;
let adapter = null; // if it is switched on
let detector = null;
let lines = { all: 0, odd: 0, alarms: 0 };
let primed = null; // what it begins with, a file of `mambabyte prime`
let curve = []; // [bytes, bits of the net, bits of both] of equal stretches of the text
let stretch = 64; // bytes of each
let queue = []; // arrays of bytes that wait
let text = new Uint8Array(); // all since the start
let line = null; // the element that is being filled
let total = { bits: 0, net: 0, bytes: 0, time: 0 };
let lineBits = [];
let seen = ""; // what of the text field has been read
let scheduled = false; // whether a slice is due

element("scale").append("bits", ...SHADES.flatMap(([from, color], i) => {
  const box = document.createElement("i");
  box.style.background = color;
  const to = SHADES[i + 1]?.[0];
  return [box, to === undefined ? `${from} and more` : to - from === 1 ? `${from}` : `${from} to ${to - 1}`];
}));

function fail(error) {
  element("error").textContent = error?.message ?? String(error);
}

function useModel(bytes, name) {
  const next = library.decoder(bytes);
  decoder?.free();
  decoder = next;
  primed = null; // it knows another model
  element("speed").textContent = `${name}: ${bytes.length} bytes, state ${decoder.stateBytes}`;
  restart();
}

function restart() {
  queue = [];
  text = new Uint8Array();
  line = null;
  total = { bits: 0, net: 0, bytes: 0, time: 0 };
  lineBits = [];
  seen = "";
  element("output").replaceChildren();
  element("error").textContent = "";
  decoder.reset();
  decoder.read(0); // as in training, a zero byte comes first
  adapter?.free();
  adapter = element("adapt").checked ? library.adapter(primed ? primedPreset(primed) : ADAPTER, decoder) : null;
  if (primed) adapter?.prime(primed);
  detector?.free();
  detector = library.detector(Number(element("share").value), decoder);
  lines = { all: 0, odd: 0, alarms: 0 };
  [curve, stretch] = [[], 64];
  draw();
}

/** Adds a byte to the curves; when there are too many points, neighbours become one. */
function learn(net, both) {
  const last = curve.at(-1);
  if (last && last[0] < stretch) {
    last[0]++;
    last[1] += net;
    last[2] += both;
    return;
  }
  if (curve.length === POINTS) {
    curve = curve.flatMap((a, i) => (i % 2 ? [] : [a.map((n, k) => n + curve[i + 1][k])]));
    stretch *= 2;
  }
  curve.push([1, net, both]);
}

/** The curves, from 0 to 8 bits. The last stretch is shown when it is whole. */
function draw() {
  const whole = curve.filter(([bytes]) => bytes === stretch);
  const [width, height] = [POINTS, 80];
  const path = (column) =>
    whole.map((point, i) => `${i * width / Math.max(whole.length - 1, 1)},${height * (1 - Math.min(point[column] / point[0] / 8, 1))}`).join(" ");
  element("net").setAttribute("points", path(1));
  element("both").setAttribute("points", adapter ? path(2) : "");
  element("curves").dataset.points = whole.length;
}

function push(bytes) {
  const all = new Uint8Array(text.length + bytes.length);
  all.set(text);
  all.set(bytes, text.length);
  text = all;
  queue.push(bytes);
  schedule();
}

function schedule() {
  if (scheduled || queue.length === 0) return;
  scheduled = true;
  requestAnimationFrame(slice);
}

function slice() {
  scheduled = false;
  if (queue.length === 0) return;
  const start = performance.now();
  while (queue.length > 0 && performance.now() - start < SLICE) {
    const part = queue[0].subarray(0, 32);
    const spent = performance.now();
    const read = Array.from(part, (byte) => {
      const net = decoder.surprise(byte);
      const both = adapter ? adapter.read(byte).bits : net;
      const verdict = detector.push(byte, both, net);
      decoder.read(byte);
      learn(net / 65536, both / 65536);
      total.net += net / 65536;
      return [both / 65536, verdict];
    });
    total.time += performance.now() - spent;
    total.bytes += part.length;
    part.forEach((byte, i) => paint(byte, ...read[i]));
    queue[0] = queue[0].subarray(part.length);
    if (queue[0].length === 0) queue.shift();
  }
  const { bits, net, bytes, time } = total;
  draw();
  element("speed").textContent =
    `${bytes} bytes, ${(bits / bytes).toFixed(3)} bits per byte` +
    (adapter ? ` (the model alone ${(net / bytes).toFixed(3)})` : "") +
    `, ${lines.all} lines, ${lines.odd} odd, ${lines.alarms} alarms` +
    (time > 0 ? `, ${Math.round(bytes / time * 1000).toLocaleString("en")} bytes/s` : "");
  document.body.dataset.done = queue.length === 0 ? "yes" : "no";
  schedule();
}

/** An event of the stream, in words. */
function sentence(event, { oddShare, oddLines }) {
  switch (event) {
    case "learned":
      return `the first ${lines.all} lines are learned; ${oddLines.length ? `odd among them: ${oddLines.join(", ")}` : "none of them is odd"}`;
    case "more-odd":
      return `more odd lines than before: ${Math.round(100 * oddShare)} % of the last 64, usual are 3 %`;
    case "new-normal":
      return "so many odd lines are the new normal; what is usual is learned anew";
    case "new-kind":
      return "a new kind of line; it is learned for itself";
    case "frozen":
      return "each of the last 32 lines was one of the eight before it: is the sender frozen?";
    default:
      return "the model does not know this text; what is found, an adapter finds";
  }
}

/** Marks the line that has ended, and says after it what has become of the stream. */
function judge(verdict) {
  lines.all++;
  lines.odd += verdict.odd;
  lines.alarms += verdict.alarm;
  if (verdict.odd) {
    const { offset, byte, bits } = verdict.worst;
    line.classList.add("odd");
    line.title = `rarity ${verdict.rarity.toFixed(1)} bits: ` +
      (verdict.reason === "byte" ? `byte ${offset} (0x${byte.toString(16).padStart(2, "0")}) cost ${bits.toFixed(1)} bits` : "eight bytes in a row are unusual");
  }
  if (verdict.alarm) line.classList.add("alarm");
  for (const event of verdict.events) {
    const said = document.createElement("span");
    said.className = "event";
    said.textContent = `line ${lines.all}: ${event}: ${sentence(event, verdict)}`;
    element("output").append(said);
  }
}

function paint(byte, bits, verdict) {
  total.bits += bits;
  if (line === null) {
    line = document.createElement("span");
    line.className = "line";
    const mean = document.createElement("span");
    mean.className = "bits";
    line.append(mean);
    element("output").append(line);
    while (element("output").childElementCount > KEEP) element("output").firstElementChild.remove();
    lineBits = [];
  }
  lineBits.push(bits);
  const mean = lineBits.reduce((a, b) => a + b) / lineBits.length;
  line.firstChild.textContent = `${mean.toFixed(2).padStart(5)}  `;
  if (verdict) judge(verdict);
  if (byte === 10) {
    line = null;
    return;
  }
  const cell = document.createElement("span");
  cell.textContent = byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·";
  cell.title = `0x${byte.toString(16).padStart(2, "0")}: ${bits.toFixed(2)} bits`;
  const color = shade(bits);
  if (color) cell.style.background = color;
  line.append(cell);
}

async function open(file) {
  const bytes = async (part) => new Uint8Array(await part.arrayBuffer());
  const head = await bytes(file.slice(0, 128));
  // A blob says so in its first bytes.
  if (head[0] === 0x89 && head[1] === 0x4d && head[2] === 0x42) {
    library.sizes(head, file.size);
    useModel(await bytes(file), file.name);
  } else if (primedPreset(head)) {
    primed = await bytes(file);
    try {
      restart();
    } catch (error) {
      primed = null;
      restart();
      throw error;
    }
    element("speed").textContent = `${file.name}: an adapter of ${primedPreset(head)} that has read a text`;
  } else {
    const text = await bytes(file);
    restart();
    push(text);
  }
}

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function damagedSample() {
  const text = await fetched("sample.txt");
  const at = Math.floor(text.length / 2);
  text[at] ^= 1; // one bit
  return text;
}

const guarded = (f) => async (event) => {
  try {
    await f(event);
  } catch (error) {
    fail(error);
  }
};

element("model").addEventListener("change", guarded((e) => e.target.files[0] && open(e.target.files[0])));
element("file").addEventListener("change", guarded((e) => e.target.files[0] && open(e.target.files[0])));
element("share").addEventListener("change", guarded(again));
element("adapt").addEventListener("change", guarded(again));
function again() {
  // The text that was read is read again, the other way.
  const all = text;
  const typed = seen;
  restart();
  seen = typed;
  if (all.length > 0) push(all);
}
element("clear").addEventListener("click", guarded(() => {
  element("input").value = "";
  restart();
}));
element("sample").addEventListener("click", guarded(async () => {
  const text = await damagedSample();
  restart();
  push(text);
}));
element("input").addEventListener("input", guarded(() => {
  const text = element("input").value;
  // What was typed at the end continues; any other change starts again.
  const added = text.startsWith(seen) && seen !== "" ? text.slice(seen.length) : text;
  if (added.length === text.length) restart();
  seen = text;
  if (added !== "") push(new TextEncoder().encode(added));
}));
document.addEventListener("dragover", (e) => {
  e.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", guarded(async (e) => {
  e.preventDefault();
  document.body.classList.remove("over");
  if (e.dataTransfer.files[0]) await open(e.dataTransfer.files[0]);
}));

try {
  useModel(await fetched("model.mbb"), "sensor-nano");
  // `?checksum=TEXT` proves the bits: the golden value of the model in the title. `?sample` paints the sample.
  const query = new URLSearchParams(location.search);
  if (query.has("checksum")) document.title = `checksum ${checksum(decoder, await fetched(query.get("checksum")))}`;
  else if (query.has("adapter")) document.title = `adapter ${adapterChecksum(library, ADAPTER, decoder, await fetched(query.get("adapter")))}`;
  else if (query.has("sample")) {
    restart();
    push(await damagedSample());
  }
} catch (error) {
  fail(error);
  document.title = `error ${error?.message}`;
}
