// The two ends of the model: bytes to the residual stream, logits to log-probabilities.

#include "float.cuh"
#include "sample.cuh"

// residual[m] = embedding[bytes[m]]; embedding [256, ld] and residual [rows, ld] f32, ld a multiple of 8. A thread owns
// 4 columns of a row.
struct EmbedArgs {
    const unsigned char *bytes;
    const float *embedding;
    float *residual;
    int rows, ld;
};

extern "C" __global__ void __launch_bounds__(256) embed(const EmbedArgs g) {
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x, quads = g.ld / 4, row = i / quads, column = i % quads;
    if (row >= g.rows) return;
    ((float4 *)g.residual)[i] = ((const float4 *)g.embedding)[g.bytes[row] * quads + column];
}

// log_prob[m] = logits[m, next[m]] - log(sum_j exp(logits[m, j])), natural logarithms; logits [rows, 256] f32. A warp owns
// a row; the sum has a fixed tree.
struct LogProbArgs {
    const float *logits;
    const unsigned char *next;
    float *log_prob;
    int rows;
};

extern "C" __global__ void __launch_bounds__(256) log_prob(const LogProbArgs g) {
    const int row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= g.rows) return;
    const float *logits = g.logits + (size_t)row * 256;
    const float4 a = ((const float4 *)logits)[lane], b = ((const float4 *)logits)[lane + 32];
    float most = fmaxf(fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w)), fmaxf(fmaxf(b.x, b.y), fmaxf(b.z, b.w)));
#pragma unroll
    for (int m = 16; m > 0; m /= 2) most = fmaxf(most, __shfl_xor_sync(FULL, most, m));
    float sum = ((expf(a.x - most) + expf(a.y - most)) + (expf(a.z - most) + expf(a.w - most))) +
                ((expf(b.x - most) + expf(b.y - most)) + (expf(b.z - most) + expf(b.w - most)));
#pragma unroll
    for (int m = 16; m > 0; m /= 2) sum += __shfl_xor_sync(FULL, sum, m);
    if (lane == 0) g.log_prob[row] = logits[g.next[row]] - most - logf(sum);
}

// units[i] = logit_unit(logits[i]), for the sampler of exact.cu. A thread owns an element.
struct UnitsArgs {
    const float *logits;
    int *units;
    int n;
};

extern "C" __global__ void __launch_bounds__(256) logit_units(const UnitsArgs g) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i < g.n) g.units[i] = logit_unit(g.logits[i]);
}
