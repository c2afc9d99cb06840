// The element-wise functions of the integer step, one for one those of mambabyte-core (core/src/fixed.rs,
// nonlinear.rs, norm.rs, selective_scan.rs, score.rs). Plain C++ too: a test compiles this file with the system's
// compiler and compares every function with core's, to the bit, over its whole range.
//
// Shifts of negative numbers are arithmetic, and sums that may wrap go through unsigned.
#pragma once

#ifdef __CUDACC__
#define MBB_FN __host__ __device__ __forceinline__
#else
#define MBB_FN static inline
#endif

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

// core/src/tables.rs, uploaded by the host in this order; each row is padded to an even length.
struct Tables {
    i16 row_multiplier[32];
    u16 exp2[130];
    u16 log2[130];
    i16 decay[2432];
    i16 log2_softplus[514];
    u16 sigmoid[514];
    u16 rsqrt[194];
};

MBB_FN i32 leading_zeros(u64 x) {
#ifdef __CUDA_ARCH__
    return __clzll((i64)x);
#else
    return x == 0 ? 64 : __builtin_clzll(x);
#endif
}

// fixed.rs

MBB_FN i64 round_shift(i64 x, u32 shift) {
    return (i64)((u64)x + (1ull << ((shift - 1) & 63))) >> (shift & 63);
}

MBB_FN i16 saturate_i16(i64 x) { return (i16)(x > 32767 ? 32767 : x < -32767 ? -32767 : x); }

MBB_FN i32 saturate_i32(i64 x) {
    return (i32)(x > 2147483647ll ? 2147483647ll : x < -2147483648ll ? -2147483648ll : x);
}

MBB_FN i16 mul_q15(i32 a, i32 b) { return (i16)((a * b + (1 << 14)) >> 15); }

MBB_FN i64 requantize(i64 acc, u8 code, u32 base, const i16* row_multiplier) {
    return round_shift((i64)((u64)acc * (u64)(i64)row_multiplier[code & 31]), base + (code >> 5));
}

// nonlinear.rs

MBB_FN u32 exp2_fraction(u32 fraction, const u16* table) {
    u32 index = fraction >> 9, low = fraction & 511, base = table[index];
    return base + (((table[index + 1] - base) * low + 256) >> 9);
}

MBB_FN u32 log2_q16(u64 x, const u16* table) {
    x = x == 0 ? 1 : x;
    u32 exponent = 63 - leading_zeros(x);
    u64 mantissa = (x << (63 - exponent)) >> 40;
    u32 index = (u32)(mantissa >> 16) & 127, low = (u32)mantissa & 0xffff, base = table[index];
    return (exponent << 16) + base + (((table[index + 1] - base) * low + 0x8000) >> 16);
}

MBB_FN i32 log2_softplus(i32 v, const i16* softplus, const u16* log2) {
    const i32 edge = 16 << 10;
    if (v < -edge) return (i32)round_shift((i64)v * 94548, 16);
    if (v < edge) {
        u32 offset = (u32)(v + edge), index = (offset >> 6) & 511;
        i32 low = (i32)(offset & 63), base = softplus[index];
        return base + (((softplus[index + 1] - base) * low + 32) >> 6);
    }
    return ((i32)log2_q16((u64)v, log2) - (10 << 16) + 32) >> 6;
}

// The log of delta from the exact accumulator of dt_proj.
MBB_FN i16 log_delta(i64 acc, u8 code, u32 base, i16 bias, const Tables& t) {
    i64 v = requantize(acc, code, base, t.row_multiplier) + bias;
    v = v > (1 << 20) ? (1 << 20) : v < -(1 << 20) ? -(1 << 20) : v;
    return saturate_i16(log2_softplus((i32)v, t.log2_softplus, t.log2));
}

MBB_FN i16 decay(i32 l, const i16* table) {
    i32 index = (l + (15 << 10) + 4) >> 3;
    return (i16)(index < 0 ? 32767 : index < 2432 ? table[index] : 0);
}

MBB_FN i32 sigmoid(i32 x, u32 frac, const u16* table) {
    u32 position = (u32)(x < 0 ? -x : x) << (16 - (frac & 15));
    u32 index = position >> 11;
    i32 positive = 32768;
    if (index < 512) {
        i32 base = table[index];
        positive = base + (((table[index + 1] - base) * (i32)(position & 2047) + 1024) >> 11);
    }
    return x < 0 ? 32768 - positive : positive;
}

MBB_FN i16 silu(i32 x, u32 frac, const u16* table) { return (i16)((x * sigmoid(x, frac, table) + (1 << 14)) >> 15); }

