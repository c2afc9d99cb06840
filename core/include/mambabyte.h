/*
 * MambaByte: a byte-level Mamba model, one byte in, 256 logits out, the same bits on every machine.
 *
 * Made by `cargo xtask c header` from core/capi; do not edit.
 *
 * All memory is the caller's. Nothing is allocated, nothing is global. A function returns a mambabyte_status; what it
 * hands back goes through pointers and is written only if the status is MAMBABYTE_STATUS_OK. Pointers are checked: null,
 * misaligned, overlapping and too short memory is refused. That memory exists and stays is up to the caller. Different
 * decoders may be used by different threads, one decoder by one thread at a time.
 *
 * Numbers are integers: "16 fractional bits" means that 65536 stands for 1.
 */

#ifndef MAMBABYTE_H
#define MAMBABYTE_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX > 0xffffffffu
#define MAMBABYTE_64_BIT
#else
#define MAMBABYTE_32_BIT
#endif

// Memory for state, scratch and decoder starts at a multiple of this; an array of uint64_t does.
#define MAMBABYTE_ALIGN 8

// A blob starts at a multiple of this.
#define MAMBABYTE_BLOB_ALIGN 16

// Elements of an array of logits.
#define MAMBABYTE_VOCAB 256

// Bytes of a model's fingerprint.
#define MAMBABYTE_FINGERPRINT 16

#if defined(MAMBABYTE_64_BIT)
// Words of a mambabyte_decoder.
#define MAMBABYTE_DECODER_WORDS 80
#endif

#if defined(MAMBABYTE_32_BIT)
// Words of a mambabyte_decoder.
#define MAMBABYTE_DECODER_WORDS 48
#endif

// Bytes of memory of the adapter 4K: its tables, and what finds them.
#define MAMBABYTE_ADAPTER_4K_BYTES 5120

// Bytes of memory of the adapter 8K.
#define MAMBABYTE_ADAPTER_8K_BYTES 9216

// Bytes of memory of the adapter 16K.
#define MAMBABYTE_ADAPTER_16K_BYTES 17408

// Bytes of memory of the adapter 32K.
#define MAMBABYTE_ADAPTER_32K_BYTES 33792

// Bytes of memory of the adapter 64K.
#define MAMBABYTE_ADAPTER_64K_BYTES 66560

// Bytes of memory of the adapter 1M.
#define MAMBABYTE_ADAPTER_1M_BYTES 1050112

// Probabilities of a byte: one for each bit, the most significant first.
#define MAMBABYTE_NODES 8

// Bytes of memory of a detector.
#define MAMBABYTE_DETECTOR_BYTES 1088

// Bytes that mambabyte_detector_save writes.
#define MAMBABYTE_DETECTOR_SAVED 820

// A share of lines of 1 %: 32 fractional bits.
#define MAMBABYTE_ONE_PERCENT 42949672

// Lines of the learning period that a verdict can name.
#define MAMBABYTE_LEARNED 6

// Reason of an odd line: one byte is far more surprising than its place in the line usually is.
#define MAMBABYTE_REASON_BYTE 1

// Reason of an odd line: eight bytes in a row are more surprising than any usually are.
#define MAMBABYTE_REASON_STRETCH 2

// The learning period is over; the verdict names its odd lines.
#define MAMBABYTE_EVENT_LEARNED 1

// More lines are odd than before.
#define MAMBABYTE_EVENT_MORE_ODD 2

// That has lasted: what is usual is learned anew.
#define MAMBABYTE_EVENT_NEW_NORMAL 4

// Lines of a kind that was not there come regularly.
#define MAMBABYTE_EVENT_NEW_KIND 8

// The last 32 lines, at least, were each one of the eight before it.
#define MAMBABYTE_EVENT_FROZEN 16

// The model does not know this text.
#define MAMBABYTE_EVENT_UNKNOWN_TEXT 32

// Result of a function. Numbers are part of the interface and do not change.
enum mambabyte_status
#ifdef __cplusplus
  : int32_t
