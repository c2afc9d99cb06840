/* Wrong arguments and damaged data: every call is refused with the right status; nothing is touched or crashes. */
#include <mambabyte.h>

#include "platform.h"

enum { POOL = 64 * 1024 };
static uint64_t copy_words[POOL / 8 + 2], state[POOL / 8], scratch[POOL / 8], snapshot[POOL / 8], other[POOL / 8];
static mambabyte_decoder decoder, moved;
static uint64_t passed, wrong;
static mambabyte_sizes_t sizes;
static const uint8_t *blob;
static size_t blob_len;

static void expect(const char *call, int line, mambabyte_status found, mambabyte_status expected) {
    if (found == expected) {
        passed++;
        return;
    }
    wrong++;
    platform_print(call);
    platform_print("\n  says: ");
    platform_print(mambabyte_status_message(found));
    platform_print(", expected: ");
    platform_print(mambabyte_status_message(expected));
    print_number(", line", (uint64_t)line);
}

#define EXPECT(status, call) expect(#call, __LINE__, (call), MAMBABYTE_STATUS_##status)

static mambabyte_status init(const uint8_t *model, size_t len) {
    return mambabyte_init(&decoder, model, len, state, sizes.state_bytes, scratch, sizes.scratch_bytes);
}

static uint64_t sum(const uint64_t *words, size_t bytes) {
    uint64_t total = 0;
    for (size_t i = 0; i < bytes / 8; i++) {
        total = total * 31 + words[i];
    }
    return total;
}

/* Of the decoder and of all memory that is lent to it. */
static uint64_t sum_of_all(void) {
    return sum((const uint64_t *)(const void *)&decoder, sizeof decoder) + sum(state, POOL) + sum(scratch, POOL);
}