// Returns r; the exponent goes to e.
MBB_FN u32 rsqrt_q23(u64 x, i32* e, const u16* table) {
    x = x == 0 ? 1 : x;
    i32 shift = leading_zeros(x) & ~1;
    u32 mantissa = (u32)((x << shift) >> 48);
    u32 index = (mantissa >> 8) - 64, low = mantissa & 255;
    u32 base = table[index], next = index < 192 ? table[index + 1] : 0;
    *e = (48 - shift) / 2;
    return base - (((base - next) * low + 128) >> 8);
}

// norm.rs

MBB_FN i64 scale_down(i64 x, u32 down) { return down == 0 ? x : round_shift(x, down); }

// The bits of the scaled stream: largest is the bitwise or of all magnitudes.
MBB_FN u32 norm_down(u64 largest) {
    i32 zeros = leading_zeros(largest);
    return (u32)(41 - (zeros < 41 ? zeros : 41));
}

MBB_FN i64 mean_of(i64 sum, i64 n) {
    i64 a = 2 * sum + n, b = 2 * n, q = a / b;
    return a % b < 0 ? q - 1 : q;
}

// r * 2^-(23 + e) of the sum of squares and eps.
MBB_FN u32 norm_scale(u64 squares, u64 eps, u32 down, i32* e, const u16* table) {
    return rsqrt_q23(squares + (down < 32 ? eps >> (2 * down) : 0), e, table);
}

// bias is 0 for RMSNorm.
MBB_FN i16 norm_element(i64 centred, u32 down, u32 r, i32 e, i16 weight, i16 bias, u32 shift) {
    i64 q = scale_down(centred, down);
    i32 normalize = 11 + e < 1 ? 1 : 11 + e;
    i64 n = round_shift((i64)((u64)(q * (i64)r) << 12), (u32)normalize);
    return saturate_i16(round_shift(n * weight, shift) + bias);
}

// conv1d.rs, after the exact sum of the taps.
MBB_FN i16 conv_silu(i32 acc, u8 code, u32 base, i16 bias, u32 frac, const i16* row_multiplier, const u16* table) {
    return silu(saturate_i16(requantize(acc, code, base, row_multiplier) + bias), frac, table);
}

// selective_scan.rs

MBB_FN i16 delta_x(i32 x, i32 log_delta, i32 base, u8 code, const u16* exp2) {
    i32 exponent = log_delta + base + 32 * (i32)code;
    u32 mantissa = exp2_fraction((u32)(exponent & 1023) << 6, exp2);
    i32 shift = 15 - (exponent >> 10);
    shift = shift < 1 ? 1 : shift > 40 ? 40 : shift;
    return saturate_i16(round_shift((i64)x * (i64)mantissa, (u32)shift));
}

// h after a byte; y += C * h is the caller's.
MBB_FN i32 state_update(i32 h, i32 a, i32 dx, i32 b) {
    i32 next = mul_q15(a, h) + mul_q15(dx, b);
    return next > 32767 ? 32767 : next < -32768 ? -32768 : next;
}

// step.rs: skip and gate, the i32 before the byte's common shift.
MBB_FN i32 gate_element(i32 y, u8 code, u32 y_shift, i32 d, i32 x, u32 d_shift, i32 silu_z, u32 gate_shift,
                        const i16* row_multiplier) {
    i64 sum = requantize(y, code, y_shift, row_multiplier) + round_shift((i64)d * x, d_shift);
    return saturate_i32(round_shift((i64)saturate_i32(sum) * silu_z, gate_shift));
}

// The common shift of a byte; largest is the bitwise or of all magnitudes.
MBB_FN u32 gate_down(u32 largest) {
    i32 zeros = leading_zeros((u64)largest) - 32;
    return (u32)(17 - (zeros < 17 ? zeros : 17));
}

MBB_FN i16 gate_element_16(i32 g, u32 down) { return down == 0 ? (i16)g : saturate_i16(round_shift(g, down)); }

MBB_FN i32 add_saturating(i32 a, i32 b) { return saturate_i32((i64)a + b); }

// score.rs

MBB_FN u64 score_weight(u64 distance, const u16* exp2) {
    u32 fraction = (u32)distance & 0xffff;
    u64 halvings = distance >> 16;
    u64 mantissa = fraction == 0 ? 1 << 16 : exp2_fraction((65536 - fraction) & 0xffff, exp2);
    return halvings > 47 ? 0 : (mantissa << 15) >> halvings;
}

// Bits in Q16: distance of the byte's logit from the largest, sum of all weights.
MBB_FN u32 score_surprise(u32 distance, u64 sum, const u16* log2) {
    u64 bits = (u64)distance + log2_q16(sum, log2);
    bits = bits < (31u << 16) ? 0 : bits - (31u << 16);
    return bits > 0xffffffffull ? 0xffffffffu : (u32)bits;
}