#endif // __cplusplus
 {
    // Done.
    MAMBABYTE_STATUS_OK = 0,
    // A pointer is null.
    MAMBABYTE_STATUS_NULL_POINTER = 1,
    // A pointer is not aligned as its type or as MAMBABYTE_ALIGN demands.
    MAMBABYTE_STATUS_MISALIGNED = 2,
    // Pointer plus length passes the end of the address space.
    MAMBABYTE_STATUS_RANGE_WRAPS = 3,
    // Memory that is written overlaps other memory of the call or of the decoder.
    MAMBABYTE_STATUS_OVERLAP = 4,
    // No decoder, adapter or detector was initialised at this address, or it was moved.
    MAMBABYTE_STATUS_NOT_INITIALISED = 5,
    // The state memory is smaller than the model needs.
    MAMBABYTE_STATUS_STATE_TOO_SMALL = 6,
    // The scratch memory is smaller than the model needs.
    MAMBABYTE_STATUS_SCRATCH_TOO_SMALL = 7,
    // The buffer is smaller than a snapshot, or than a saved adapter or detector.
    MAMBABYTE_STATUS_BUFFER_TOO_SMALL = 8,
    // There are no bytes.
    MAMBABYTE_STATUS_EMPTY = 9,
    // The memory is smaller than the adapter.
    MAMBABYTE_STATUS_ADAPTER_TOO_SMALL = 10,
    // The memory is smaller than the detector.
    MAMBABYTE_STATUS_DETECTOR_TOO_SMALL = 11,
    // The blob does not start with the magic of a blob.
    MAMBABYTE_STATUS_BLOB_MAGIC = 20,
    // A blob version that this library does not read.
    MAMBABYTE_STATUS_BLOB_VERSION = 21,
    // A header field of the blob has a value that it may not have.
    MAMBABYTE_STATUS_BLOB_HEADER = 22,
    // A dimension of the blob is outside its bounds.
    MAMBABYTE_STATUS_BLOB_DIMENSION = 23,
    // The blob is shorter than its header says.
    MAMBABYTE_STATUS_BLOB_TRUNCATED = 24,
    // There are bytes behind the end of the blob.
    MAMBABYTE_STATUS_BLOB_TRAILING_BYTES = 25,
    // The blob does not start at a multiple of MAMBABYTE_BLOB_ALIGN.
    MAMBABYTE_STATUS_BLOB_MISALIGNED = 26,
    // A section of the blob leaves a gap or overlaps another.
    MAMBABYTE_STATUS_BLOB_SECTION_OFFSET = 27,
    // The padding between sections of the blob is not zero.
    MAMBABYTE_STATUS_BLOB_PADDING = 28,
    // Checksum of the blob's header.
    MAMBABYTE_STATUS_BLOB_HEADER_CHECKSUM = 29,
    // Checksum of a section of the blob.
    MAMBABYTE_STATUS_BLOB_SECTION_CHECKSUM = 30,
    // A parameter of a layer is outside its range.
    MAMBABYTE_STATUS_BLOB_PARAMETER = 31,
    // The blob was refused for another reason.
    MAMBABYTE_STATUS_BLOB_OTHER = 39,
    // The snapshot does not start with the magic of a snapshot.
    MAMBABYTE_STATUS_SNAPSHOT_MAGIC = 40,
    // A snapshot version that this library does not read.
    MAMBABYTE_STATUS_SNAPSHOT_VERSION = 41,
    // The snapshot was taken with another model.
    MAMBABYTE_STATUS_SNAPSHOT_FOREIGN_MODEL = 42,
    // The snapshot is cut off, or something follows it.
    MAMBABYTE_STATUS_SNAPSHOT_LENGTH = 43,
    // A reserved field of the snapshot is not zero.
    MAMBABYTE_STATUS_SNAPSHOT_RESERVED = 44,
    // Checksum of the snapshot.
    MAMBABYTE_STATUS_SNAPSHOT_CHECKSUM = 45,
    // A section of the snapshot is missing, unknown, not taken here, or of another length or order.
    MAMBABYTE_STATUS_SNAPSHOT_SECTION = 46,
    // The snapshot was refused for another reason.
    MAMBABYTE_STATUS_SNAPSHOT_OTHER = 49,
    // The saved adapter is of another preset.
    MAMBABYTE_STATUS_ADAPTER_PRESET = 50,
    // A version of a saved adapter that this library does not read.
    MAMBABYTE_STATUS_ADAPTER_VERSION = 51,
    // The saved adapter is cut off, or something follows it.
    MAMBABYTE_STATUS_ADAPTER_LENGTH = 52,
    // A reserved field of the saved adapter is not zero.
    MAMBABYTE_STATUS_ADAPTER_RESERVED = 53,
    // The saved adapter was refused for another reason.
    MAMBABYTE_STATUS_ADAPTER_OTHER = 59,
    // The file does not start with the magic of a primed adapter.
    MAMBABYTE_STATUS_PRIMED_MAGIC = 60,
    // A version of a primed adapter that this library does not read.
    MAMBABYTE_STATUS_PRIMED_VERSION = 61,
    // The primed adapter is cut off, or something follows it.
    MAMBABYTE_STATUS_PRIMED_LENGTH = 62,
    // Checksum of the primed adapter.
    MAMBABYTE_STATUS_PRIMED_CHECKSUM = 63,
    // The adapter was primed with another model, or with none, or without one and there is a model now.
    MAMBABYTE_STATUS_PRIMED_FOREIGN_MODEL = 64,
    // The primed adapter was refused for another reason.
    MAMBABYTE_STATUS_PRIMED_OTHER = 69,
    // A version of a saved detector that this library does not read.
    MAMBABYTE_STATUS_DETECTOR_VERSION = 70,
    // The saved detector is cut off, or something follows it.
    MAMBABYTE_STATUS_DETECTOR_LENGTH = 71,
    // The saved detector has a value that no detector has, or was refused for another reason.
    MAMBABYTE_STATUS_DETECTOR_OTHER = 79,
};
#ifndef __cplusplus
typedef int32_t mambabyte_status;
#endif // __cplusplus

