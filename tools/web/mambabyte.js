// MambaByte in WebAssembly: the C interface (core/include/mambabyte.h) with JavaScript's manners.
//
//   import { load } from "./mambabyte.js";
//   const library = await load(await fetch("mambabyte.wasm"));
//   const decoder = library.decoder(new Uint8Array(await (await fetch("model.mbb")).arrayBuffer()));
//   decoder.read(0x24);               // logits of the next byte: 256 integers, log2 units with 16 fractional bits
//   decoder.surprise(0x47) / 65536;   // bits that an ideal coder would spend on "G"
//   const adapter = library.adapter("16K", decoder);    // learns the stream; without a decoder it reads alone
//   adapter.read(0x47).bits / 65536;  // the same with what it has learned; then decoder.read(0x47)
//   adapter.prime(file);              // begins with what `mambabyte prime` wrote
//   const detector = library.detector(0.01, decoder);   // about one quiet line in a hundred alarms
//   detector.push(0x47, bits, net)?.alarm;              // what is said of a line, at its end
//
// The module has no imports and allocates nothing. Each decoder lies in pages of its own: decoder, blob, state,
// scratch, then a buffer for what is passed in and out. `free` keeps its pages for the next decoder that fits.

const PAGE = 65536;
const DECODER_BYTES = 48 * 8; // MAMBABYTE_DECODER_WORDS on 32 bits
const HEADER = 128; // of a blob
const VOCAB = 256;
const INPUT = 4096; // bytes given to the library at once
const NODES = 8; // bits of a byte
const DETECTOR_BYTES = 1088; // MAMBABYTE_DETECTOR_BYTES
const DETECTOR_SAVED = 820; // MAMBABYTE_DETECTOR_SAVED
const REASONS = [null, "byte", "stretch"];
/** What a detector says of a stream, in the order of its bits. */
export const EVENTS = ["learned", "more-odd", "new-normal", "new-kind", "frozen", "unknown-text"];

/** The presets of the adapter: bytes of memory, MAMBABYTE_ADAPTER_4K_BYTES and the like. */
export const PRESETS = { "4K": 5120, "8K": 9216, "16K": 17408, "32K": 33792, "64K": 66560, "1M": 1050112 };

const align = (n, to) => Math.ceil(n / to) * to;

/** Something that the library refused; `status` is its number. */
export class MambabyteError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.name = "MambabyteError";
    this.status = status;
  }
}

/** Compiles the module: from a `Response`, an `ArrayBuffer` or bytes. */
export async function load(source) {
  const bytes = await source;
  if (typeof Response !== "undefined" && bytes instanceof Response) {
    if (!bytes.ok) throw new MambabyteError(`${bytes.url}: ${bytes.status} ${bytes.statusText}`);
    return new Library((await WebAssembly.instantiate(await bytes.arrayBuffer(), {})).instance.exports);
  }
  return new Library((await WebAssembly.instantiate(bytes, {})).instance.exports);
}

class Library {
  #free = []; // [address, pages] of decoders that are no more

  constructor(exports) {
    this.exports = exports;
  }

  /** A decoder at the zero state. `blob`: the whole model file. */
  decoder(blob) {
    return new Decoder(this, blob);
  }

  /** An adapter of a preset that has learned nothing, beside `decoder`, or alone. */
  adapter(preset, decoder = null) {
    return new Adapter(this, preset, decoder);
  }

  /**
   * A detector at the beginning of a stream, of whose quiet lines about the share `share` may alarm: from a millionth to
   * a tenth. It says what `decoder` does not know.
   */
  detector(share, decoder = null) {
    return new Detector(this, share, decoder);
  }

  /**
   * What a model needs, in bytes: `state`, `scratch`, `snapshot`. `head`: at least the first 128 bytes of its file;
   * `length`: bytes of the whole file. Refuses, before any memory is taken for it, a file that is not as long as a
   * model of its shape.
   */
  sizes(head, length) {
    if (head.length < HEADER) throw new MambabyteError(`the model has ${head.length} bytes, a blob has more than ${HEADER}`);
    const block = this.take(HEADER + 24);
    const at = block[0];
    try {
      new Uint8Array(this.exports.memory.buffer).set(head.subarray(0, HEADER), at);
      this.check(this.exports.mambabyte_sizes(at, HEADER, at + HEADER), "the model");
      const view = new DataView(this.exports.memory.buffer, at + HEADER);
      const whole = view.getBigUint64(0, true);
      if (whole !== BigInt(length)) {
        const what = length < whole ? "the file is truncated" : "there are bytes after the model";
        throw new MambabyteError(`the model: one of this shape has ${whole} bytes, the file has ${length}: ${what}`);
      }
      return {
        state: view.getUint32(8, true),
        scratch: view.getUint32(12, true),
        snapshot: view.getUint32(16, true),
      };
    } finally {
      this.give(block);
    }
  }

