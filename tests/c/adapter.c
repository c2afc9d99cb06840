/* The adapter through the library: its checksum over the golden text, alone and with the model, must be that of
 * models/text/adapter.crc32. Then wrong calls: each is refused with the right status.
 *
 * Half-way the adapter is saved and goes on in other memory. On a chip there is one preset, and the linker drops the code of
 * the others; with ALL_PRESETS there are all.
 */
#include <mambabyte.h>

#include "platform.h"

enum { STATE = 160 * 1024, SCRATCH = 12 * 1024 };
#ifdef ALL_PRESETS
enum { MOST = MAMBABYTE_ADAPTER_1M_BYTES };
#else
enum { MOST = MAMBABYTE_ADAPTER_8K_BYTES };
#endif

typedef mambabyte_status (*init_function)(void *, size_t, uint8_t);
typedef struct {
    const char *name;
    init_function init;
    size_t bytes;
} preset;

static const preset presets[] = {
#ifdef ALL_PRESETS
    {"4K", mambabyte_adapter_init_4k, MAMBABYTE_ADAPTER_4K_BYTES},
    {"16K", mambabyte_adapter_init_16k, MAMBABYTE_ADAPTER_16K_BYTES},
    {"32K", mambabyte_adapter_init_32k, MAMBABYTE_ADAPTER_32K_BYTES},
    {"64K", mambabyte_adapter_init_64k, MAMBABYTE_ADAPTER_64K_BYTES},
    {"1M", mambabyte_adapter_init_1m, MAMBABYTE_ADAPTER_1M_BYTES},
#endif
    {"8K", mambabyte_adapter_init_8k, MAMBABYTE_ADAPTER_8K_BYTES},
};

static uint64_t state[STATE / 8], scratch[SCRATCH / 8], memory[2][MOST / 8], saved[MOST / 8 + 1];
static mambabyte_decoder decoder;
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

/* CRC-32 as in zip, one byte more. */
static uint32_t crc32(uint32_t crc, uint8_t byte) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return crc;
}

