// Training: the loss, the embedding's gradient, and sums of what blocks left, each in one order.

#include "float.cuh"

// residual[m] = embedding[symbols[m]]; embedding [vocabulary, ld] and residual [rows, ld] f32, ld a multiple of 8. A thread
// owns 4 columns of a row.
struct EmbedSymbolsArgs {
    const unsigned short *symbols;
    const float *embedding;
    float *residual;
    int rows, ld;
};

extern "C" __global__ void __launch_bounds__(256) embed_symbols(const EmbedSymbolsArgs g) {
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x, quads = g.ld / 4, row = i / quads, column = i % quads;
    if (row >= g.rows) return;
    ((float4 *)g.residual)[i] = ((const float4 *)g.embedding)[g.symbols[row] * quads + column];
}

// Cross entropy of the next byte. nats[m] = log(sum_j exp(logits[m, j])) - logits[m, next[m]], dlogits = softmax - 1[next];
// logits [rows, 256] f32. With `targets` [rows, 256], distributions: dlogits = softmax - (1 - share) 1[next] - share targets.
// A warp owns a row.
struct CrossEntropyArgs {
    const float *logits;
    const unsigned short *next;
    void *dlogits;
    float *nats;
    const float *targets;
    int rows;
    float share;
    int columns, ld; // of any other vocabulary, which has no targets: logits and dlogits are [rows, ld]
};

// A number as it is stored.
template <class T> __device__ __forceinline__ T rounded(float x) {
    if (sizeof(T) == 4) return (T)x;
    unsigned two;
    asm("cvt.rn.bf16x2.f32 %0, %1, %1;" : "=r"(two) : "f"(x));
    return (T)two;
}

// The maximum of eight values of each lane, and the warp's sum of exp(v - maximum), which v becomes.
__device__ __forceinline__ void exponentials(float v[8], float &most, float &sum) {
    most = -INFINITY, sum = 0.f;
#pragma unroll
    for (int i = 0; i < 8; i++) most = fmaxf(most, v[i]);
#pragma unroll
    for (int m = 16; m > 0; m /= 2) most = fmaxf(most, __shfl_xor_sync(FULL, most, m));
#pragma unroll
    for (int i = 0; i < 8; i++) {
        v[i] = expf(v[i] - most);
        sum += v[i];
    }
#pragma unroll
    for (int m = 16; m > 0; m /= 2) sum += __shfl_xor_sync(FULL, sum, m);
}

template <class T> __device__ __forceinline__ void cross_entropy(const CrossEntropyArgs &g) {
    const int row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= g.rows) return;
    float v[8], most, sum, chosen = 0.f;
    load8(v, g.logits + (size_t)row * 256 + lane * 8);
    const int next = g.next[row];
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (lane * 8 + i == next) chosen = v[i];
#pragma unroll
    for (int m = 16; m > 0; m /= 2) chosen += __shfl_xor_sync(FULL, chosen, m);
    exponentials(v, most, sum);
    const float scale = 1.f / sum;
    if (g.targets) {
        float t[8];
        load8(t, g.targets + (size_t)row * 256 + lane * 8);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float target = fmaf(g.share, t[i], lane * 8 + i == next ? 1.f - g.share : 0.f);
            v[i] = fmaf(v[i], scale, -target);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = fmaf(v[i], scale, lane * 8 + i == next ? -1.f : 0.f);
    }
    store8((T *)g.dlogits + (size_t)row * 256 + lane * 8, v);
    // fmaxf passes over NaN: the sum has it.
    if (lane == 0) g.nats[row] = logf(sum) + most - chosen;
}

// The same of any vocabulary.
template <class T> __device__ __forceinline__ void cross_entropy_wide(const CrossEntropyArgs &g) {
    const int row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= g.rows) return;
    const float *logits = g.logits + (size_t)row * g.ld;
    float most = -INFINITY, sum = 0.f;
#pragma unroll 4
    for (int i = lane; i < g.columns; i += 32) most = fmaxf(most, logits[i]);
#pragma unroll
    for (int m = 16; m > 0; m /= 2) most = fmaxf(most, __shfl_xor_sync(FULL, most, m));
#pragma unroll 4
    for (int i = lane; i < g.columns; i += 32) sum += expf(logits[i] - most);
#pragma unroll
    for (int m = 16; m > 0; m /= 2) sum += __shfl_xor_sync(FULL, sum, m);
    const float scale = 1.f / sum;
    const int next = g.next[row];
    T *to = (T *)g.dlogits + (size_t)row * g.ld;
#pragma unroll 4
    for (int i = lane; i < g.columns; i += 32)
        to[i] = rounded<T>(fmaf(expf(logits[i] - most), scale, i == next ? -1.f : 0.f));
    if (lane == 0) g.nats[row] = logf(sum) + most - logits[next];
}

extern "C" __global__ void __launch_bounds__(256) cross_entropy_wide_bf16(const CrossEntropyArgs g) {
    cross_entropy_wide<bf16>(g);
}
extern "C" __global__ void __launch_bounds__(256) cross_entropy_wide_float(const CrossEntropyArgs g) {
    cross_entropy_wide<float>(g);
}
extern "C" __global__ void __launch_bounds__(256) cross_entropy_bf16(const CrossEntropyArgs g) { cross_entropy<bf16>(g); }
extern "C" __global__ void __launch_bounds__(256) cross_entropy_float(const CrossEntropyArgs g) { cross_entropy<float>(g); }

