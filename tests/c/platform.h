/* What the test programs need of the machine that they run on. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stddef.h>
#include <stdint.h>

/* The model under test, at a multiple of 16. */
const uint8_t *platform_blob(size_t *len);
/* The golden text. */
const uint8_t *platform_text(size_t *len);
/* Prints a text. */
void platform_print(const char *text);
/* The program; 0 if all is right. */
int test_main(void);

/* Prints `text` and a number, decimal. */
static inline void print_number(const char *text, uint64_t number) {
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (int)(number % 10));
        number /= 10;
    } while (number != 0);
    platform_print(text);
    platform_print(" ");
    platform_print(&digits[at]);
    platform_print("\n");
}

/* Prints `text` and a number, eight hexadecimal digits. */
static inline void print_hex(const char *text, uint32_t number) {
    char digits[9];
    for (int i = 0; i < 8; i++) {
        digits[i] = "0123456789abcdef"[(number >> (28 - 4 * i)) & 15];
    }
    digits[8] = '\0';
    platform_print(text);
    platform_print(" ");
    platform_print(digits);
    platform_print("\n");
}

#endif