/* Reads the text with one preset, alone or with the model, and prints the checksum. */
static void golden(const preset *p, int net, const uint8_t *text, size_t text_len) {
    uint32_t all = 0xffffffffu;
    uint64_t bits = 0;
    void *now = memory[0];
    EXPECT(OK, p->init(now, p->bytes, (uint8_t)net));
    EXPECT(OK, mambabyte_reset(&decoder));
    for (size_t i = 0; i < text_len; i++) {
        const int32_t *logits = NULL;
        uint16_t nodes[MAMBABYTE_NODES], first = 0;
        uint32_t surprise = 0;
        if (net) {
            EXPECT(OK, mambabyte_step(&decoder, i == 0 ? 0 : text[i - 1], &logits));
        }
        EXPECT(OK, mambabyte_adapter_node(now, logits, 1, &first));
        EXPECT(OK, mambabyte_adapter_read(now, logits, text[i], nodes, &surprise));
        EXPECT(OK, first == nodes[0] ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
        for (int n = 0; n < MAMBABYTE_NODES; n++) {
            all = crc32(crc32(all, (uint8_t)nodes[n]), (uint8_t)(nodes[n] >> 8));
        }
        bits += surprise;
        if (i == text_len / 2) {
            size_t bytes = 0, written = 0;
            EXPECT(OK, mambabyte_adapter_saved_bytes(now, &bytes));
            EXPECT(OK, mambabyte_adapter_save(now, (uint8_t *)saved, sizeof saved, &written));
            EXPECT(OK, bytes == written ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
            now = memory[1];
            EXPECT(OK, p->init(now, MOST, (uint8_t)net));
            EXPECT(OK, mambabyte_adapter_load(now, (const uint8_t *)saved, written));
        }
    }
    /* The distribution is one: the shares of all bytes add up to 1, within what their logarithms are rounded by. */
    int32_t mixed[MAMBABYTE_VOCAB];
    uint64_t shares = 0;
    EXPECT(OK, mambabyte_adapter_distribution(now, NULL, mixed));
    for (int byte = 0; byte < MAMBABYTE_VOCAB; byte++) {
        uint32_t share = 0;
        EXPECT(OK, mambabyte_probability(mixed, (uint8_t)byte, &share));
        shares += share;
    }
    EXPECT(OK, shares > 0xfff00000u && shares < 0x100100000u ? MAMBABYTE_STATUS_OK : MAMBABYTE_STATUS_EMPTY);
    platform_print(p->name);
    print_hex(net ? " net" : " none", all ^ 0xffffffffu);
    print_number("bits", bits >> 16);
}

/* Whatever can be seen to be wrong is refused. */
static void misuse(void) {
    const preset *p = &presets[sizeof presets / sizeof presets[0] - 1];
    uint8_t *bytes = (uint8_t *)memory[0], *out = (uint8_t *)saved;
    const int32_t *inside = (const int32_t *)(const void *)(bytes + 64);
    int32_t mixed[MAMBABYTE_VOCAB];
    uint16_t nodes[MAMBABYTE_NODES];
    uint32_t bits = 0;
    size_t len = 0;
    EXPECT(NULL_POINTER, p->init(NULL, p->bytes, 0));
    EXPECT(MISALIGNED, p->init(bytes + 4, p->bytes, 0));
    EXPECT(RANGE_WRAPS, p->init(bytes, SIZE_MAX, 0));
    EXPECT(ADAPTER_TOO_SMALL, p->init(bytes, 0, 0));
    EXPECT(ADAPTER_TOO_SMALL, p->init(bytes, 1024, 0));
    EXPECT(OK, p->init(bytes, p->bytes, 0));
    /* A copy is none, nor is zeroed memory. */
    for (size_t i = 0; i < p->bytes / 8; i++) {
        memory[1][i] = memory[0][i];
    }
    EXPECT(NOT_INITIALISED, mambabyte_adapter_read(memory[1], NULL, 0, NULL, NULL));
    memory[1][0] = 0;
    void *none[4] = {NULL, bytes + 4, memory[1], state};
    const mambabyte_status why[4] = {MAMBABYTE_STATUS_NULL_POINTER, MAMBABYTE_STATUS_MISALIGNED,
                                     MAMBABYTE_STATUS_NOT_INITIALISED, MAMBABYTE_STATUS_NOT_INITIALISED};
    for (int i = 0; i < 4; i++) {
        expect("read", i, mambabyte_adapter_read(none[i], NULL, 0, nodes, &bits), why[i]);
        expect("node", i, mambabyte_adapter_node(none[i], NULL, 1, nodes), why[i]);
        expect("distribution", i, mambabyte_adapter_distribution(none[i], NULL, mixed), why[i]);
        expect("saved_bytes", i, mambabyte_adapter_saved_bytes(none[i], &len), why[i]);
        expect("save", i, mambabyte_adapter_save(none[i], out, sizeof saved, &len), why[i]);
        expect("load", i, mambabyte_adapter_load(none[i], out, 100), why[i]);
        expect("prime", i, mambabyte_adapter_prime(none[i], NULL, out, 100), why[i]);
    }
    EXPECT(OVERLAP, mambabyte_adapter_read(bytes, inside, 0, NULL, NULL));
    EXPECT(MISALIGNED, mambabyte_adapter_read(bytes, (const int32_t *)(uintptr_t)((uintptr_t)mixed + 1), 0, NULL, NULL));
    EXPECT(OVERLAP, mambabyte_adapter_read(bytes, NULL, 0, (uint16_t *)(void *)(bytes + 64), NULL));
    EXPECT(OVERLAP, mambabyte_adapter_read(bytes, NULL, 0, NULL, (uint32_t *)(void *)(bytes + 64)));
    EXPECT(OVERLAP, mambabyte_adapter_read(bytes, NULL, 0, nodes, (uint32_t *)(void *)nodes));
    EXPECT(NULL_POINTER, mambabyte_adapter_node(bytes, NULL, 1, NULL));
    EXPECT(NULL_POINTER, mambabyte_adapter_distribution(bytes, NULL, NULL));
    EXPECT(OVERLAP, mambabyte_adapter_distribution(bytes, NULL, (int32_t *)(void *)(bytes + 64)));
    EXPECT(OVERLAP, mambabyte_adapter_distribution(bytes, mixed, mixed));
    EXPECT(OK, mambabyte_adapter_saved_bytes(bytes, &len));
    EXPECT(BUFFER_TOO_SMALL, mambabyte_adapter_save(bytes, out, len - 1, NULL));
    EXPECT(OVERLAP, mambabyte_adapter_save(bytes, bytes, len, NULL));
    EXPECT(OVERLAP, mambabyte_adapter_save(bytes, out, sizeof saved, (size_t *)saved));
    EXPECT(OK, mambabyte_adapter_save(bytes, out, len, NULL));
    EXPECT(PRIMED_MAGIC, mambabyte_adapter_prime(bytes, NULL, out, len));
    EXPECT(NULL_POINTER, mambabyte_adapter_prime(bytes, NULL, NULL, len));
    EXPECT(OVERLAP, mambabyte_adapter_prime(bytes, NULL, bytes, len));
    EXPECT(NOT_INITIALISED, mambabyte_adapter_prime(bytes, (mambabyte_decoder *)saved, out, len));
    EXPECT(ADAPTER_LENGTH, mambabyte_adapter_load(bytes, out, len - 1));
    EXPECT(ADAPTER_LENGTH, mambabyte_adapter_load(bytes, out, 0));
    EXPECT(NULL_POINTER, mambabyte_adapter_load(bytes, NULL, len));
    EXPECT(OVERLAP, mambabyte_adapter_load(bytes, bytes, len));
    out[0] ^= 1;
    EXPECT(ADAPTER_PRESET, mambabyte_adapter_load(bytes, out, len));
    out[0] ^= 1;
    out[1] ^= 1;
    EXPECT(ADAPTER_VERSION, mambabyte_adapter_load(bytes, out, len));
    out[1] ^= 1;
    out[2] = 1;
    EXPECT(ADAPTER_RESERVED, mambabyte_adapter_load(bytes, out, len));
    out[2] = 0;
    EXPECT(OK, mambabyte_adapter_load(bytes, out, len));
    /* Any contents are safe. */
    for (size_t i = 4; i < len; i++) {
        out[i] = (uint8_t)(i * 73 + 255);
    }
    EXPECT(OK, mambabyte_adapter_load(bytes, out, len));
    for (int i = 0; i < 300; i++) {
        EXPECT(OK, mambabyte_adapter_read(bytes, NULL, (uint8_t)(i * 7), nodes, &bits));
    }
}

int test_main(void) {
    size_t blob_len, text_len;
    const uint8_t *blob = platform_blob(&blob_len), *text = platform_text(&text_len);
    mambabyte_sizes_t sizes;
    EXPECT(OK, mambabyte_sizes(blob, blob_len, &sizes));
    if (sizes.state_bytes > STATE || sizes.scratch_bytes > SCRATCH) {
        platform_print("the model is too large for this program\n");
        return 1;
    }
    EXPECT(OK, mambabyte_init(&decoder, blob, blob_len, state, sizes.state_bytes, scratch, sizes.scratch_bytes));
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        golden(&presets[i], 0, text, text_len);
        golden(&presets[i], 1, text, text_len);
    }
    misuse();
    print_number("passed", passed);
    return wrong == 0 ? 0 : 1;
}
