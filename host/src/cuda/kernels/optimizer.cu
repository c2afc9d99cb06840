// Training: the norm of the gradient, clipping, AdamW, what surrounds Muon's products, and the average of the weights.
//
// All parameters lie in one array; so do their gradients, moments, average and, for the products, their bf16. Every sum has
// a fixed tree.

#include "float.cuh"

// What a step came to; `factor` is what gradients of the summed loss are multiplied by. With `good` 0 nothing is changed.
struct Outcome {
    double nats, norm;
    float factor;
    int good;
};

namespace {

__device__ __forceinline__ double sum_of_block(double v, double *shared) {
#pragma unroll
    for (int m = 16; m > 0; m /= 2) v += __shfl_xor_sync(FULL, v, m);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
    __syncthreads();
    v = 0.;
#pragma unroll
    for (int k = 0; k < 8; k++) v += shared[k];
    __syncthreads();
    return v;
}

template <class T> __device__ __forceinline__ void put(T *to, float v);
template <> __device__ __forceinline__ void put(float *to, float v) { *to = v; }
template <> __device__ __forceinline__ void put(bf16 *to, float v) {
    unsigned two;
    asm("cvt.rn.bf16x2.f32 %0, %1, %1;" : "=r"(two) : "f"(v));
    *to = (bf16)two;
}
__device__ __forceinline__ float get(const float *from) { return *from; }
__device__ __forceinline__ float get(const bf16 *from) { return __uint_as_float((unsigned)*from << 16); }

} // namespace

// partial[block] = sum of values, or of their squares.
struct TotalArgs {
    const float *values;
    double *partial;
    long long n;
    int squares;
};

extern "C" __global__ void __launch_bounds__(256) total(const TotalArgs g) {
    __shared__ double shared[8];
    double sum = 0.;
    for (long long i = blockIdx.x * 256 + threadIdx.x; i < g.n; i += gridDim.x * 256) {
        const double v = g.values[i];
        sum += g.squares ? v * v : v;
    }
    sum = sum_of_block(sum, shared);
    if (threadIdx.x == 0) g.partial[blockIdx.x] = sum;
}

// The norm of the mean loss's gradient, and by how much it is scaled. One block.
struct JudgeArgs {
    const double *squares, *nats; // [256] each
    Outcome *outcome;
    double mean, limit; // 1 / targets, largest norm
};

extern "C" __global__ void __launch_bounds__(256) judge(const JudgeArgs g) {
    __shared__ double shared[8];
    const double squares = sum_of_block(g.squares[threadIdx.x], shared), nats = sum_of_block(g.nats[threadIdx.x], shared);
    if (threadIdx.x > 0) return;
    const double norm = sqrt(squares) * g.mean;
    *g.outcome = Outcome{nats, norm, (float)(norm > g.limit ? g.mean * (g.limit / norm) : g.mean),
                         norm < INFINITY && fabs(nats) < INFINITY};
}

// AdamW over n parameters, of which the first `decaying` decay; then the average and the bf16 copy, if there is one.
struct AdamwArgs {
    float *w;
    const float *grad;
    float *m, *v, *average;
    bf16 *rounded;
    const Outcome *outcome;
    long long n, decaying;
    float keep, rate, c0, c1, share;
};

extern "C" __global__ void __launch_bounds__(256) adamw(const AdamwArgs g) {
    if (!g.outcome->good) return;
    const float factor = g.outcome->factor;
    for (long long i = blockIdx.x * 256 + threadIdx.x; i < g.n; i += gridDim.x * 256) {
        const float grad = g.grad[i] * factor;
        const float m = 0.9f * g.m[i] + (1.f - 0.9f) * grad, v = 0.95f * g.v[i] + (1.f - 0.95f) * grad * grad;
        g.m[i] = m, g.v[i] = v;
        const float w = (i < g.decaying ? g.keep : 1.f) * g.w[i] - g.rate * (m * g.c0) / (sqrtf(v * g.c1) + 1e-8f);
        g.w[i] = w;
        g.average[i] += g.share * (w - g.average[i]);
        if (g.rounded) put(g.rounded + i, w);
    }
}

// Muon, before its products: m = 0.95 m + g, x = g + 0.95 m; partial[matrix, block]: sums of squares of x. `size`: of a
// matrix; blockIdx.y is the matrix.
struct MuonBeginArgs {
    const float *grad;
    float *m, *x;
    double *partial;
    const Outcome *outcome;
    long long size;
};