static void pointers_of_init(void) {
    uint8_t *bytes = (uint8_t *)state;
    size_t s = sizes.state_bytes, c = sizes.scratch_bytes;
    EXPECT(NULL_POINTER, mambabyte_sizes(NULL, blob_len, &sizes));
    EXPECT(NULL_POINTER, mambabyte_sizes(blob, blob_len, NULL));
    EXPECT(MISALIGNED, mambabyte_sizes(blob, blob_len, (mambabyte_sizes_t *)(uintptr_t)((uintptr_t)state + 1)));
    EXPECT(RANGE_WRAPS, mambabyte_sizes(blob, SIZE_MAX, &sizes));
    EXPECT(BLOB_TRUNCATED, mambabyte_sizes(blob, 0, &sizes));
    EXPECT(BLOB_TRUNCATED, mambabyte_sizes(blob, 127, &sizes));
    EXPECT(OK, mambabyte_sizes(blob, 128, &sizes));

    EXPECT(NULL_POINTER, mambabyte_init(NULL, blob, blob_len, state, s, scratch, c));
    EXPECT(NULL_POINTER, mambabyte_init(&decoder, NULL, blob_len, state, s, scratch, c));
    EXPECT(NULL_POINTER, mambabyte_init(&decoder, blob, blob_len, NULL, s, scratch, c));
    EXPECT(NULL_POINTER, mambabyte_init(&decoder, blob, blob_len, state, s, NULL, c));
    for (uintptr_t off = 1; off < MAMBABYTE_ALIGN; off++) {
        mambabyte_decoder *odd = (mambabyte_decoder *)(uintptr_t)((uintptr_t)other + off);
        EXPECT(MISALIGNED, mambabyte_init(odd, blob, blob_len, state, s, scratch, c));
        EXPECT(MISALIGNED, mambabyte_init(&decoder, blob, blob_len, bytes + off, s, scratch, c));
        EXPECT(MISALIGNED, mambabyte_init(&decoder, blob, blob_len, state, s, (uint8_t *)scratch + off, c));
    }
    EXPECT(RANGE_WRAPS, mambabyte_init(&decoder, blob, SIZE_MAX, state, s, scratch, c));
    EXPECT(RANGE_WRAPS, mambabyte_init(&decoder, blob, blob_len, state, SIZE_MAX, scratch, c));
    EXPECT(RANGE_WRAPS, mambabyte_init(&decoder, blob, blob_len, state, s, scratch, SIZE_MAX));
    EXPECT(RANGE_WRAPS, mambabyte_init(&decoder, blob, SIZE_MAX / 2 + 1, state, s, scratch, c));
    EXPECT(STATE_TOO_SMALL, mambabyte_init(&decoder, blob, blob_len, state, s - 1, scratch, c));
    EXPECT(STATE_TOO_SMALL, mambabyte_init(&decoder, blob, blob_len, state, 0, scratch, c));
    EXPECT(SCRATCH_TOO_SMALL, mambabyte_init(&decoder, blob, blob_len, state, s, scratch, c - 1));
    EXPECT(SCRATCH_TOO_SMALL, mambabyte_init(&decoder, blob, blob_len, state, s, scratch, 0));
    EXPECT(OVERLAP, mambabyte_init(&decoder, blob, blob_len, state, s, state, c));
    EXPECT(OVERLAP, mambabyte_init(&decoder, blob, blob_len, state, s, bytes + (s & ~(size_t)7) - 8, c));
    EXPECT(OVERLAP, mambabyte_init(&decoder, blob, blob_len, &decoder, s, scratch, c));
    EXPECT(OVERLAP, mambabyte_init(&decoder, blob, blob_len, state, s, &decoder, c));
    EXPECT(OVERLAP, mambabyte_init(&decoder, blob, blob_len, (void *)(uintptr_t)blob, s, scratch, c));
    const uint8_t *zeros = (const uint8_t *)other;
    /* A refused start leaves no decoder. */
    EXPECT(NOT_INITIALISED, mambabyte_step(&decoder, 'a', NULL));
    EXPECT(OK, init(blob, blob_len));
    /* A start whose pointers are refused writes nothing: the decoder that was there goes on, state and all. */
    EXPECT(OK, mambabyte_step(&decoder, 'a', NULL));
    uint64_t before = sum_of_all();
    EXPECT(OVERLAP, mambabyte_init(&decoder, blob, blob_len, state, s, state, c));
    EXPECT(OVERLAP, mambabyte_init(&decoder, blob, blob_len, &decoder, s, scratch, c));
    EXPECT(OVERLAP, mambabyte_init((mambabyte_decoder *)(void *)state, blob, blob_len, state, s, scratch, c));
    EXPECT(OVERLAP, mambabyte_init((mambabyte_decoder *)(void *)scratch, blob, blob_len, state, s, scratch, c));
    EXPECT(NULL_POINTER, mambabyte_init(&decoder, blob, blob_len, NULL, s, scratch, c));
    EXPECT(RANGE_WRAPS, mambabyte_init(&decoder, blob, blob_len, state, s, scratch, SIZE_MAX));
    EXPECT(OK, before == sum_of_all() ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
    EXPECT(OK, mambabyte_step(&decoder, 'b', NULL));
    /* Starting again ends the decoder that was there, also if it fails. */
    EXPECT(BLOB_MAGIC, init(zeros, 128));
    EXPECT(NOT_INITIALISED, mambabyte_reset(&decoder));
    EXPECT(OK, init(blob, blob_len));
}

static void pointers_of_a_decoder(void) {
    const int32_t *logits = NULL;
    uint64_t position = 0;
    size_t written = 99;
    uint8_t name[MAMBABYTE_FINGERPRINT], *out = (uint8_t *)snapshot;
    size_t len = sizes.snapshot_bytes;
    EXPECT(OK, mambabyte_step(&decoder, 'a', &logits));
    EXPECT(OK, mambabyte_step(&decoder, 'b', NULL));

    /* No decoder, a null one, a misaligned one, a copy of one. */
    mambabyte_decoder *odd = (mambabyte_decoder *)(uintptr_t)((uintptr_t)&decoder + 4);
    moved = decoder;
    mambabyte_decoder *none[4] = {NULL, odd, &moved, (mambabyte_decoder *)(uintptr_t)other};
    const mambabyte_status why[4] = {MAMBABYTE_STATUS_NULL_POINTER, MAMBABYTE_STATUS_MISALIGNED,
                                     MAMBABYTE_STATUS_NOT_INITIALISED, MAMBABYTE_STATUS_NOT_INITIALISED};
    for (int i = 0; i < 4; i++) {
        expect("step", i, mambabyte_step(none[i], 'a', &logits), why[i]);
        expect("prefill", i, mambabyte_prefill(none[i], name, 1, &logits), why[i]);
        expect("reset", i, mambabyte_reset(none[i]), why[i]);
        expect("position", i, mambabyte_position(none[i], &position), why[i]);
        expect("fingerprint", i, mambabyte_fingerprint(none[i], name), why[i]);
        expect("save", i, mambabyte_snapshot_save(none[i], out, len, &written), why[i]);
        expect("load", i, mambabyte_snapshot_load(none[i], out, len), why[i]);
    }
    const int32_t **odd_pointer = (const int32_t **)(uintptr_t)((uintptr_t)other + 2);
    EXPECT(MISALIGNED, mambabyte_step(&decoder, 'a', odd_pointer));
    EXPECT(OVERLAP, mambabyte_step(&decoder, 'a', (const int32_t **)(uintptr_t)state));
    EXPECT(OVERLAP, mambabyte_step(&decoder, 'a', (const int32_t **)(uintptr_t)scratch));
    EXPECT(OVERLAP, mambabyte_step(&decoder, 'a', (const int32_t **)(uintptr_t)&decoder));
    EXPECT(OVERLAP, mambabyte_step(&decoder, 'a', (const int32_t **)(uintptr_t)blob));
    EXPECT(NULL_POINTER, mambabyte_prefill(&decoder, NULL, 1, &logits));
    EXPECT(EMPTY, mambabyte_prefill(&decoder, name, 0, &logits));
    EXPECT(RANGE_WRAPS, mambabyte_prefill(&decoder, name, SIZE_MAX, &logits));
    EXPECT(OVERLAP, mambabyte_prefill(&decoder, (const uint8_t *)state, 8, &logits));
    EXPECT(OVERLAP, mambabyte_prefill(&decoder, (const uint8_t *)scratch, 8, &logits));
    EXPECT(NULL_POINTER, mambabyte_position(&decoder, NULL));
    EXPECT(OVERLAP, mambabyte_position(&decoder, state));
    EXPECT(NULL_POINTER, mambabyte_fingerprint(&decoder, NULL));
    EXPECT(OVERLAP, mambabyte_fingerprint(&decoder, (uint8_t *)scratch));
    /* None of that was a step. */
    EXPECT(OK, mambabyte_position(&decoder, &position));
    EXPECT(OK, position == 2 ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
}

/* Makes the checksum of a snapshot right again. */
static void seal(uint8_t *out, size_t len) {
    uint32_t crc = UINT32_MAX;
    for (size_t at = 0; at < len; at += at == 35 ? 5 : 1) {
        crc ^= out[at];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    for (int at = 0; at < 4; at++) {
        out[36 + at] = (uint8_t)(~crc >> 8 * at);
    }
}

static void snapshots(void) {
    uint8_t *out = (uint8_t *)snapshot;
    size_t len = sizes.snapshot_bytes, written = 99;
    EXPECT(NULL_POINTER, mambabyte_snapshot_save(&decoder, NULL, len, &written));
    EXPECT(BUFFER_TOO_SMALL, mambabyte_snapshot_save(&decoder, out, len - 1, &written));
    EXPECT(BUFFER_TOO_SMALL, mambabyte_snapshot_save(&decoder, out, 0, &written));
    EXPECT(RANGE_WRAPS, mambabyte_snapshot_save(&decoder, out, SIZE_MAX, &written));
    EXPECT(OVERLAP, mambabyte_snapshot_save(&decoder, (uint8_t *)state, len, &written));
    EXPECT(OVERLAP, mambabyte_snapshot_save(&decoder, (uint8_t *)scratch, len, &written));
    EXPECT(OVERLAP, mambabyte_snapshot_save(&decoder, (uint8_t *)&decoder, len, &written));
    EXPECT(OVERLAP, mambabyte_snapshot_save(&decoder, out, len, (size_t *)(uintptr_t)out));
    EXPECT(MISALIGNED, mambabyte_snapshot_save(&decoder, out, len, (size_t *)(uintptr_t)((uintptr_t)other + 1)));
    EXPECT(OK, written == 99 ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
    EXPECT(OK, mambabyte_snapshot_save(&decoder, out + 1, len, &written)); /* at any address */
    EXPECT(OK, mambabyte_snapshot_load(&decoder, out + 1, len));
    EXPECT(OK, mambabyte_snapshot_save(&decoder, out, POOL, NULL));

    uint64_t before = sum(state, sizes.state_bytes);
    EXPECT(NULL_POINTER, mambabyte_snapshot_load(&decoder, NULL, len));
    EXPECT(OVERLAP, mambabyte_snapshot_load(&decoder, (const uint8_t *)state, len));
    EXPECT(RANGE_WRAPS, mambabyte_snapshot_load(&decoder, out, SIZE_MAX));
    EXPECT(SNAPSHOT_LENGTH, mambabyte_snapshot_load(&decoder, out, len - 1));
    EXPECT(SNAPSHOT_LENGTH, mambabyte_snapshot_load(&decoder, out, len + 1));
    EXPECT(SNAPSHOT_LENGTH, mambabyte_snapshot_load(&decoder, out, 0));
    for (size_t at = 0; at < len; at += at < 40 ? 1 : 41) {
        out[at] ^= 0x10;
        mambabyte_status status = mambabyte_snapshot_load(&decoder, out, len);
        out[at] ^= 0x10;
        mambabyte_status expected = at < 4    ? MAMBABYTE_STATUS_SNAPSHOT_MAGIC
                                    : at < 6  ? MAMBABYTE_STATUS_SNAPSHOT_VERSION
                                    : at < 32 ? MAMBABYTE_STATUS_SNAPSHOT_CHECKSUM
                                    : at < 36 ? MAMBABYTE_STATUS_SNAPSHOT_LENGTH
                                              : MAMBABYTE_STATUS_SNAPSHOT_CHECKSUM;
        expect("snapshot with a flipped bit", (int)at, status, expected);
    }
    /* Damage that the checksum covers: it is the contents that are refused. */
    struct { size_t at; mambabyte_status status; } sealed[] = {
        {6, MAMBABYTE_STATUS_SNAPSHOT_RESERVED},  {8, MAMBABYTE_STATUS_SNAPSHOT_FOREIGN_MODEL},
        {40, MAMBABYTE_STATUS_SNAPSHOT_SECTION},  {42, MAMBABYTE_STATUS_SNAPSHOT_SECTION},
        {44, MAMBABYTE_STATUS_SNAPSHOT_SECTION},
    };
    for (size_t i = 0; i < sizeof sealed / sizeof sealed[0]; i++) {
        out[sealed[i].at] ^= 4;
        seal(out, len);
        expect("sealed snapshot", (int)sealed[i].at, mambabyte_snapshot_load(&decoder, out, len), sealed[i].status);
        out[sealed[i].at] ^= 4;
    }
    seal(out, len);
    EXPECT(OK, sum(state, sizes.state_bytes) == before ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
    EXPECT(OK, mambabyte_snapshot_load(&decoder, out, len));
}

static void logits(void) {
    const int32_t *found = NULL;
    const int32_t *odd = (const int32_t *)(uintptr_t)((uintptr_t)scratch + 2);
    mambabyte_sampling sampling = {65536, 65536, 0};
    uint64_t random = 3;
    uint32_t number = 0;
    uint8_t byte = 0;
    EXPECT(OK, mambabyte_step(&decoder, 'c', &found));
    EXPECT(NULL_POINTER, mambabyte_most_probable(NULL, &byte));
    EXPECT(NULL_POINTER, mambabyte_most_probable(found, NULL));
    EXPECT(MISALIGNED, mambabyte_most_probable(odd, &byte));
    EXPECT(NULL_POINTER, mambabyte_surprise(NULL, 0, &number));
    EXPECT(NULL_POINTER, mambabyte_surprise(found, 0, NULL));
    EXPECT(MISALIGNED, mambabyte_surprise(odd, 0, &number));
    EXPECT(MISALIGNED, mambabyte_surprise(found, 0, (uint32_t *)(uintptr_t)((uintptr_t)other + 1)));
    EXPECT(NULL_POINTER, mambabyte_probability(NULL, 0, &number));
    EXPECT(NULL_POINTER, mambabyte_probability(found, 0, NULL));
    EXPECT(NULL_POINTER, mambabyte_sample(NULL, &sampling, &random, &byte));
    EXPECT(NULL_POINTER, mambabyte_sample(found, NULL, &random, &byte));
    EXPECT(NULL_POINTER, mambabyte_sample(found, &sampling, NULL, &byte));
    EXPECT(NULL_POINTER, mambabyte_sample(found, &sampling, &random, NULL));
    EXPECT(MISALIGNED, mambabyte_sample(odd, &sampling, &random, &byte));
    EXPECT(OK, random == 3 ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
    /* Numbers that make no sense are no reason to stop: everything is sampled. */
    sampling.temperature = sampling.top_p = UINT32_MAX;
    sampling.top_k = UINT16_MAX;
    EXPECT(OK, mambabyte_sample(found, &sampling, &random, &byte));
    sampling.top_p = 0;
    sampling.temperature = 1;
    EXPECT(OK, mambabyte_sample(found, &sampling, &random, &byte));
}

static void damaged_blobs(void) {
    uint8_t *copy = (uint8_t *)copy_words;
    copy += (16 - ((uintptr_t)copy & 15)) & 15;
    for (size_t i = 0; i < blob_len; i++) {
        copy[i] = blob[i];
    }
    /* A decoder in the blob is refused before a byte of the blob is written. */
    for (size_t at = 0; at + sizeof decoder <= blob_len; at += 1000 & ~(size_t)7) {
        mambabyte_decoder *inside = (mambabyte_decoder *)(void *)(copy + at);
        EXPECT(OVERLAP, mambabyte_init(inside, copy, blob_len, state, sizes.state_bytes, scratch, sizes.scratch_bytes));
    }
    EXPECT(OK, init(copy, blob_len));
    EXPECT(BLOB_TRAILING_BYTES, init(copy, blob_len + 1));
    for (size_t len = 0; len < blob_len; len += len < 400 ? 1 : 257) {
        expect("truncated blob", (int)len, init(copy, len), MAMBABYTE_STATUS_BLOB_TRUNCATED);
    }
    for (size_t at = 0; at < blob_len; at += at < 304 ? 1 : 101) {
        copy[at] ^= 0x80;
        mambabyte_status status = init(copy, blob_len);
        copy[at] ^= 0x80;
        /* A header field that is looked at says what is wrong with it; all others are held by the checksums. */
        mambabyte_status expected = at < 8                ? MAMBABYTE_STATUS_BLOB_MAGIC
                                    : at < 10             ? MAMBABYTE_STATUS_BLOB_VERSION
                                    : at >= 128 && at < 304 ? MAMBABYTE_STATUS_BLOB_HEADER_CHECKSUM
                                    : at < 304            ? status
                                                          : MAMBABYTE_STATUS_BLOB_SECTION_CHECKSUM;
        if (at >= 304 && status == MAMBABYTE_STATUS_BLOB_PADDING) {
            expected = status;
        }
        if (status == MAMBABYTE_STATUS_OK || status == MAMBABYTE_STATUS_BLOB_OTHER) {
            expected = MAMBABYTE_STATUS_BLOB_HEADER;
        }
        expect("blob with a flipped bit", (int)at, status, expected);
    }
    /* Another address of the same blob is misaligned, whatever it is. */
    for (size_t i = blob_len; i-- > 0;) {
        copy[i + 8] = copy[i];
    }
    EXPECT(BLOB_MISALIGNED, init(copy + 8, blob_len));
}

int test_main(void) {
    blob = platform_blob(&blob_len);
    if (blob_len + 24 > sizeof copy_words || mambabyte_sizes(blob, blob_len, &sizes) != MAMBABYTE_STATUS_OK ||
        sizes.snapshot_bytes + 8 > POOL) {
        platform_print("the model is too large for this program\n");
        return 1;
    }
    pointers_of_init();
    pointers_of_a_decoder();
    snapshots();
    logits();
    damaged_blobs();
    for (int32_t status = -2; status < 60; status++) {
        const char *message = mambabyte_status_message(status);
        expect("message", (int)status, message != NULL && message[0] != '\0' ? 0 : 1, 0);
    }
    expect("message", 0, mambabyte_status_message(INT32_MIN)[0] != '\0' ? 0 : 1, 0);
    print_number("passed", passed);
    print_number("wrong", wrong);
    return wrong == 0 ? 0 : 1;
}
