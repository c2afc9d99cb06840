// The module in Node: kernels against the scalar code, golden checksums, equal snapshots, refusals, bytes per second.
//
//   node tests/web/node.mjs target/web target/web-kernels.wasm target/forged.bin        (`cargo xtask web test` builds and runs it)
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, kernels, forged] = process.argv.slice(2);
const root = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../..");
const { adapterChecksum, checksum, EVENTS, load, MambabyteError, PRESETS, primedPreset } = await import(pathToFileURL(join(folder, "mambabyte.js")));
const wasm = readFileSync(join(folder, "mambabyte.wasm"));
assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(wasm)), [], "nothing is imported, no panic is reachable");
const library = await load(wasm);
const text = readFileSync(join(root, "models/text/golden-4096.txt"));
let passed = 0;
const check = (name, f) => {
  f();
  passed++;
  console.log(`ok  ${name}`);
};
const crc32Of = (bytes) => {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  }
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
};
const model = (name) => readFileSync(join(root, "models", name, "model.mbb"));

check("kernels have the bits of the scalar code", () => {
  // The comparison itself may panic: its panic handler is an import.
  const panic = () => assert.fail("a panic");
  const module = new WebAssembly.Module(readFileSync(kernels));
  const env = Object.fromEntries(WebAssembly.Module.imports(module).map(({ name }) => [name, panic]));
  const { memory, mambabyte_check_kernels: cases } = new WebAssembly.Instance(module, { env }).exports;
  const at = memory.grow(1) * 65536;
  const of = (backend) => {
    const name = new TextEncoder().encode(backend);
    new Uint8Array(memory.buffer, at).set(name);
    return cases(at, name.length);
  };
  for (const backend of ["simd128", "scalar", "plain32"]) {
    const n = of(backend);
    console.log(`    ${backend}: ${n} cases`);
    assert.ok(n > 1500, backend);
  }
  assert.equal(of("neon"), 0);
});
for (const name of ["sensor-pico", "sensor-nano", "sensor-micro", "prose-small"]) {
  check(`${name}: golden checksum`, () => {
    const golden = readFileSync(join(root, "models", name, "golden.crc32"), "utf8").trim();
    const decoder = library.decoder(model(name));
    const start = performance.now();
    assert.equal(checksum(decoder, text), golden);
    console.log(`    ${Math.round(text.length / (performance.now() - start) * 1000)} bytes/s with the checksum`);
    decoder.reset();
    const from = performance.now();
    decoder.prefill(text);
    console.log(`    ${Math.round(text.length / (performance.now() - from) * 1000)} bytes/s without the head`);
    decoder.free();
  });
}
const adapters = Object.fromEntries(
  readFileSync(join(root, "models/text/adapter.crc32"), "utf8").trim().split("\n").slice(1).map((line) => line.split("\t"))
    .map(([preset, ...sums]) => [preset, sums]));