// What a model needs.
typedef struct {
    // Bytes of the whole blob, as its header says.
    uint64_t blob_bytes;
    // Bytes of state memory.
    size_t state_bytes;
    // Bytes of scratch memory.
    size_t scratch_bytes;
    // Bytes of a snapshot.
    size_t snapshot_bytes;
} mambabyte_sizes_t;

// A decoder in memory of the caller. Make it with mambabyte_init; do not move, copy or change it. It needs no end: stop
// using it, and the memory is free.
typedef struct {
    // Private.
    uint64_t opaque[MAMBABYTE_DECODER_WORDS];
} mambabyte_decoder;

// How to sample. All numbers are integers, so that a seed names one text on every machine.
typedef struct {
    // Temperature, 16 fractional bits: 65536 samples from the model's distribution, 0 takes the most probable byte.
    uint32_t temperature;
    // Only the most probable bytes that together reach this share, 16 fractional bits; 65536 for all.
    uint32_t top_p;
    // Only the top_k most probable bytes; 0 for all.
    uint16_t top_k;
} mambabyte_sampling;

// What is said of a finished line.
typedef struct {
    // 2^-rarity of the quiet lines are at least as odd: bits with 8 fractional bits, at most 24 bits.
    uint16_t rarity;
    // Place in the line, from 0, of the byte that stands out most.
    uint16_t worst_at;
    // Its surprise: bits with 8 fractional bits.
    uint16_t worst_bits;
    // The share of the last some 64 lines that are rarer than 5 bits, 16 fractional bits; usual is a 32nd.
    uint16_t odd_share;
    // 1 if the line is rarer than the share of lines that may be false alarms, else 0.
    uint8_t odd;
    // 1 if it is odd and the budget allows to say so, else 0.
    uint8_t alarm;
    // MAMBABYTE_REASON_BYTE or MAMBABYTE_REASON_STRETCH if it is odd, else 0.
    uint8_t reason;
    // The byte that stands out most.
    uint8_t worst_byte;
    // What is said of the stream at this line: a sum of MAMBABYTE_EVENT_LEARNED and its like.
    uint8_t events;
    // With MAMBABYTE_EVENT_LEARNED: numbers, from 1, of lines of the learning period that look odd now. Zeros are none.
    uint8_t learned[MAMBABYTE_LEARNED];
} mambabyte_verdict;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// One line of English for a status, without a line end. Never null; any number may be given.
const char *mambabyte_status_message(int32_t status);

// Reads the header of a blob and says what memory the model needs. Checks the header only, not the checksums;
// mambabyte_init checks everything.
//
// * blob: at least its first 128 bytes, at any address.
//
// Returns MAMBABYTE_STATUS_OK, or why the pointers or the header were refused.
//
// The caller's part:
// blob points to blob_len readable bytes; sizes may be written.
mambabyte_status mambabyte_sizes(const uint8_t *blob, size_t blob_len, mambabyte_sizes_t *sizes);

