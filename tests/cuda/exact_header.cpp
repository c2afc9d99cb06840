// The element-wise functions of the exact GPU mode as plain C++: reads `struct Tables` and records of i64 from standard
// input, writes the results of the function that its argument names as i64. See tests/tests/cuda_headers.rs.
#include <cstdio>
#include <cstring>
#include <vector>

#include "warp.hpp"

#include "exact.cuh"
#include "sample.cuh"

static Tables t;

// An input record of `in` numbers gives an output record of `out` numbers.
struct Function {
    const char* name;
    int in, out;
    void (*run)(const i64* a, i64* y);
};

static void norm(const i64* a, i64* y) {
    const i64 *x = a, *weight = a + 8, *bias = a + 16;
    bool layer = a[24] != 0;
    i64 sum = 0;
    for (int i = 0; i < 8; i++) sum += x[i];
    i64 mean = layer ? mean_of(sum, 8) : 0;
    u64 largest = 0, squares = 0;
    for (int i = 0; i < 8; i++) largest |= (u64)(x[i] - mean < 0 ? mean - x[i] : x[i] - mean);
    u32 down = norm_down(largest);
    for (int i = 0; i < 8; i++) {
        i64 q = scale_down(x[i] - mean, down);
        squares += (u64)(q * q);
    }
    i32 e;
    u32 r = norm_scale(squares, (u64)a[26], down, &e, t.rsqrt);
    for (int i = 0; i < 8; i++) {
        y[i] = norm_element(x[i] - mean, down, r, e, (i16)weight[i], layer ? (i16)bias[i] : (i16)0, (u32)a[25]);
    }
}

static void surprise(const i64* a, i64* y) {
    i32 largest = (i32)a[0];
    for (int i = 1; i < 256; i++) largest = (i32)a[i] > largest ? (i32)a[i] : largest;
    u64 sum = 0;
    for (int i = 0; i < 256; i++) sum += score_weight((u32)largest - (u32)(i32)a[i], t.exp2);
    y[0] = score_surprise((u32)largest - (u32)(i32)a[a[256]], sum, t.log2);
}

// 256 logits, a choice, a generator's state, and a number that is not read; every lane must choose the same byte.
static const i64* asked;
static u32 chosen[32];

static void choose_lane(int lane) {
    i32 logits[8];
    for (int i = 0; i < 8; i++) logits[i] = (i32)asked[lane * 8 + i];
    Choice how = {(u64)asked[256], (u32)asked[257], (u32)asked[258]};
    chosen[lane] = choose(logits, (u32)lane, how, (u64)asked[259], t.exp2);
}

static void choose_byte(const i64* a, i64* y) {
    asked = a;
    run_warp(choose_lane);
    *y = chosen[0];
    for (u32 byte : chosen)
        if (byte != chosen[0]) *y = -1;
}

static const Function functions[] = {
    {"round_shift", 2, 1, [](const i64* a, i64* y) { *y = round_shift(a[0], (u32)a[1]); }},
    {"saturate_i16", 1, 1, [](const i64* a, i64* y) { *y = saturate_i16(a[0]); }},
    {"saturate_i32", 1, 1, [](const i64* a, i64* y) { *y = saturate_i32(a[0]); }},
    {"mul_q15", 2, 1, [](const i64* a, i64* y) { *y = mul_q15((i32)a[0], (i32)a[1]); }},
    {"requantize", 3, 1, [](const i64* a, i64* y) { *y = requantize(a[0], (u8)a[1], (u32)a[2], t.row_multiplier); }},
    {"exp2_fraction", 1, 1, [](const i64* a, i64* y) { *y = exp2_fraction((u32)a[0], t.exp2); }},
    {"log2_q16", 1, 1, [](const i64* a, i64* y) { *y = log2_q16((u64)a[0], t.log2); }},
    {"log2_softplus", 1, 1, [](const i64* a, i64* y) { *y = log2_softplus((i32)a[0], t.log2_softplus, t.log2); }},
    {"log_delta", 4, 1, [](const i64* a, i64* y) { *y = log_delta(a[0], (u8)a[1], (u32)a[2], (i16)a[3], t); }},
    {"decay", 1, 1, [](const i64* a, i64* y) { *y = decay((i32)a[0], t.decay); }},
    {"sigmoid", 2, 1, [](const i64* a, i64* y) { *y = sigmoid((i32)a[0], (u32)a[1], t.sigmoid); }},
    {"silu", 2, 1, [](const i64* a, i64* y) { *y = silu((i32)a[0], (u32)a[1], t.sigmoid); }},
    {"rsqrt", 1, 2, [](const i64* a, i64* y) { i32 e; y[0] = rsqrt_q23((u64)a[0], &e, t.rsqrt); y[1] = e; }},
    {"norm", 27, 8, norm},
    {"conv_silu", 5, 1, [](const i64* a, i64* y) {
        *y = conv_silu((i32)a[0], (u8)a[1], (u32)a[2], (i16)a[3], (u32)a[4], t.row_multiplier, t.sigmoid); }},
    {"delta_x", 4, 1, [](const i64* a, i64* y) { *y = delta_x((i32)a[0], (i32)a[1], (i32)a[2], (u8)a[3], t.exp2); }},
    {"state_update", 4, 1, [](const i64* a, i64* y) {
        *y = state_update((i32)a[0], (i32)a[1], (i32)a[2], (i32)a[3]); }},
    {"gate", 8, 1, [](const i64* a, i64* y) {
        *y = gate_element((i32)a[0], (u8)a[1], (u32)a[2], (i32)a[3], (i32)a[4], (u32)a[5], (i32)a[6], (u32)a[7],
                          t.row_multiplier); }},
    {"gate_down", 1, 1, [](const i64* a, i64* y) { *y = gate_down((u32)a[0]); }},
    {"gate_element_16", 2, 1, [](const i64* a, i64* y) { *y = gate_element_16((i32)a[0], (u32)a[1]); }},
    {"add_saturating", 2, 1, [](const i64* a, i64* y) { *y = add_saturating((i32)a[0], (i32)a[1]); }},
    {"score_weight", 1, 1, [](const i64* a, i64* y) { *y = (i64)score_weight((u64)a[0], t.exp2); }},
    {"surprise", 257, 1, surprise},
    {"mixed", 1, 1, [](const i64* a, i64* y) { *y = (i64)mixed((u64)a[0] + RNG_STEP); }},
    {"choose", 261, 1, choose_byte},
    {"exponential", 1, 1, [](const i64* a, i64* y) { *y = (i64)exponential((u64)a[0]); }},
};

int main(int argc, char** argv) {
    if (argc != 2 || fread(&t, sizeof t, 1, stdin) != 1) return 2;
    for (const Function& f : functions) {
        if (strcmp(f.name, argv[1]) != 0) continue;
        std::vector<i64> in((size_t)f.in), out((size_t)f.out), all;
        while (fread(in.data(), sizeof(i64), in.size(), stdin) == in.size()) {
            f.run(in.data(), out.data());
            all.insert(all.end(), out.begin(), out.end());
        }
        return fwrite(all.data(), sizeof(i64), all.size(), stdout) == all.size() ? 0 : 1;
    }
    fprintf(stderr, "no function %s\n", argv[1]);
    return 2;
}
