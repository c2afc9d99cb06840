// The gradient of RMSNorm or LayerNorm of rows of the residual stream.
//
//   dres += inverse (dout weight - mean(dout weight) - normed mean(dout weight normed))      RMSNorm: no first mean
//
// `normed` and `inverse` are computed again from the stream. Layouts: x, dres [rows, d_model] f32; dout [rows, d_model];
// `rounded` [rows, d_model], what dres becomes, as the products want it. d_model is a multiple of 8, at most 4096.
//
// A warp owns every gridDim-th row of up to 1024 elements (train_norm_back_*_1), a block of four warps a longer one (_4).
// Sums over rows stay in registers and become one row of `partial` [blocks, 2, d_model]: of the weight and of the bias.

#include "float.cuh"

struct TrainNormArgs {
    const float *x, *weight;
    const void *dout;
    float *dres;
    void *rounded;
    float *partial;
    float eps;
    int rows, d_model, centred;
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

// QUADS: float4s of a lane.
template <class T, int WARPS, int QUADS> __device__ __forceinline__ void back(const TrainNormArgs &g, float *shared) {
    constexpr int LANES = 32 * WARPS, ROWS = 4 / WARPS;
    const int lane = threadIdx.x % LANES, d = g.d_model;
    float dweight[QUADS][4] = {}, dbias[QUADS][4] = {};
    for (int row = blockIdx.x * ROWS + threadIdx.x / LANES; row < g.rows; row += gridDim.x * ROWS) {
        const size_t from = (size_t)row * d;
        float v[QUADS][4], sum = 0.f;
#pragma unroll
        for (int k = 0; k < QUADS; k++) {
            const int i = (k * LANES + lane) * 4;
            float4 f = make_float4(0.f, 0.f, 0.f, 0.f);
            if (i < d) f = *(const float4 *)(g.x + from + i);
            v[k][0] = f.x, v[k][1] = f.y, v[k][2] = f.z, v[k][3] = f.w;
            sum += (f.x + f.y) + (f.z + f.w);
        }
        const float n = (float)d, mean = g.centred ? sum_of_row<WARPS>(sum, shared) / n : 0.f;
        float squares = 0.f;
#pragma unroll
        for (int k = 0; k < QUADS; k++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                v[k][j] = (k * LANES + lane) * 4 < d ? v[k][j] - mean : 0.f;
                squares = fmaf(v[k][j], v[k][j], squares);
            }
        const float inverse = 1.f / sqrtf(sum_of_row<WARPS>(squares, shared) / n + g.eps);
        float dw[QUADS][4], level = 0.f, along = 0.f;
#pragma unroll
        for (int k = 0; k < QUADS; k++) {
            const int i = (k * LANES + lane) * 4;
            if (i < d) {
                Four<T> dout;
                dout.load((const T *)g.dout + from + i);
                const float4 w = *(const float4 *)(g.weight + i);
                const float weight[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    v[k][j] *= inverse;
                    dweight[k][j] = fmaf(dout.get(j), v[k][j], dweight[k][j]);
                    dbias[k][j] += dout.get(j);
                    dw[k][j] = dout.get(j) * weight[j];
                    level += dw[k][j];
                    along = fmaf(dw[k][j], v[k][j], along);
                }
            }
        }
        level = g.centred ? sum_of_row<WARPS>(level, shared) / n : 0.f;
        along = sum_of_row<WARPS>(along, shared) / n;
#pragma unroll
        for (int k = 0; k < QUADS; k++) {
            const int i = (k * LANES + lane) * 4;
            if (i >= d) break;
            const float4 old = *(const float4 *)(g.dres + from + i);
            float sums[4] = {old.x, old.y, old.z, old.w};
#pragma unroll
            for (int j = 0; j < 4; j++) sums[j] += inverse * (dw[k][j] - level - v[k][j] * along);
            Four<float>::store(g.dres + from + i, sums);
            if (g.rounded) Four<T>::store((T *)g.rounded + from + i, sums);
        }
    }
    // The warps' sums, in order.
    float *to = g.partial + (size_t)blockIdx.x * 2 * d;
#pragma unroll
    for (int which = 0; which < 2; which++)
#pragma unroll
        for (int k = 0; k < QUADS; k++) {
            const int i = (k * LANES + lane) * 4;
            float sums[4];
#pragma unroll
            for (int j = 0; j < 4; j++) sums[j] = which ? dbias[k][j] : dweight[k][j];
            if (WARPS == 1) {
                __syncthreads();
                Four<float>::store(shared + threadIdx.x * 4, sums);
                __syncthreads();
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float *mine = shared + lane * 4 + j;
                    sums[j] = (mine[0] + mine[128]) + (mine[256] + mine[384]);
                }
            }
            if (i < d && threadIdx.x < LANES) Four<float>::store(to + which * d + i, sums);
        }
}

} // namespace

#define BACK(T, WARPS, QUADS)                                                                                          \
    extern "C" __global__ void __launch_bounds__(128, 2) train_norm_back_##T##_##WARPS##_##QUADS(                       \
        const TrainNormArgs args) {                                                                                    \
        __shared__ __align__(16) float shared[512];                                                                    \
        back<T, WARPS, QUADS>(args, shared);                                                                           \
    }

// Of at most 128, 512, 1024 and 4096 elements.
BACK(bf16, 1, 1)
BACK(bf16, 1, 4)
BACK(bf16, 1, 8)
BACK(bf16, 4, 8)
BACK(float, 1, 1)
BACK(float, 1, 4)
BACK(float, 1, 8)
BACK(float, 4, 8)
