/* A Cortex-M under an emulator: vector table, start, printing and exit by semihosting. No C library. */
#include "platform.h"

/* The files are part of the program: MODEL_PATH and TEXT_PATH come from the command line of the compiler. */
__asm__(".section .rodata.files, \"a\"\n"
        ".balign 16\n"
        "model_start: .incbin \"" MODEL_PATH "\"\n"
        "model_end:\n"
        "text_start: .incbin \"" TEXT_PATH "\"\n"
        "text_end:\n"
        ".previous\n");
extern const uint8_t model_start[], model_end[], text_start[], text_end[];

/* From the linker script. */
extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18, STOPPED_BY_APPLICATION = 0x20026, STOPPED_BY_FAULT = 0x20023 };

static void semihost(uint32_t operation, uintptr_t argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

const uint8_t *platform_blob(size_t *len) {
    *len = (size_t)(model_end - model_start);
    return model_start;
}

const uint8_t *platform_text(size_t *len) {
    *len = (size_t)(text_end - text_start);
    return text_start;
}

void platform_print(const char *text) { semihost(SYS_WRITE0, (uintptr_t)text); }

void reset(void) {
    for (uint32_t *to = data_start, *from = data_load; to < data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = bss_start; to < bss_end;) {
        *to++ = 0;
    }
    *(volatile uint32_t *)0xe000ed88 |= 0xf << 20; /* CPACR: the floating-point registers may be used */
    __asm__ volatile("dsb\n isb" ::: "memory");
    semihost(SYS_EXIT, test_main() == 0 ? STOPPED_BY_APPLICATION : STOPPED_BY_FAULT);
    for (;;) {
    }
}

void fault(void) {
    platform_print("fault\n");
    semihost(SYS_EXIT, STOPPED_BY_FAULT);
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[6])(void); /* reset, NMI, HardFault, MemManage, BusFault, UsageFault */
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault}};