// Checks a blob and starts a decoder at the zero state.
//
// * decoder: where to start it; what was there before is irrelevant.
// * blob: at a multiple of MAMBABYTE_BLOB_ALIGN, blob_len exactly its length. It is used in place, from flash or RAM.
// * state, scratch: at multiples of MAMBABYTE_ALIGN, at least as long as mambabyte_sizes says. Any contents; more is
//   not used. Scratch may be used for other things between calls, if the logits are not needed any more.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused. All pointers are checked first, overlaps too: if one is refused,
// nothing was written, and a decoder that was there before goes on. If the model or the size of the memory is refused,
// there is no decoder any more. Takes one pass over the blob.
//
// The caller's part:
// All ranges are there, decoder, state and scratch writable. Blob, state and scratch stay where they are, and nobody
// else writes blob and state, until the decoder is used no more.
mambabyte_status mambabyte_init(mambabyte_decoder *decoder,
                                const uint8_t *blob,
                                size_t blob_len,
                                void *state,
                                size_t state_bytes,
                                void *scratch,
                                size_t scratch_bytes);

// Reads one byte of the stream.
//
// * logits: receives a pointer to MAMBABYTE_VOCAB logits of the next byte, log2 units with 16 fractional bits. They lie in
//   the scratch memory and are valid until the next call with this decoder. May be null.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; then the byte was not read.
//
// The caller's part:
// decoder as mambabyte_init left it; no other thread uses it.
mambabyte_status mambabyte_step(mambabyte_decoder *decoder,
                                uint8_t byte,
                                const int32_t **logits);

// Reads many bytes: as mambabyte_step for each, but the logits are computed after the last one only.
//
// * bytes, len: at least one byte; not in the memory of the decoder.
// * logits: as for mambabyte_step.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; then no byte was read.
//
// The caller's part:
// As mambabyte_step; bytes points to len readable bytes.
mambabyte_status mambabyte_prefill(mambabyte_decoder *decoder,
                                   const uint8_t *bytes,
                                   size_t len,
                                   const int32_t **logits);

// Back to the state before the first byte.
//
// Returns MAMBABYTE_STATUS_OK, or why the decoder was refused.
//
// The caller's part:
// As mambabyte_step.
mambabyte_status mambabyte_reset(mambabyte_decoder *decoder);

// Bytes read since the zero state, through snapshots too.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_step; position may be written.
mambabyte_status mambabyte_position(mambabyte_decoder *decoder, uint64_t *position);

// Copies the model's fingerprint: 128 bits that name it.
//
// * fingerprint: MAMBABYTE_FINGERPRINT bytes.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_step; fingerprint may be written.
mambabyte_status mambabyte_fingerprint(mambabyte_decoder *decoder, uint8_t *fingerprint);

// Writes a snapshot of the state: with position, fingerprint and checksum, the same bytes on every machine.
//
// * out, len: at least snapshot_bytes of mambabyte_sizes; not in the memory of the decoder.
// * written: receives the bytes written. May be null.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_step; out points to len bytes that may be written, written is null or may be written.
mambabyte_status mambabyte_snapshot_save(mambabyte_decoder *decoder, uint8_t *out, size_t len, size_t *written);

// Continues from a snapshot, bit for bit as if never stopped.
//
// * snapshot, len: exactly what mambabyte_snapshot_save wrote, at any address; not in the memory of the decoder.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused: a snapshot of another model, a damaged one, one that was cut off,
// one with sections beside the state, such as `mambabyte stream --save-state` writes. The state is then as it was before.
//
// The caller's part:
// As mambabyte_step; snapshot points to len readable bytes.
mambabyte_status mambabyte_snapshot_load(mambabyte_decoder *decoder,
                                         const uint8_t *snapshot,
                                         size_t len);

// The most probable byte, the smallest one of equals.
//
// Returns MAMBABYTE_STATUS_OK, or which pointer was refused.
//
// The caller's part:
// logits points to MAMBABYTE_VOCAB numbers; byte may be written.
mambabyte_status mambabyte_most_probable(const int32_t *logits, uint8_t *byte);

// The surprise of a byte, -log2 of its probability, in bits with 16 fractional bits: 65536 is one bit.
//
// * logits: those of the step before this byte was read.
//
// Returns MAMBABYTE_STATUS_OK, or which pointer was refused.
//
// The caller's part:
// logits points to MAMBABYTE_VOCAB numbers; bits may be written.
mambabyte_status mambabyte_surprise(const int32_t *logits, uint8_t byte, uint32_t *bits);