  /** Pages of the module's memory: an address. */
  take(bytes) {
    const pages = Math.ceil(bytes / PAGE);
    const index = this.#free.findIndex(([, have]) => have >= pages);
    if (index >= 0) return this.#free.splice(index, 1)[0];
    try {
      return [this.exports.memory.grow(pages) * PAGE, pages];
    } catch {
      throw new MambabyteError(`out of memory: the model needs ${bytes} bytes`);
    }
  }

  give(block) {
    this.#free.push(block);
  }

  /** Throws unless `status` is 0. */
  check(status, what) {
    if (status === 0) return;
    const bytes = new Uint8Array(this.exports.memory.buffer, this.exports.mambabyte_status_message(status));
    const message = new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
    throw new MambabyteError(`${what}: ${message}`, status);
  }
}

class Decoder {
  #library;
  #block;
  #at; // address of the decoder
  #io; // address of the buffer
  #logits = 0; // address of the last logits, 0 if there are none
  #snapshotBytes;

  constructor(library, blob) {
    const wasm = library.exports;
    const sizes = library.sizes(blob, blob.length);
    const blobAt = DECODER_BYTES;
    const stateAt = align(blobAt + blob.length, 64);
    const scratchAt = align(stateAt + sizes.state, 64);
    const ioAt = align(scratchAt + sizes.scratch, 64);
    const block = library.take(ioAt + Math.max(INPUT, sizes.snapshot) + 64);
    const at = block[0];
    new Uint8Array(wasm.memory.buffer).set(blob, at + blobAt);
    try {
      const status = wasm.mambabyte_init(
        at, at + blobAt, blob.length, at + stateAt, sizes.state, at + scratchAt, sizes.scratch);
      library.check(status, "the model");
    } catch (error) {
      library.give(block);
      throw error;
    }
    this.#library = library;
    this.#block = block;
    this.#at = at;
    this.#io = at + ioAt;
    this.#snapshotBytes = sizes.snapshot;
    /** Bytes of memory that the model's state takes. */
    this.stateBytes = sizes.state;
  }

