/* The detector through the library, beside the adapter 8K: what it says of the text must be models/text/detector.crc32.
 * Half-way it is saved and goes on in other memory. Then wrong calls: each is refused with the right status. */
#include <mambabyte.h>

#include "platform.h"

static uint64_t adapter[MAMBABYTE_ADAPTER_8K_BYTES / 8], memory[2][MAMBABYTE_DETECTOR_BYTES / 8];
static uint8_t saved[MAMBABYTE_DETECTOR_SAVED + 1];
static uint64_t passed, wrong;

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
#define HOLDS(condition) EXPECT(OK, (condition) ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY)

/* CRC-32 as in zip, one byte more. */
static uint32_t crc32(uint32_t crc, uint8_t byte) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return crc;
}

static void golden(const uint8_t *text, size_t text_len) {
    uint64_t lines = 0, alarms = 0;
    uint32_t all = 0xffffffffu;
    void *now = memory[0];
    EXPECT(OK, mambabyte_adapter_init_8k(adapter, sizeof adapter, 0));
    EXPECT(OK, mambabyte_detector_init(now, sizeof memory[0], MAMBABYTE_ONE_PERCENT, NULL));
    for (size_t i = 0; i <= text_len; i++) {
        mambabyte_verdict verdict;
        uint8_t ended = 2;
        if (i == text_len) {
            EXPECT(OK, mambabyte_detector_finish(now, &ended, &verdict));
        } else {
            /* From the middle on every 977th byte is damaged. */
            uint8_t hit = i >= text_len / 2 && (i - text_len / 2) % 977 == 0 && text[i] != '\n' ? 4 : 0;
            uint8_t byte = (uint8_t)(text[i] ^ hit);
            uint32_t bits = 0;
            EXPECT(OK, mambabyte_adapter_read(adapter, NULL, byte, NULL, &bits));
            EXPECT(OK, mambabyte_detector_push(now, byte, bits, NULL, &ended, &verdict));
        }
        if (ended == 1) {
            const uint8_t said[6] = {(uint8_t)verdict.rarity, (uint8_t)(verdict.rarity >> 8), verdict.odd,
                                     verdict.alarm,           verdict.events,                 (uint8_t)verdict.worst_at};
            for (int k = 0; k < 6; k++) {
                all = crc32(all, said[k]);
            }
            lines++;
            alarms += verdict.alarm;
            HOLDS((verdict.reason != 0) == (verdict.odd != 0));
        }
        if (i == text_len / 3) {
            EXPECT(OK, mambabyte_detector_save(now, saved, sizeof saved));
            now = memory[1];
            EXPECT(OK, mambabyte_detector_init(now, sizeof memory[1], MAMBABYTE_ONE_PERCENT, NULL));
            EXPECT(OK, mambabyte_detector_load(now, saved, MAMBABYTE_DETECTOR_SAVED));
        }
    }
    print_number("lines", lines);
    print_number("alarms", alarms);
    print_hex("verdicts", all ^ 0xffffffffu);
}