// targets (+)= weight softmax(logits), [rows, 256] both: the mean of teachers' distributions. A warp owns a row.
struct SoftenArgs {
    const float *logits;
    float *targets;
    int rows, add;
    float weight;
};

extern "C" __global__ void __launch_bounds__(256) soften(const SoftenArgs g) {
    const int row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= g.rows) return;
    float v[8], t[8] = {}, most, sum;
    load8(v, g.logits + (size_t)row * 256 + lane * 8);
    exponentials(v, most, sum);
    float *targets = g.targets + (size_t)row * 256 + lane * 8;
    if (g.add) load8(t, targets);
    const float scale = g.weight / sum;
#pragma unroll
    for (int i = 0; i < 8; i++) t[i] = fmaf(v[i], scale, t[i]);
    store8(targets, t);
}

// partial[segment, byte, column] = sum of dres[m, column] over the segment's rows m whose byte it is. A thread owns a
// column and walks the rows in order; a block has 64 columns of a segment.
struct EmbedBackArgs {
    const unsigned short *symbols;
    const float *dres;
    float *partial;
    int rows, d_model, segment;
};

extern "C" __global__ void __launch_bounds__(64) embed_back(const EmbedBackArgs g) {
    extern __shared__ float sums[]; // [256][64]
    const int column = blockIdx.y * 64 + threadIdx.x, first = blockIdx.x * g.segment;
    for (int i = 0; i < 256; i++) sums[i * 64 + threadIdx.x] = 0.f;
    if (column >= g.d_model) return;
    const int last = min(first + g.segment, g.rows);
#pragma unroll 8
    for (int m = first; m < last; m++) sums[g.symbols[m] * 64 + threadIdx.x] += g.dres[(size_t)m * g.d_model + column];
    float *to = g.partial + (size_t)blockIdx.x * 256 * g.d_model + column;
    for (int i = 0; i < 256; i++) to[(size_t)i * g.d_model] = sums[i * 64 + threadIdx.x];
}

// The same of any vocabulary, without parts: grad[symbol, column] (+)= sum of dres[m, column] over the rows m = order[i] of the
// symbol, start[symbol] <= i < start[symbol + 1]. A thread owns a column and walks the rows in order; a block has 64 columns of a
// symbol.
struct EmbedBackWideArgs {
    const unsigned *order;
    const unsigned *start;
    const float *dres;
    float *grad;
    int d_model, add;
};

extern "C" __global__ void __launch_bounds__(64) embed_back_wide(const EmbedBackWideArgs g) {
    const int column = blockIdx.y * 64 + threadIdx.x;
    if (column >= g.d_model) return;
    const unsigned last = g.start[blockIdx.x + 1];
    float sum = 0.f;
#pragma unroll 8
    for (unsigned i = g.start[blockIdx.x]; i < last; i++) sum += g.dres[(size_t)g.order[i] * g.d_model + column];
    float *to = g.grad + (size_t)blockIdx.x * g.d_model + column;
    *to = g.add ? *to + sum : sum;
}

// out[group, i] = sum over the group's rows r of partial[r, i], in a fixed tree; `add`: added to out, which then has one
// group. A block has 32 columns of a group.
struct SumRowsArgs {
    const float *partial;
    float *out;
    int rows, width, ld, per_group, add;
};

extern "C" __global__ void __launch_bounds__(256) sum_rows(const SumRowsArgs g) {
    __shared__ float sums[8][32];
    const int column = blockIdx.x * 32 + threadIdx.x % 32, part = threadIdx.x / 32;
    const int first = blockIdx.y * g.per_group, last = min(first + g.per_group, g.rows);
    float sum = 0.f;
    if (column < g.width)
#pragma unroll 4
        for (int r = first + part; r < last; r += 8) sum += g.partial[(size_t)r * g.ld + column];
    sums[part][threadIdx.x % 32] = sum;
    __syncthreads();
    if (part > 0 || column >= g.width) return;
#pragma unroll
    for (int k = 1; k < 8; k++) sum += sums[k][threadIdx.x];
    float *to = g.out + (size_t)blockIdx.y * g.width + column;
    *to = g.add ? *to + sum : sum;
}

// The gradients of B and C: the planes of the scan's blocks, added in order and rounded. dbc [planes, rows, 2 np] f32, out
// [rows, 2 n_pad] with a leading dimension, np >= n_pad. A thread owns an element.
struct SumPlanesArgs {
    const float *dbc;
    void *out;
    int planes, rows, np, n_pad, ld;
};

template <class T> __device__ __forceinline__ void sum_planes(const SumPlanesArgs &g) {
    const unsigned i = blockIdx.x * 256 + threadIdx.x, row = i / (2 * g.n_pad), k = i % (2 * g.n_pad);
    if (row >= g.rows) return;
    const size_t from = (size_t)row * 2 * g.np + (k < g.n_pad ? k : g.np + k - g.n_pad);
    float sum[4] = {};
    for (int p = 0; p < g.planes; p++) sum[0] += g.dbc[(size_t)p * g.rows * 2 * g.np + from];
    ((T *)g.out)[(size_t)row * g.ld + k] = rounded<T>(sum[0]);
}

extern "C" __global__ void __launch_bounds__(256) sum_planes_bf16(const SumPlanesArgs g) { sum_planes<bf16>(g); }
extern "C" __global__ void __launch_bounds__(256) sum_planes_float(const SumPlanesArgs g) { sum_planes<float>(g); }