  /** Addresses of a word for results and of the buffer after it. */
  #result() {
    if (!this.#block) throw new MambabyteError("this decoder was freed");
    return [this.#io, this.#io + 64];
  }

  /** Reads one byte; returns the logits of the next one, valid until the next call. */
  read(byte) {
    const wasm = this.#library.exports;
    const [result] = this.#result();
    this.#library.check(wasm.mambabyte_step(this.#at, byte, result), "read");
    this.#logits = new DataView(wasm.memory.buffer).getUint32(result, true);
    return this.logits();
  }

  /** Reads many bytes; logits are computed after the last one only. */
  prefill(bytes) {
    const wasm = this.#library.exports;
    const [result, buffer] = this.#result();
    for (let from = 0; from < bytes.length; from += INPUT - 64) {
      const part = bytes.subarray(from, from + INPUT - 64);
      new Uint8Array(wasm.memory.buffer).set(part, buffer);
      this.#library.check(wasm.mambabyte_prefill(this.#at, buffer, part.length, result), "prefill");
      this.#logits = new DataView(wasm.memory.buffer).getUint32(result, true);
    }
    return this.#logits ? this.logits() : null;
  }

  /** The last logits. */
  logits() {
    this.#needLogits();
    return new Int32Array(this.#library.exports.memory.buffer, this.#logits, VOCAB);
  }

  #needLogits() {
    if (!this.#logits) throw new MambabyteError("no byte was read yet: there are no logits");
  }

  /** Its address, for an adapter. */
  get at() {
    this.#result();
    return this.#at;
  }

  /** The address of the last logits, for an adapter. */
  get logitsAt() {
    this.#result();
    this.#needLogits();
    return this.#logits;
  }

  /** Bits of `byte` as the next one, 16 fractional bits. */
  surprise(byte) {
    this.#needLogits();
    const wasm = this.#library.exports;
    const [result] = this.#result();
    this.#library.check(wasm.mambabyte_surprise(this.#logits, byte, result), "surprise");
    return new DataView(wasm.memory.buffer).getUint32(result, true);
  }

  /** The most probable next byte. */
  mostProbable() {
    this.#needLogits();
    const wasm = this.#library.exports;
    const [result] = this.#result();
    this.#library.check(wasm.mambabyte_most_probable(this.#logits, result), "mostProbable");
    return new Uint8Array(wasm.memory.buffer)[result];
  }

  /**
   * Draws the next byte. `random` is a BigInt64-like state: pass the seed once and the returned one afterwards; equal
   * seeds give equal bytes on every machine. Temperature and top_p are numbers (1 = all), top_k 0 = all.
   */
  sample(random, { temperature = 1, topP = 1, topK = 0 } = {}) {
    this.#needLogits();
    const wasm = this.#library.exports;
    const [result, buffer] = this.#result();
    const view = new DataView(wasm.memory.buffer);
    view.setUint32(buffer, Math.round(temperature * 65536), true);
    view.setUint32(buffer + 4, Math.round(topP * 65536), true);
    view.setUint16(buffer + 8, topK, true);
    view.setBigUint64(buffer + 16, BigInt.asUintN(64, random), true);
    this.#library.check(wasm.mambabyte_sample(this.#logits, buffer, buffer + 16, result), "sample");
    const after = new DataView(wasm.memory.buffer);
    return { byte: after.getUint8(result), random: after.getBigUint64(buffer + 16, true) };
  }

  /** Bytes read since the zero state, through snapshots too. */
  position() {
    const wasm = this.#library.exports;
    const [result] = this.#result();
    this.#library.check(wasm.mambabyte_position(this.#at, result), "position");
    return new DataView(wasm.memory.buffer).getBigUint64(result, true);
  }

  /** The model's name in 32 hexadecimal digits. */
  fingerprint() {
    const wasm = this.#library.exports;
    const [result] = this.#result();
    this.#library.check(wasm.mambabyte_fingerprint(this.#at, result), "fingerprint");
    const bytes = new Uint8Array(wasm.memory.buffer, result, 16);
    return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  }

  /** A snapshot of the state, with position, fingerprint and checksum: the same bytes on every machine. */
  snapshot() {
    const wasm = this.#library.exports;
    const [result, buffer] = this.#result();
    const status = wasm.mambabyte_snapshot_save(this.#at, buffer, this.#snapshotBytes, result);
    this.#library.check(status, "snapshot");
    return new Uint8Array(wasm.memory.buffer).slice(buffer, buffer + this.#snapshotBytes);
  }

  /** Continues from a snapshot. A wrong one is refused and changes nothing. */
  restore(snapshot) {
    const wasm = this.#library.exports;
    const [, buffer] = this.#result();
    if (snapshot.length !== this.#snapshotBytes)
      throw new MambabyteError(`the snapshot has ${snapshot.length} bytes, one of this model's state alone has ${this.#snapshotBytes}`);
    new Uint8Array(wasm.memory.buffer).set(snapshot, buffer);
    this.#library.check(wasm.mambabyte_snapshot_load(this.#at, buffer, snapshot.length), "restore");
    this.#logits = 0;
  }

  /** Back to the state before the first byte. */
  reset() {
    this.#result();
    this.#library.check(this.#library.exports.mambabyte_reset(this.#at), "reset");
    this.#logits = 0;
  }

  /** Gives the memory back; the decoder cannot be used any more. */
  free() {
    if (this.#block) this.#library.give(this.#block);
    this.#block = null;
    this.#logits = 0;
  }
}

class Adapter {
  #library;
  #decoder;
  #block;
  #at; // address of the adapter
  #io; // address of the buffer
  #savedBytes;

  constructor(library, preset, decoder) {
    const bytes = PRESETS[preset];
    if (!bytes) throw new MambabyteError(`${preset} is no preset of the adapter; there are ${Object.keys(PRESETS).join(", ")}`);
    // What is saved is at most what the memory holds.
    const block = library.take(2 * bytes + 4 * VOCAB + 64);
    const at = block[0];
    const io = at + bytes;
    try {
      const start = library.exports[`mambabyte_adapter_init_${preset.toLowerCase()}`];
      library.check(start(at, bytes, decoder ? 1 : 0), "the adapter");
      library.check(library.exports.mambabyte_adapter_saved_bytes(at, io), "the adapter");
    } catch (error) {
      library.give(block);
      throw error;
    }
    this.#library = library;
    this.#decoder = decoder;
    this.#block = block;
    this.#at = at;
    this.#io = io;
    this.#savedBytes = new DataView(library.exports.memory.buffer).getUint32(io, true);
    /** Its preset. */
    this.preset = preset;
  }

  #buffer() {
    if (!this.#block) throw new MambabyteError("this adapter was freed");
    return this.#io;
  }

  /** Address of the decoder's last logits, 0 without a decoder. */
  #logits() {
    return this.#decoder ? this.#decoder.logitsAt : 0;
  }

  /**
   * Reads the byte that the decoder's last logits are of, and learns it: `bits`, 16 fractional bits, and `nodes`, the
   * probability of each of its bits being 1, the most significant first, 16 fractional bits.
   */
  read(byte) {
    const wasm = this.#library.exports;
    const buffer = this.#buffer();
    const nodes = buffer + 8;
    this.#library.check(wasm.mambabyte_adapter_read(this.#at, this.#logits(), byte, nodes, buffer), "read");
    const bits = new DataView(wasm.memory.buffer).getUint32(buffer, true);
    return { bits, nodes: new Uint16Array(wasm.memory.buffer, nodes, NODES).slice() };
  }

  /** The probability that the next bit is 1, 16 fractional bits; `known`: 1 and then the bits that are known. */
  node(known) {
    const wasm = this.#library.exports;
    const buffer = this.#buffer();
    this.#library.check(wasm.mambabyte_adapter_node(this.#at, this.#logits(), known, buffer), "node");
    return new DataView(wasm.memory.buffer).getUint16(buffer, true);
  }

  /** The distribution of the next byte: 256 integers, log2 units with 16 fractional bits. */
  distribution() {
    const wasm = this.#library.exports;
    const buffer = this.#buffer();
    this.#library.check(wasm.mambabyte_adapter_distribution(this.#at, this.#logits(), buffer), "distribution");
    return new Int32Array(wasm.memory.buffer, buffer, VOCAB).slice();
  }

  /** All that it has learned: the same bytes on every machine. */
  save() {
    const wasm = this.#library.exports;
    const buffer = this.#buffer();
    this.#library.check(wasm.mambabyte_adapter_save(this.#at, buffer, this.#savedBytes, 0), "save");
    return new Uint8Array(wasm.memory.buffer).slice(buffer, buffer + this.#savedBytes);
  }

  /** Goes on where `save` stopped. What is of another preset is refused and changes nothing. */
  load(saved) {
    const buffer = this.#buffer();
    if (saved.length !== this.#savedBytes)
      throw new MambabyteError(`the saved adapter has ${saved.length} bytes, one of ${this.preset} has ${this.#savedBytes}`);
    new Uint8Array(this.#library.exports.memory.buffer).set(saved, buffer);
    this.#library.check(this.#library.exports.mambabyte_adapter_load(this.#at, buffer, saved.length), "load");
  }

  /** Begins with what `mambabyte prime` wrote, for the same model. What is of another preset or model is refused and changes nothing. */
  prime(file) {
    const buffer = this.#buffer();
    // What is longer is of another preset, and has its place beside.
    if (file.length > this.#savedBytes + PRIMED_HEAD)
      throw new MambabyteError(`the primed adapter has ${file.length} bytes, one of ${this.preset} has ${this.#savedBytes + PRIMED_HEAD}`);
    new Uint8Array(this.#library.exports.memory.buffer).set(file, buffer);
    const decoder = this.#decoder ? this.#decoder.at : 0;
    this.#library.check(this.#library.exports.mambabyte_adapter_prime(this.#at, decoder, buffer, file.length), "prime");
  }

  /** Gives the memory back; the adapter cannot be used any more. */
  free() {
    if (this.#block) this.#library.give(this.#block);
    this.#block = null;
  }
}

/** A share of lines, 32 fractional bits. */
function fraction(share) {
  if (!(share >= 1e-6 && share <= 0.1)) throw new MambabyteError(`${share} is no share of false alarms: from 0.000001 to 0.1`);
  return Math.floor(share * 2 ** 32);
}

class Detector {
  #library;
  #block;
  #at; // address of the detector
  #io; // address of a verdict, of the byte that says that a line has ended, of the net's surprise, of a buffer

  constructor(library, share, decoder) {
    const wanted = fraction(share);
    const block = library.take(DETECTOR_BYTES + 64 + DETECTOR_SAVED);
    try {
      const status = library.exports.mambabyte_detector_init(block[0], DETECTOR_BYTES, wanted, decoder ? decoder.at : 0);
      library.check(status, "the detector");
    } catch (error) {
      library.give(block);
      throw error;
    }
    this.#library = library;
    this.#block = block;
    this.#at = block[0];
    this.#io = block[0] + DETECTOR_BYTES;
  }

  #verdict() {
    if (!this.#block) throw new MambabyteError("this detector was freed");
    return this.#io;
  }

  /** What is said of the line that has ended; null if none has. */
  #said(verdict) {
    const view = new DataView(this.#library.exports.memory.buffer, verdict);
    if (view.getUint8(32) === 0) return null;
    const events = view.getUint8(12);
    return {
      rarity: view.getUint16(0, true) / 256,
      odd: view.getUint8(8) === 1,
      alarm: view.getUint8(9) === 1,
      reason: REASONS[view.getUint8(10)],
      worst: { offset: view.getUint16(2, true), byte: view.getUint8(11), bits: view.getUint16(4, true) / 256 },
      events: EVENTS.filter((_, i) => (events >> i) & 1),
      oddShare: view.getUint16(6, true) / 65536,
      oddLines: Array.from({ length: 6 }, (_, i) => view.getUint8(13 + i)).filter((line) => line > 0),
    };
  }

  /**
   * Takes a byte with its surprise (16 fractional bits) and, with a model, the model's own. At the end of a line it
   * returns what is said of it: `rarity` in bits, `odd`, `alarm`, `reason`, the `worst` byte, `events` of the stream;
   * else null.
   */
  push(byte, bits, net = null) {
    const wasm = this.#library.exports;
    const verdict = this.#verdict();
    if (net !== null) new DataView(wasm.memory.buffer).setUint32(verdict + 40, net, true);
    const status = wasm.mambabyte_detector_push(this.#at, byte, bits, net === null ? 0 : verdict + 40, verdict + 32, verdict);
    this.#library.check(status, "push");
    return this.#said(verdict);
  }

  /** Ends the line that is open: as `push`. */
  finish() {
    const verdict = this.#verdict();
    this.#library.check(this.#library.exports.mambabyte_detector_finish(this.#at, verdict + 32, verdict), "finish");
    return this.#said(verdict);
  }

  /** Another share of false alarms, for the lines to come. */
  setShare(share) {
    this.#verdict();
    this.#library.check(this.#library.exports.mambabyte_detector_set_share(this.#at, fraction(share)), "setShare");
  }

  /** All of it: the same bytes on every machine. */
  save() {
    const buffer = this.#verdict() + 64;
    this.#library.check(this.#library.exports.mambabyte_detector_save(this.#at, buffer, DETECTOR_SAVED), "save");
    return new Uint8Array(this.#library.exports.memory.buffer).slice(buffer, buffer + DETECTOR_SAVED);
  }

  /** Goes on where `save` stopped, with the share of now. What is no detector is refused and changes nothing. */
  load(saved) {
    const buffer = this.#verdict() + 64;
    if (saved.length !== DETECTOR_SAVED)
      throw new MambabyteError(`the saved detector has ${saved.length} bytes, one has ${DETECTOR_SAVED}`);
    new Uint8Array(this.#library.exports.memory.buffer).set(saved, buffer);
    this.#library.check(this.#library.exports.mambabyte_detector_load(this.#at, buffer, saved.length), "load");
  }

  /** Gives the memory back; the detector cannot be used any more. */
  free() {
    if (this.#block) this.#library.give(this.#block);
    this.#block = null;
  }
}

const CRC = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

const crc32 = (crc, bytes) => bytes.reduce((crc, b) => CRC[(crc ^ b) & 255] ^ (crc >>> 8), crc);
const hex = (crc) => ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
const PRIMED_HEAD = 64; // bytes before the adapter in a file of `mambabyte prime`

/** The preset of a file of `mambabyte prime`, by its first bytes; null if it is none. */
export function primedPreset(file) {
  const magic = [0x4d, 0x42, 0x50, 0x1a]; // "MBP", and what ends a text
  return magic.every((byte, i) => file[i] === byte) ? (Object.keys(PRESETS)[file[PRIMED_HEAD] - 1] ?? null) : null;
}

const bytesOf = (words) => new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

/** CRC-32 over all logits of a text from the zero state, as `mambabyte checksum` prints it: equal on every machine. */
export function checksum(decoder, text) {
  decoder.reset();
  let crc = 0xffffffff;
  for (const byte of text) {
    crc = crc32(crc, bytesOf(decoder.read(byte)));
  }
  return hex(crc);
}

/** CRC-32 over the probabilities of a fresh adapter of a preset over a text, beside `decoder` or alone. */
export function adapterChecksum(library, preset, decoder, text) {
  const adapter = library.adapter(preset, decoder);
  let crc = 0xffffffff;
  decoder?.reset();
  let before = 0; // as in training, a zero byte comes first
  for (const byte of text) {
    decoder?.read(before);
    crc = crc32(crc, bytesOf(adapter.read(byte).nodes));
    before = byte;
  }
  adapter.free();
  return hex(crc);
}
