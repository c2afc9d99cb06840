/* Reads a text and says how surprising it was, and what most probably follows: read MODEL.mbb < TEXT */
#include <mambabyte.h>
#include <stdio.h>
#include <stdlib.h>

static mambabyte_decoder decoder;

static void check(mambabyte_status status) {
    if (status != MAMBABYTE_STATUS_OK) {
        fprintf(stderr, "mambabyte: %s\n", mambabyte_status_message(status));
        exit(1);
    }
}

/* calloc gives multiples of 16 here; on a chip these are static arrays of uint64_t and the blob lies in flash. */
static void *memory(size_t bytes) {
    void *found = calloc(1, bytes);
    if (found == NULL) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return found;
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    uint8_t header[128];
    if (file == NULL || fread(header, 1, sizeof header, file) != sizeof header) {
        fprintf(stderr, "usage: read MODEL.mbb < TEXT\n");
        return 2;
    }
    mambabyte_sizes_t sizes;
    check(mambabyte_sizes(header, sizeof header, &sizes));

    uint8_t *blob = memory((size_t)sizes.blob_bytes);
    rewind(file);
    size_t blob_len = fread(blob, 1, (size_t)sizes.blob_bytes, file);
    fclose(file);
    void *state = memory(sizes.state_bytes), *scratch = memory(sizes.scratch_bytes);
    check(mambabyte_init(&decoder, blob, blob_len, state, sizes.state_bytes, scratch, sizes.scratch_bytes));

    const int32_t *logits;
    check(mambabyte_step(&decoder, 0, &logits)); /* a stream starts after a zero byte, as in training */
    uint64_t bits = 0, bytes = 0;
    for (int c; (c = getchar()) != EOF; bytes++) {
        uint32_t surprise;
        check(mambabyte_surprise(logits, (uint8_t)c, &surprise));
        bits += surprise;
        check(mambabyte_step(&decoder, (uint8_t)c, &logits));
    }
    uint8_t next;
    check(mambabyte_most_probable(logits, &next));
    printf("%lu bytes, %.3f bits per byte; most probable next byte 0x%02x\n", (unsigned long)bytes,
           bytes == 0 ? 0.0 : (double)bits / 65536.0 / (double)bytes, next);
    free(scratch);
    free(state);
    free(blob);
    return 0;
}