for (const preset of Object.keys(PRESETS)) {
  check(`adapter ${preset}: golden checksums`, () => {
    for (const [at, net] of adapters.preset.entries()) {
      const decoder = net === "none" ? null : library.decoder(model(net));
      assert.equal(adapterChecksum(library, preset, decoder, text), adapters[preset][at], net);
      decoder?.free();
    }
  });
}
check("a detector says what it says on every machine, saved and loaded", () => {
  const damaged = new Uint8Array(readFileSync(join(root, "models/text/request-latency.csv")));
  for (let at = Math.floor(damaged.length / 2); at < damaged.length; at += 977) if (damaged[at] !== 10) damaged[at] ^= 4;
  const adapter = library.adapter("8K");
  let detector = library.detector(0.01);
  const said = [];
  damaged.forEach((byte, i) => {
    said.push(detector.push(byte, adapter.read(byte).bits));
    if (i === 9000) {
      const other = library.detector(0.01);
      other.load(detector.save());
      detector.free();
      detector = other;
    }
  });
  said.push(detector.finish());
  const verdicts = said.filter((verdict) => verdict !== null);
  const bytes = verdicts.flatMap(({ rarity, odd, alarm, events, worst }) => {
    const bits = events.reduce((sum, event) => sum | (1 << EVENTS.indexOf(event)), 0);
    return [(rarity * 256) & 255, rarity, Number(odd), Number(alarm), bits, worst.offset & 255];
  });
  const alarms = verdicts.filter((verdict) => verdict.alarm);
  const golden = readFileSync(join(root, "models/text/detector.crc32"), "utf8").trim();
  assert.equal(`${verdicts.length} ${alarms.length} ${crc32Of(Uint8Array.from(bytes))}`, golden);
  assert.ok(alarms.every((verdict) => verdict.odd && verdict.reason));
  const refused = (f, pattern) => assert.throws(f, (e) => e instanceof MambabyteError && pattern.test(e.message));
  refused(() => library.detector(0.2), /0\.2 is no share/);
  refused(() => detector.setShare(NaN), /NaN is no share/);
  refused(() => detector.load(new Uint8Array(3)), /3 bytes/);
  refused(() => detector.load(new Uint8Array(820)), /version/);
  detector.setShare(0.001);
  detector.free();
  refused(() => detector.push(1, 1), /freed/);
  adapter.free();
});
check("a primed adapter begins where it was primed, with its model", () => {
  const file = new Uint8Array(readFileSync(`${root}/tests/data/golden/sensor-pico-8K.mbp`));
  assert.equal(primedPreset(file), "8K");
  assert.equal(primedPreset(text), null);
  const decoder = library.decoder(model("sensor-pico"));
  const [read, primed] = [library.adapter("8K", decoder), library.adapter("8K", decoder)];
  decoder.read(0);
  for (const byte of text) {
    read.read(byte);
    decoder.read(byte);
  }
  primed.prime(file);
  assert.deepEqual(primed.save(), read.save());
  const refused = (adapter, file, words) => {
    const before = adapter.save();
    assert.throws(() => adapter.prime(file), (e) => e instanceof MambabyteError && words.test(e.message), words);
    assert.deepEqual(adapter.save(), before);
  };
  refused(library.adapter("8K"), file, /another model/);
  refused(library.adapter("8K", library.decoder(model("sensor-nano"))), file, /another model/);
  refused(library.adapter("16K", decoder), file, /another preset/);
  refused(library.adapter("4K", decoder), file, /has 7414 bytes/);
  refused(primed, text.subarray(0, 500), /wrong first bytes/);
  refused(primed, file.subarray(0, 5000), /cut off/);
  const damaged = Uint8Array.from(file);
  damaged[3000] ^= 1;
  refused(primed, damaged, /checksum/);
});
check("an adapter goes on from what was saved, and its distribution is its path", () => {
  const decoder = library.decoder(model("sensor-pico"));
  const [a, b] = [library.adapter("8K", decoder), library.adapter("8K", decoder)];
  decoder.read(0);
  for (const byte of text.subarray(0, 500)) {
    a.read(byte);
    decoder.read(byte);
  }
  b.load(a.save());
  for (const byte of text.subarray(500, 600)) {
    const log = a.distribution()[byte];
    assert.equal(a.node(1), b.node(1));
    const [x, y] = [a.read(byte), b.read(byte)];
    assert.deepEqual(x, y);
    assert.ok(Math.abs(log + x.bits) < 64, `${log} ${x.bits}`);
    decoder.read(byte);
  }
  decoder.free();
  assert.throws(() => a.read(1), /freed/);
  a.free();
  assert.throws(() => a.read(1), /freed/);
  b.free();
});
check("a snapshot continues, and logits are those of prefill", () => {
  const [a, b] = [library.decoder(model("sensor-pico")), library.decoder(model("sensor-pico"))];
  a.prefill(text.subarray(0, 1000));
  const snapshot = a.snapshot();
  b.restore(snapshot);
  assert.equal(b.position(), 1000n);
  for (const byte of text.subarray(1000, 1100)) assert.deepEqual(a.read(byte), b.read(byte));
  assert.equal(a.fingerprint(), b.fingerprint());
  const [x, y] = [a.sample(7n, { temperature: 0.7, topK: 5 }), b.sample(7n, { temperature: 0.7, topK: 5 })];
  assert.deepEqual(x, y);
  assert.equal(a.surprise(65), b.surprise(65));
  assert.ok(a.mostProbable() >= 0);
});
check("wrong input is refused by name", () => {
  const refused = (f, pattern) => assert.throws(f, (e) => e instanceof MambabyteError && pattern.test(e.message));
  const good = model("sensor-pico");
  refused(() => library.decoder(good.subarray(0, 10)), /10 bytes/);
  refused(() => library.decoder(good.subarray(0, good.length - 1)), /truncated/);
  const long = new Uint8Array(good.length + 1);
  long.set(good);
  refused(() => library.decoder(long), /bytes after the model/);
  const damaged = Uint8Array.from(good);
  damaged[5000] ^= 1;
  refused(() => library.decoder(damaged), /[Cc]hecksum/);
  refused(() => library.decoder(new Uint8Array(200)), /wrong first bytes/);
  const decoder = library.decoder(good);
  refused(() => decoder.surprise(1), /no byte/);
  refused(() => decoder.restore(new Uint8Array(3)), /3 bytes/);
  const snapshot = decoder.snapshot();
  snapshot[snapshot.length - 1] ^= 1;
  refused(() => decoder.restore(snapshot), /[Cc]hecksum/);
  decoder.free();
  refused(() => decoder.read(1), /freed/);
  refused(() => library.adapter("2K"), /2K is no preset of the adapter; there are 4K, 8K/);
  const adapter = library.adapter("8K");
  refused(() => adapter.load(new Uint8Array(5)), /5 bytes/);
  const saved = adapter.save();
  saved[0] ^= 1;
  refused(() => adapter.load(saved), /another preset/);
  refused(() => library.adapter("8K", library.decoder(good)).read(1), /no byte/);
});
check("a header that promises gigabytes costs no memory", () => {
  const memory = () => library.exports.memory.buffer.byteLength;
  library.decoder(model("sensor-pico")).free();
  const before = memory();
  const refused = (f, bytes) => {
    const says = (e) => e instanceof MambabyteError && e.message.endsWith(`the file has ${bytes}: the file is truncated`);
    assert.throws(f, says);
  };
  for (const [width, layers, inner] of [[4096, 1024, 16384], [4096, 100, 16384], [1024, 8, 4096], [32, 4, 512]]) {
    // The header and the table of a good model, with another shape.
    const huge = Uint8Array.from(model("sensor-pico").subarray(0, 384));
    const view = new DataView(huge.buffer);
    [width, layers, inner].forEach((n, i) => view.setUint32(24 + 4 * i, n, true));
    refused(() => library.decoder(huge), 384);
    refused(() => library.sizes(huge.subarray(0, 128), 5000), 5000);
  }
  assert.equal(memory(), before);
  library.decoder(model("sensor-pico")).free();
});
check("the page runs no script but its own", () => {
  const page = readFileSync(join(folder, "index.html"), "utf8");
  const policy = /<meta http-equiv="Content-Security-Policy" content="([^"]+)">/.exec(page);
  assert.ok(policy && policy.index < page.search(/<(link|script|style|title)/), "before whatever is loaded");
  assert.ok(policy[1].startsWith("default-src 'none';") && !/unsafe-inline|unsafe-eval'?;|\*|https?:|data:/.test(policy[1].replace("'wasm-unsafe-eval'", "")));
  assert.ok(!/<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)/.test(page), "nothing inline");
});
check("hostile blobs have the bits of the scalar code", () => {
  // For each: the blob, 200 bytes of text, the checksum.
  const records = new Uint8Array(readFileSync(forged));
  let count = 0;
  for (let at = 0; at < records.length; count++) {
    const view = new DataView(records.buffer, records.byteOffset + at);
    const [blob, end] = [Number(view.getBigUint64(56, true)), Number(view.getBigUint64(56, true)) + 200];
    const decoder = library.decoder(records.subarray(at, at + blob));
    const expected = view.getUint32(end, true).toString(16).padStart(8, "0");
    assert.equal(checksum(decoder, records.subarray(at + blob, at + end)), expected, `blob ${count}`);
    decoder.free();
    at += end + 4;
  }
  console.log(`    ${count} blobs`);
  assert.ok(count >= 100);
});
check("memory of freed decoders is used again", () => {
  const nano = model("sensor-nano");
  library.decoder(nano).free();
  const before = library.exports.memory.buffer.byteLength;
  for (let i = 0; i < 50; i++) library.decoder(nano).free();
  assert.equal(library.exports.memory.buffer.byteLength, before);
});
console.log(`${passed} passed, 0 failed`);