extern "C" __global__ void __launch_bounds__(256) muon_begin(const MuonBeginArgs g) {
    __shared__ double shared[8];
    if (!g.outcome->good) return;
    const float factor = g.outcome->factor;
    const long long base = blockIdx.y * g.size;
    double sum = 0.;
    for (long long i = blockIdx.x * 256 + threadIdx.x; i < g.size; i += gridDim.x * 256) {
        const float grad = g.grad[base + i] * factor, m = 0.95f * g.m[base + i] + grad, x = grad + 0.95f * m;
        g.m[base + i] = m, g.x[base + i] = x;
        sum += (double)x * x;
    }
    sum = sum_of_block(sum, shared);
    if (threadIdx.x == 0) g.partial[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// out = x / (|x| + 1e-7), every matrix by itself.
struct MuonScaleArgs {
    const float *x;
    void *out;
    const double *partial;
    const Outcome *outcome;
    long long size;
};

template <class T> __device__ __forceinline__ void muon_scale(const MuonScaleArgs &g) {
    if (!g.outcome->good) return;
    double sum = 0.;
    for (int k = 0; k < gridDim.x; k++) sum += g.partial[blockIdx.y * gridDim.x + k];
    const double norm = sqrt(sum) + 1e-7;
    const long long base = blockIdx.y * g.size;
    for (long long i = blockIdx.x * 256 + threadIdx.x; i < g.size; i += gridDim.x * 256)
        put((T *)g.out + base + i, (float)(g.x[base + i] / norm));
}

extern "C" __global__ void __launch_bounds__(256) muon_scale_bf16(const MuonScaleArgs g) { muon_scale<bf16>(g); }
extern "C" __global__ void __launch_bounds__(256) muon_scale_float(const MuonScaleArgs g) { muon_scale<float>(g); }

// After them: w = keep w - scale update, then the average and the bf16 copy.
struct MuonEndArgs {
    float *w;
    const void *update;
    float *average;
    bf16 *rounded;
    const Outcome *outcome;
    long long n;
    float keep, scale, share;
};

template <class T> __device__ __forceinline__ void muon_end(const MuonEndArgs &g) {
    if (!g.outcome->good) return;
    for (long long i = blockIdx.x * 256 + threadIdx.x; i < g.n; i += gridDim.x * 256) {
        const float w = g.keep * g.w[i] - g.scale * get((const T *)g.update + i);
        g.w[i] = w;
        g.average[i] += g.share * (w - g.average[i]);
        if (g.rounded) put(g.rounded + i, w);
    }
}

extern "C" __global__ void __launch_bounds__(256) muon_end_bf16(const MuonEndArgs g) { muon_end<bf16>(g); }
extern "C" __global__ void __launch_bounds__(256) muon_end_float(const MuonEndArgs g) { muon_end<float>(g); }

// Rounding in the loop, in place: w = s round(w / s) with s the largest of a group over `largest`; and the bf16 copy, if there
// is one. A group is `group` columns of a row, or what is left of it. A warp owns a group. train/rounding.rs computes the same
// bits.
struct RoundArgs {
    float *w;
    bf16 *rounded;
    long long groups;
    int columns, group;
    float largest;
};

extern "C" __global__ void __launch_bounds__(256) round_weights(const RoundArgs g) {
    const long long index = (long long)blockIdx.x * 8 + threadIdx.x / 32;
    if (index >= g.groups) return;
    const int each = (g.columns + g.group - 1) / g.group, lane = threadIdx.x % 32, part = index % each;
    const long long from = index / each * g.columns + part * g.group;
    const int len = min(g.group, g.columns - part * g.group);
    float most = 0.f;
    for (int i = lane; i < len; i += 32) most = fmaxf(most, fabsf(g.w[from + i]));
#pragma unroll
    for (int m = 16; m > 0; m /= 2) most = fmaxf(most, __shfl_xor_sync(FULL, most, m));
    const float scale = __fdiv_rn(most, g.largest);
    const bool some = scale > 0.f && scale < INFINITY;
    for (int i = lane; i < len; i += 32) {
        float w = g.w[from + i];
        if (some) g.w[from + i] = w = __fmul_rn(rintf(__fdiv_rn(w, scale)), scale);
        if (g.rounded) put(g.rounded + from + i, w);
    }
}

// a[i] = -exp(a_log[i]) log2(e), as the scans want it.
struct DecaysArgs {
    const float *a_log;
    float *a;
    long long n;
};

extern "C" __global__ void __launch_bounds__(256) decays(const DecaysArgs g) {
    const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
    if (i < g.n) g.a[i] = -expf(g.a_log[i]) * LOG2E;
}