// The probability of a byte with 32 fractional bits, at most 2^32 - 1.
//
// Returns MAMBABYTE_STATUS_OK, or which pointer was refused.
//
// The caller's part:
// logits points to MAMBABYTE_VOCAB numbers; share may be written.
mambabyte_status mambabyte_probability(const int32_t *logits, uint8_t byte, uint32_t *share);

// Chooses the next byte at random.
//
// * random: state of the generator; set it to a seed once, it is changed by each call. Equal seeds give equal bytes.
//
// Returns MAMBABYTE_STATUS_OK, or which pointer was refused; random is then unchanged.
// Its tables take 1,280 bytes of stack.
//
// The caller's part:
// logits points to MAMBABYTE_VOCAB numbers, sampling to a mambabyte_sampling; random and byte may be written.
mambabyte_status mambabyte_sample(const int32_t *logits,
                                  const mambabyte_sampling *sampling,
                                  uint64_t *random,
                                  uint8_t *byte);

// Starts the adapter 4K.
//
// * memory: at a multiple of MAMBABYTE_ALIGN, at least MAMBABYTE_ADAPTER_4K_BYTES. Any contents.
// * net: 0 if no logits will be given, else 1: the first weights differ.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; then nothing was written.
//
// The caller's part:
// memory points to bytes that may be written. It stays where it is, and nobody else writes it, until the adapter is
// used no more.
mambabyte_status mambabyte_adapter_init_4k(void *memory, size_t bytes, uint8_t net);

// Starts the adapter 8K: as mambabyte_adapter_init_4k.
//
// The caller's part:
// As mambabyte_adapter_init_4k.
mambabyte_status mambabyte_adapter_init_8k(void *memory, size_t bytes, uint8_t net);

// Starts the adapter 16K: as mambabyte_adapter_init_4k.
//
// The caller's part:
// As mambabyte_adapter_init_4k.
mambabyte_status mambabyte_adapter_init_16k(void *memory, size_t bytes, uint8_t net);

// Starts the adapter 32K: as mambabyte_adapter_init_4k.
//
// The caller's part:
// As mambabyte_adapter_init_4k.
mambabyte_status mambabyte_adapter_init_32k(void *memory, size_t bytes, uint8_t net);

// Starts the adapter 64K: as mambabyte_adapter_init_4k.
//
// The caller's part:
// As mambabyte_adapter_init_4k.
mambabyte_status mambabyte_adapter_init_64k(void *memory, size_t bytes, uint8_t net);

// Starts the adapter 1M: as mambabyte_adapter_init_4k.
//
// The caller's part:
// As mambabyte_adapter_init_4k.
mambabyte_status mambabyte_adapter_init_1m(void *memory, size_t bytes, uint8_t net);

// Reads a byte and learns it.
//
// * logits: MAMBABYTE_VOCAB logits of the model for this byte, after those before it; null without a model.
// * nodes: receives MAMBABYTE_NODES probabilities, of each bit being 1 after those before it, the most significant bit
//   first, 16 fractional bits. May be null.
// * bits: receives the surprise of the byte, -log2 of its probability, 16 fractional bits. May be null.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; then nothing was learned.
//
// The caller's part:
// memory as mambabyte_adapter_init_4k or its like left it; no other thread uses it. Logits can be read; nodes and bits
// may be written.
mambabyte_status mambabyte_adapter_read(void *memory,
                                        const int32_t *logits,
                                        uint8_t byte,
                                        uint16_t *nodes,
                                        uint32_t *bits);

// The probability that a bit of the next byte is 1, 16 fractional bits, from 3 to 65533. Nothing is learned: a decoder asks
// for each bit, and then lets mambabyte_adapter_read learn the byte.
//
// * logits: as for mambabyte_adapter_read.
// * known: 1 and then the bits of the byte that are known, the most significant first; 1 for the first bit.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_adapter_read; p may be written.
mambabyte_status mambabyte_adapter_node(void *memory,
                                        const int32_t *logits,
                                        uint8_t known,
                                        uint16_t *p);

// The distribution of the next byte as logits, log2 units with 16 fractional bits: to sample from with mambabyte_sample, as
// from a model's. Takes some thirty times as long as mambabyte_adapter_read. Nothing is learned.
//
// * logits: as for mambabyte_adapter_read.
// * mixed: receives MAMBABYTE_VOCAB numbers.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_adapter_read; mixed may be written.
mambabyte_status mambabyte_adapter_distribution(void *memory,
                                                const int32_t *logits,
                                                int32_t *mixed);