static void misuse(void) {
    uint8_t *bytes = (uint8_t *)memory[0];
    mambabyte_verdict verdict;
    uint8_t ended = 0;
    const uint32_t net = 65536;
    void *inside = bytes + 64;
    EXPECT(NULL_POINTER, mambabyte_detector_init(NULL, sizeof memory[0], 0, NULL));
    EXPECT(MISALIGNED, mambabyte_detector_init(bytes + 4, sizeof memory[0], 0, NULL));
    EXPECT(RANGE_WRAPS, mambabyte_detector_init(bytes, SIZE_MAX, 0, NULL));
    EXPECT(DETECTOR_TOO_SMALL, mambabyte_detector_init(bytes, 100, 0, NULL));
    EXPECT(NOT_INITIALISED, mambabyte_detector_init(bytes, sizeof memory[0], 0, (mambabyte_decoder *)(void *)adapter));
    EXPECT(OK, mambabyte_detector_init(bytes, sizeof memory[0], 0, NULL));
    for (size_t i = 0; i < MAMBABYTE_DETECTOR_BYTES / 8; i++) {
        memory[1][i] = memory[0][i];
    }
    void *none[4] = {NULL, bytes + 4, memory[1], adapter};
    const mambabyte_status why[4] = {MAMBABYTE_STATUS_NULL_POINTER, MAMBABYTE_STATUS_MISALIGNED,
                                     MAMBABYTE_STATUS_NOT_INITIALISED, MAMBABYTE_STATUS_NOT_INITIALISED};
    for (int i = 0; i < 4; i++) {
        expect("push", i, mambabyte_detector_push(none[i], 'a', 1, NULL, &ended, &verdict), why[i]);
        expect("finish", i, mambabyte_detector_finish(none[i], &ended, &verdict), why[i]);
        expect("set_share", i, mambabyte_detector_set_share(none[i], 1), why[i]);
        expect("save", i, mambabyte_detector_save(none[i], saved, sizeof saved), why[i]);
        expect("load", i, mambabyte_detector_load(none[i], saved, MAMBABYTE_DETECTOR_SAVED), why[i]);
    }
    EXPECT(NULL_POINTER, mambabyte_detector_push(bytes, 'a', 1, NULL, NULL, &verdict));
    EXPECT(NULL_POINTER, mambabyte_detector_push(bytes, 'a', 1, NULL, &ended, NULL));
    EXPECT(OVERLAP, mambabyte_detector_push(bytes, 'a', 1, NULL, inside, &verdict));
    EXPECT(OVERLAP, mambabyte_detector_push(bytes, 'a', 1, NULL, &ended, inside));
    EXPECT(OVERLAP, mambabyte_detector_push(bytes, 'a', 1, inside, &ended, &verdict));
    EXPECT(OVERLAP, mambabyte_detector_push(bytes, 'a', 1, NULL, (uint8_t *)&verdict, &verdict));
    EXPECT(OVERLAP, mambabyte_detector_save(bytes, inside, MAMBABYTE_DETECTOR_SAVED));
    EXPECT(BUFFER_TOO_SMALL, mambabyte_detector_save(bytes, saved, MAMBABYTE_DETECTOR_SAVED - 1));
    EXPECT(OK, mambabyte_detector_set_share(bytes, UINT32_MAX));
    EXPECT(OK, mambabyte_detector_push(bytes, 'a', UINT32_MAX, &net, &ended, &verdict));
    HOLDS(ended == 0);
    EXPECT(OK, mambabyte_detector_finish(bytes, &ended, &verdict));
    HOLDS(ended == 1 && verdict.odd == 0 && verdict.worst_byte == 'a');
    EXPECT(OK, mambabyte_detector_finish(bytes, &ended, &verdict));
    HOLDS(ended == 0);
    EXPECT(OK, mambabyte_detector_save(bytes, saved, MAMBABYTE_DETECTOR_SAVED));
    EXPECT(DETECTOR_LENGTH, mambabyte_detector_load(bytes, saved, MAMBABYTE_DETECTOR_SAVED - 1));
    EXPECT(DETECTOR_LENGTH, mambabyte_detector_load(bytes, saved, MAMBABYTE_DETECTOR_SAVED + 1));
    EXPECT(OVERLAP, mambabyte_detector_load(bytes, inside, MAMBABYTE_DETECTOR_SAVED));
    saved[0] ^= 1;
    EXPECT(DETECTOR_VERSION, mambabyte_detector_load(bytes, saved, MAMBABYTE_DETECTOR_SAVED));
    saved[0] ^= 1;
    saved[11] = 0xff;
    EXPECT(DETECTOR_OTHER, mambabyte_detector_load(bytes, saved, MAMBABYTE_DETECTOR_SAVED));
}

int test_main(void) {
    size_t text_len;
    const uint8_t *text = platform_text(&text_len);
    golden(text, text_len);
    misuse();
    print_number("passed", passed);
    return wrong == 0 ? 0 : 1;
}
