// MambaByte in WebAssembly: the C interface (core/include/mambabyte.h) with JavaScript's manners.
//
//   import { load } from "./mambabyte.js";
//   const library = await load(await fetch("mambabyte.wasm"));
//   const decoder = library.decoder(new Uint8Array(await (await fetch("model.mbb")).arrayBuffer()));
//   decoder.read(0x24);               // logits of the next byte: 256 integers, log2 units with 16 fractional bits
//   decoder.surprise(0x47) / 65536;   // bits that an ideal coder would spend on "G"
//
// The module has no imports and allocates nothing. Each decoder lies in pages of its own: decoder, blob, state,
// scratch, then a buffer for what is passed in and out. `free` keeps its pages for the next decoder that fits.

const PAGE = 65536;
const DECODER_BYTES = 48 * 8; // MAMBABYTE_DECODER_WORDS on 32 bits
const HEADER = 128; // of a blob
const VOCAB = 256;
const INPUT = 4096; // bytes given to the library at once

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

const CRC = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

/** CRC-32 over all logits of a text from the zero state, as `mambabyte checksum` prints it: equal on every machine. */
export function checksum(decoder, text) {
  decoder.reset();
  let crc = 0xffffffff;
  for (const byte of text) {
    const logits = decoder.read(byte);
    for (const b of new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength))
      crc = CRC[(crc ^ b) & 255] ^ (crc >>> 8);
  }
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}