// Bytes that mambabyte_adapter_save writes.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_adapter_read; bytes may be written.
mambabyte_status mambabyte_adapter_saved_bytes(void *memory, size_t *bytes);

// Writes all that it has learned, the same bytes on every machine. There is no checksum.
//
// * out, len: at least what mambabyte_adapter_saved_bytes says.
// * written: receives the bytes written. May be null.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_adapter_read; out points to len bytes that may be written, written is null or may be written.
mambabyte_status mambabyte_adapter_save(void *memory, uint8_t *out, size_t len, size_t *written);

// Goes on where mambabyte_adapter_save stopped: the next byte has the same probabilities.
//
// * saved, len: exactly what mambabyte_adapter_save wrote for an adapter of this preset, at any address.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; the adapter is then as it was before. What is damaged otherwise
// is safe, but makes an adapter that has learned something else.
//
// The caller's part:
// As mambabyte_adapter_read; saved points to len readable bytes.
mambabyte_status mambabyte_adapter_load(void *memory, const uint8_t *saved, size_t len);

// Begins with what `mambabyte prime` wrote: an adapter that has read a text.
//
// * decoder: the model that gives the logits; null without a model. The adapter was primed with the same.
// * primed, len: the whole file, at any address. All of it is checked.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; the adapter is then as it was before.
//
// The caller's part:
// As mambabyte_adapter_read; decoder is null or as for mambabyte_step; primed points to len readable bytes.
mambabyte_status mambabyte_adapter_prime(void *memory, mambabyte_decoder *decoder, const uint8_t *primed, size_t len);

// Starts a detector at the beginning of a stream.
//
// * memory: at a multiple of MAMBABYTE_ALIGN, at least MAMBABYTE_DETECTOR_BYTES. Any contents.
// * share: of quiet lines that may be false alarms, 32 fractional bits: MAMBABYTE_ONE_PERCENT. Below a millionth and
//   above a tenth it is the nearest of these.
// * decoder: the model that reads the stream, which says what texts it does not know; null without a model.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; then nothing was written.
//
// The caller's part:
// memory points to bytes that may be written. It stays where it is, and nobody else writes it, until the detector is
// used no more. decoder is null or as for mambabyte_step.
mambabyte_status mambabyte_detector_init(void *memory, size_t bytes, uint32_t share, mambabyte_decoder *decoder);

// Changes the share of quiet lines that may be false alarms, for the lines to come.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// memory as mambabyte_detector_init left it; no other thread uses it.
mambabyte_status mambabyte_detector_set_share(void *memory, uint32_t share);

// Takes a byte of the stream. A newline ends a line, and so does the 4096th byte.
//
// * bits: surprise of the byte, 16 fractional bits: of mambabyte_adapter_read or, without an adapter, of
//   mambabyte_surprise.
// * net: surprise of the byte under the model alone; null without a model.
// * ended: receives 1 if the byte ends a line, else 0.
// * verdict: receives what is said of that line; only written if one ends.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; then the byte was not taken.
//
// The caller's part:
// As mambabyte_detector_set_share; net is null or can be read; ended and verdict may be written.
mambabyte_status mambabyte_detector_push(void *memory,
                                         uint8_t byte,
                                         uint32_t bits,
                                         const uint32_t *net,
                                         uint8_t *ended,
                                         mambabyte_verdict *verdict);

// Ends the line that is open, as at the end of the stream: as mambabyte_detector_push.
//
// The caller's part:
// As mambabyte_detector_push.
mambabyte_status mambabyte_detector_finish(void *memory, uint8_t *ended, mambabyte_verdict *verdict);

// Writes all of it, the share included: the same bytes on every machine. There is no checksum.
//
// * out, len: at least MAMBABYTE_DETECTOR_SAVED bytes, of which so many are written.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused.
//
// The caller's part:
// As mambabyte_detector_set_share; out points to len bytes that may be written.
mambabyte_status mambabyte_detector_save(void *memory, uint8_t *out, size_t len);

// Goes on where mambabyte_detector_save stopped, with the share of now.
//
// * saved, len: exactly what mambabyte_detector_save wrote, at any address.
//
// Returns MAMBABYTE_STATUS_OK, or what was refused; the detector is then as it was before.
//
// The caller's part:
// As mambabyte_detector_set_share; saved points to len readable bytes.
mambabyte_status mambabyte_detector_load(void *memory, const uint8_t *saved, size_t len);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MAMBABYTE_H */
