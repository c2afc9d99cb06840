/* A computer: PROGRAM MODEL.mbb TEXT */
#include "platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *blob, *text;
static size_t blob_len, text_len;

const uint8_t *platform_blob(size_t *len) {
    *len = blob_len;
    return blob;
}

const uint8_t *platform_text(size_t *len) {
    *len = text_len;
    return text;
}

void platform_print(const char *words) { fputs(words, stdout); }

/* The whole file, at a multiple of 16, in memory that ends where the file ends. */
static uint8_t *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(2);
    }
    *len = (size_t)ftell(file);
    rewind(file);
    uint8_t *memory = malloc(*len);
    if (memory == NULL || ((uintptr_t)memory & 15) != 0 || fread(memory, 1, *len, file) != *len) {
        fprintf(stderr, "%s: cannot be read to aligned memory\n", path);
        exit(2);
    }
    fclose(file);
    return memory;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.mbb TEXT\n", argv[0]);
        return 2;
    }
    blob = read_file(argv[1], &blob_len);
    text = read_file(argv[2], &text_len);
    int status = test_main();
    free(blob);
    free(text);
    return status;
}
