// Depthwise causal convolution over time, bias and SiLU.
//
//   out[t] = silu(bias + sum_k w[k] * x[t - (d_conv - 1) + k])      the last tap multiplies the newest sample
//
// Layouts: x, out [batch, seq_len, d_inner] with a leading dimension each; history [batch, d_conv - 1, d_inner] f32,
// oldest first; w [d_conv, d_inner], bias [d_inner] f32. d_inner is a multiple of 8, rows start at multiples of 16 bytes.
//
// A thread owns 8 channels and 32 steps of a row and keeps the last d_conv - 1 samples in registers. Samples before step
// 0 are the history. The thread that starts at step 0 is the only one that reads a history, and it writes the new one
// (the last d_conv - 1 samples of old history and row together) when it has read it: no race, whatever the lengths.

#include "float.cuh"

struct ConvArgs {
    const void *x;
    void *out;
    const float *w, *bias;
    float *history;
    const int *len; // [batch]
    int ld_x, ld_out, d_inner, seq_len;
};

namespace {

constexpr int STEPS = 32;

template <class T, int TAPS> __device__ __forceinline__ void conv(const ConvArgs &g) {
    constexpr bool EXACT = sizeof(T) == 4;
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * 8, t0 = blockIdx.y * STEPS, row = blockIdx.z;
    const int len = min(g.len[row], g.seq_len);
    if (c >= g.d_inner || (t0 >= len && t0 > 0)) return;
    const T *x = (const T *)g.x + (size_t)row * g.seq_len * g.ld_x + c;
    T *out = (T *)g.out + (size_t)row * g.seq_len * g.ld_out + c;
    float *history = g.history + (size_t)row * (TAPS - 1) * g.d_inner + c;

    float w[TAPS][8], bias[8], old[TAPS - 1][8]; // old[0] is the oldest
#pragma unroll
    for (int k = 0; k < TAPS; k++) load8(w[k], g.w + (size_t)k * g.d_inner + c);
    load8(bias, g.bias + c);
#pragma unroll
    for (int k = 0; k < TAPS - 1; k++) {
        if (t0 == 0) load8(old[k], history + (size_t)k * g.d_inner);
        else load8(old[k], x + (size_t)(t0 - (TAPS - 1) + k) * g.ld_x);
    }
    if (t0 == 0) {
#pragma unroll
        for (int k = 0; k < TAPS - 1; k++) {
            const int t = len - (TAPS - 1) + k;
            float v[8];
            if (t >= 0) load8(v, x + (size_t)t * g.ld_x);
#pragma unroll
            for (int j = 0; j < TAPS - 1; j++)
                if (t < 0 && j == TAPS - 1 + t) {
#pragma unroll
                    for (int i = 0; i < 8; i++) v[i] = old[j][i];
                }
            store8(history + (size_t)k * g.d_inner, v);
        }
    }
#pragma unroll 4
    for (int t = t0; t < min(t0 + STEPS, len); t++) {
        float now[8], y[8];
        load8(now, x + (size_t)t * g.ld_x);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float sum = fmaf(w[TAPS - 1][i], now[i], bias[i]);
#pragma unroll
            for (int k = 0; k < TAPS - 1; k++) sum = fmaf(w[k][i], old[k][i], sum);
            y[i] = silu<EXACT>(sum);
#pragma unroll
            for (int k = 0; k < TAPS - 2; k++) old[k][i] = old[k + 1][i];
            old[TAPS - 2][i] = now[i];
        }
        store8(out + (size_t)t * g.ld_out, y);
    }
}

} // namespace

#define CONV(T, TAPS)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) conv_##T##_##TAPS(const ConvArgs args) { conv<T, TAPS>(args); }

CONV(bf16, 2)
CONV(bf16, 3)
CONV(bf16, 4)
CONV(float, 2)
CONV(float, 3)
CONV(float, 4)
