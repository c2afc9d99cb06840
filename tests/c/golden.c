/* The golden text through the library: the checksum over all logits must be that of models/NAME/golden.crc32.
 *
 * Half-way the stream is broken off by a snapshot and continued by a second decoder in other memory. What the other
 * functions say is added up and printed; the test compares it with what the Rust functions say.
 */
#include <mambabyte.h>

#include "platform.h"

/* Enough for every shipped model. */
enum { STATE = 160 * 1024, SCRATCH = 12 * 1024 };
static uint64_t state[2][STATE / 8], scratch[2][SCRATCH / 8], snapshot[STATE / 8 + 8];
static mambabyte_decoder decoder[2];

static int failed(const char *what, mambabyte_status status) {
    platform_print(what);
    platform_print(": ");
    platform_print(mambabyte_status_message(status));
    platform_print("\n");
    return 1;
}

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        mambabyte_status check_status = (call);                                                                        \
        if (check_status != MAMBABYTE_STATUS_OK) {                                                                     \
            return failed(#call, check_status);                                                                        \
        }                                                                                                              \
    } while (0)

/* CRC-32 as in zip, one byte more. */
static uint32_t crc32(uint32_t crc, uint8_t byte) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return crc;
}

int test_main(void) {
    size_t blob_len, text_len;
    const uint8_t *blob = platform_blob(&blob_len), *text = platform_text(&text_len);
    mambabyte_sizes_t sizes;
    CHECK(mambabyte_sizes(blob, blob_len, &sizes));
    print_number("blob", sizes.blob_bytes);
    print_number("state", sizes.state_bytes);
    print_number("scratch", sizes.scratch_bytes);
    print_number("snapshot", sizes.snapshot_bytes);
    if (sizes.state_bytes > STATE || sizes.scratch_bytes > SCRATCH || sizes.snapshot_bytes > sizeof snapshot) {
        platform_print("the model is too large for this program\n");
        return 1;
    }
    CHECK(mambabyte_init(&decoder[0], blob, blob_len, state[0], sizes.state_bytes, scratch[0], sizes.scratch_bytes));
    /* More memory than needed is accepted. */
    CHECK(mambabyte_init(&decoder[1], blob, blob_len, state[1], STATE, scratch[1], SCRATCH));

    const mambabyte_sampling sampling = {45875, 62259, 50};
    const int32_t *logits = NULL;
    uint32_t all = 0xffffffffu, samples = 0xffffffffu;
    uint64_t bits = 0, shares = 0, random = 7;
    mambabyte_decoder *now = &decoder[0];
    for (size_t i = 0; i < text_len; i++) {
        if (logits != NULL) {
            uint32_t surprise, share;
            CHECK(mambabyte_surprise(logits, text[i], &surprise));
            CHECK(mambabyte_probability(logits, text[i], &share));
            bits += surprise;
            shares += share;
        }
        CHECK(mambabyte_step(now, text[i], &logits));
        for (int j = 0; j < MAMBABYTE_VOCAB; j++) {
            for (int part = 0; part < 4; part++) {
                all = crc32(all, (uint8_t)((uint32_t)logits[j] >> (8 * part)));
            }
        }
        uint8_t best, sample;
        CHECK(mambabyte_most_probable(logits, &best));
        CHECK(mambabyte_sample(logits, &sampling, &random, &sample));
        samples = crc32(crc32(samples, best), sample);
        if (i == text_len / 2) {
            size_t written = 0;
            CHECK(mambabyte_snapshot_save(now, (uint8_t *)snapshot, sizeof snapshot, &written));
            if (written != sizes.snapshot_bytes) {
                platform_print("the snapshot has another length than said\n");
                return 1;
            }
            now = &decoder[1];
            CHECK(mambabyte_snapshot_load(now, (const uint8_t *)snapshot, written));
        }
    }
    uint64_t position = 0;
    CHECK(mambabyte_position(now, &position));
    print_number("position", position);
    print_number("surprise", bits);
    print_number("probability", shares);
    print_hex("samples", samples ^ 0xffffffffu);

    /* The same again by prefill, on the first decoder, which stands half-way: the last logits must be equal. */
    CHECK(mambabyte_reset(&decoder[0]));
    const int32_t *again = NULL;
    CHECK(mambabyte_prefill(&decoder[0], text, text_len, &again));
    for (int j = 0; j < MAMBABYTE_VOCAB; j++) {
        if (again[j] != logits[j]) {
            platform_print("prefill differs from steps\n");
            return 1;
        }
    }
    uint8_t fingerprint[MAMBABYTE_FINGERPRINT];
    CHECK(mambabyte_fingerprint(now, fingerprint));
    uint32_t name = 0xffffffffu;
    for (int i = 0; i < MAMBABYTE_FINGERPRINT; i++) {
        name = crc32(name, fingerprint[i]);
    }
    print_hex("fingerprint", name ^ 0xffffffffu);
    print_hex("checksum", all ^ 0xffffffffu);
    return 0;
}
