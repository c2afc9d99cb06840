// RMSNorm or LayerNorm of rows of the residual stream, which is f32 and which nothing here changes.
//
//   out = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias        RMSNorm: mean 0, no bias
//
// Layouts: x [rows, ld] f32, weight, bias [ld] f32 with zeros from d_model on, out [rows, ld]; ld is a multiple of 8.
// With `len`, row b of out is that of step len[b] - 1 of batch row b (the last one read), x being [batch, seq_len, ld].
//
// A warp owns a row of up to 1024 elements (norm_*_1), a block of four warps a longer one of up to 4096 (norm_*_4). Values
// stay in registers between the two sums; sums have a fixed tree. No thread reads what another writes.

#include "float.cuh"

struct NormArgs {
    const float *x, *weight, *bias; // bias null: RMSNorm
    void *out;
    const int *len; // null: all rows
    float eps;
    int rows, ld, d_model, seq_len;
};

namespace {

template <int WARPS> __device__ __forceinline__ float sum_of_row(float v, float *shared) {
#pragma unroll
    for (int m = 16; m > 0; m /= 2) v += __shfl_xor_sync(FULL, v, m);
    if (WARPS > 1) {
        if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
        __syncthreads();
        v = (shared[0] + shared[1]) + (shared[2] + shared[3]);
        __syncthreads();
    }
    return v;
}

template <class T, int WARPS> __device__ __forceinline__ void norm(const NormArgs &g, float *shared) {
    constexpr int LANES = 32 * WARPS, MOST = 1024 / 32 / 4; // float4s of a lane
    const int row = blockIdx.x * (4 / WARPS) + (WARPS == 1 ? threadIdx.x / 32 : 0), lane = threadIdx.x % LANES;
    if (row >= g.rows) return; // whole warps, and whole blocks if they are one row
    const size_t from = g.len ? (size_t)row * g.seq_len + max(g.len[row] - 1, 0) : row;
    const float *x = g.x + from * g.ld;
    float v[MOST][4], sum = 0.f;
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        const int i = (k * LANES + lane) * 4;
#pragma unroll
        for (int j = 0; j < 4; j++) v[k][j] = 0.f;
        if (i < g.ld) {
            const float4 f = *(const float4 *)(x + i);
            v[k][0] = f.x, v[k][1] = f.y, v[k][2] = f.z, v[k][3] = f.w;
            sum += (f.x + f.y) + (f.z + f.w);
        }
    }
    const float n = (float)g.d_model, mean = g.bias ? sum_of_row<WARPS>(sum, shared) / n : 0.f;
    float squares = 0.f;
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        const int i = (k * LANES + lane) * 4;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            v[k][j] = i + j < g.d_model ? v[k][j] - mean : 0.f;
            squares = fmaf(v[k][j], v[k][j], squares);
        }
    }
    const float variance = sum_of_row<WARPS>(squares, shared) / n;
    // Squares that overflow would make the layer zero; as a NaN they are seen in the logits.
    const float scale = variance < INFINITY ? 1.f / sqrtf(variance + g.eps) : NAN;
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        const int i = (k * LANES + lane) * 4;
        if (i >= g.ld) break;
        const float4 w = *(const float4 *)(g.weight + i);
        const float4 b = g.bias ? *(const float4 *)(g.bias + i) : make_float4(0.f, 0.f, 0.f, 0.f);
        const float out[4] = {fmaf(v[k][0] * scale, w.x, b.x), fmaf(v[k][1] * scale, w.y, b.y),
                              fmaf(v[k][2] * scale, w.z, b.z), fmaf(v[k][3] * scale, w.w, b.w)};
        Four<T>::store((T *)g.out + (size_t)row * g.ld + i, out);
    }
}

} // namespace

// (Shared memory is the kernel's own, because names in an unnamed namespace would depend on the folder.)
#define NORM(T, WARPS)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(128) norm_##T##_##WARPS(const NormArgs args) {                        \
        __shared__ float shared[4];                                                                                    \
        norm<T, WARPS>(args, shared);                                                                                  \
    }

NORM(bf16, 1)
NORM(bf16, 4)
NORM(float, 1)
NORM(float, 4)
