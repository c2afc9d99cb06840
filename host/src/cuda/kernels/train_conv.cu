// Depthwise causal convolution over time with bias and SiLU, forward and back, for training.
//
//   pre[t] = bias + sum_d w[d_conv - 1 - d] x[t - d]        out[t] = silu(pre[t])
//
// Only taps d <= age[t] count: age is how many positions lie between t and the start of its document, 255 if that is
// before the row (then x[-1], x[-2] ... are the history). Layouts: x, out, dout, dx [batch, seq_len, d_inner] with a
// leading dimension each; history [batch][d_conv - 1, d_inner] f32, oldest first, with a stride between rows; w
// [d_conv, d_inner], bias [d_inner] f32. d_inner is a multiple of 8, rows start at multiples of 16 bytes.
//
// A thread owns 4 channels and STEPS steps of a row. Back, it computes `pre` of its steps again, and of the d_conv - 1
// after them; its sums over time are one row of `partial` [batch * segments, d_conv + 1, d_inner], the last the bias's.

#include "float.cuh"

struct TrainConvArgs {
    const void *x;
    void *out;
    const void *dout;
    void *dx;
    const float *w, *bias, *history;
    float *history_after;
    const unsigned char *age;
    float *partial;
    int ld_x, ld_out, ld_dout, ld_dx, d_inner, seq_len, batch, history_stride;
};

namespace {

constexpr int STEPS = 64;

template <class T, int TAPS> struct Conv {
    static constexpr bool EXACT = sizeof(T) == 4;
    const TrainConvArgs &g;
    int c, row, t0, segment;
    float w[TAPS][4], bias[4];

    __device__ __forceinline__ Conv(const TrainConvArgs &args) : g(args) {
        const unsigned i = blockIdx.x * blockDim.x + threadIdx.x, quads = g.d_inner / 4;
        segment = i / quads, c = i % quads * 4;
        const int segments = (g.seq_len + STEPS - 1) / STEPS;
        row = segment / segments, t0 = segment % segments * STEPS;
        if (row >= g.batch) return;
#pragma unroll
        for (int k = 0; k < TAPS; k++) quad(w[k], g.w + (size_t)k * g.d_inner + c);
        quad(bias, g.bias + c);
    }

    static __device__ __forceinline__ void quad(float *to, const float *from) {
        const float4 v = *(const float4 *)from;
        to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
    }
    template <class P> __device__ __forceinline__ P *at(P *p, int t, int ld) const {
        return p + ((size_t)row * g.seq_len + t) * ld + c;
    }
    __device__ __forceinline__ int age(int t) const { return g.age[(size_t)row * g.seq_len + t]; }
    // x[t]; before the row that of the history, before that nothing.
    __device__ __forceinline__ void input(float *to, int t) const {
        if (t >= 0) {
            Four<T> v;
            v.load(at((const T *)g.x, t, g.ld_x));
#pragma unroll
            for (int i = 0; i < 4; i++) to[i] = v.get(i);
        } else if (t >= 1 - TAPS) {
            quad(to, g.history + (size_t)row * g.history_stride + (size_t)(t + TAPS - 1) * g.d_inner + c);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) to[i] = 0.f;
        }
    }
    // `seen[d]` is x[t - d].
    __device__ __forceinline__ void before_silu(float *pre, const float (*seen)[4], int age) const {
#pragma unroll
        for (int i = 0; i < 4; i++) pre[i] = bias[i];
#pragma unroll
        for (int d = TAPS - 1; d >= 0; d--)
            if (d <= age)
#pragma unroll
                for (int i = 0; i < 4; i++) pre[i] = fmaf(w[TAPS - 1 - d][i], seen[d][i], pre[i]);
    }

    __device__ __forceinline__ void forward() const {
        if (row >= g.batch) return;
        float seen[TAPS][4];
#pragma unroll
        for (int d = 0; d + 1 < TAPS; d++) input(seen[d], t0 - 1 - d);
#pragma unroll 4
        for (int t = t0; t < min(t0 + STEPS, g.seq_len); t++) {
#pragma unroll
            for (int d = TAPS - 1; d > 0; d--)
#pragma unroll
                for (int i = 0; i < 4; i++) seen[d][i] = seen[d - 1][i];
            input(seen[0], t);
            float y[4];
            before_silu(y, seen, age(t));
#pragma unroll
            for (int i = 0; i < 4; i++) y[i] = silu<EXACT>(y[i]);
            Four<T>::store(at((T *)g.out, t, g.ld_out), y);
        }
    }

    __device__ __forceinline__ void back() const {
        if (row >= g.batch) return;
        float seen[TAPS][4], dpre[TAPS][4], dw[TAPS][4] = {}, dbias[4] = {}; // dpre[d]: that of t + d
        int ages[TAPS];
        const int end = min(t0 + STEPS, g.seq_len), last = min(end - 1 + TAPS - 1, g.seq_len - 1);
#pragma unroll
        for (int d = 0; d < TAPS; d++) {
            ages[d] = 0;
#pragma unroll
            for (int i = 0; i < 4; i++) dpre[d][i] = 0.f;
        }
#pragma unroll
        for (int d = 1; d < TAPS; d++) input(seen[d], last + 1 - d);
        // (Not unrolled: what nvcc 13.0.88 made of the loop unrolled twice was wrong with four taps and an even number of
        // steps.)
#pragma unroll 1
        for (int t = last; t >= t0; t--) {
            // seen[d + 1] was x[t - d] for the step after.
#pragma unroll
            for (int d = 0; d + 1 < TAPS; d++)
#pragma unroll
                for (int i = 0; i < 4; i++) seen[d][i] = seen[d + 1][i];
            input(seen[TAPS - 1], t - (TAPS - 1));
#pragma unroll
            for (int d = TAPS - 1; d > 0; d--) {
                ages[d] = ages[d - 1];
#pragma unroll
                for (int i = 0; i < 4; i++) dpre[d][i] = dpre[d - 1][i];
            }
            ages[0] = age(t);
            float pre[4];
            before_silu(pre, seen, ages[0]);
            Four<T> dout;
            dout.load(at((const T *)g.dout, t, g.ld_dout));
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float e = 1.f + ex2<EXACT>(-LOG2E * pre[i]), gate = EXACT ? __fdiv_rn(1.f, e) : rcp_approx(e);
                dpre[0][i] = dout.get(i) * (gate * fmaf(pre[i], 1.f - gate, 1.f));
            }
            if (t >= end) continue;
            float dx[4] = {};
#pragma unroll
            for (int i = 0; i < 4; i++) dbias[i] += dpre[0][i];
#pragma unroll
            for (int d = 0; d < TAPS; d++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    if (d <= ages[0]) dw[TAPS - 1 - d][i] = fmaf(dpre[0][i], seen[d][i], dw[TAPS - 1 - d][i]);
                    if (d <= ages[d]) dx[i] = fmaf(w[TAPS - 1 - d][i], dpre[d][i], dx[i]);
                }
            }
            Four<T>::store(at((T *)g.dx, t, g.ld_dx), dx);
        }
        float *to = g.partial + (size_t)segment * (TAPS + 1) * g.d_inner + c;
#pragma unroll
        for (int k = 0; k < TAPS; k++) Four<float>::store(to + (size_t)k * g.d_inner, dw[k]);
        Four<float>::store(to + (size_t)TAPS * g.d_inner, dbias);
    }

    // The last d_conv - 1 samples; zero what belongs to a document that has ended. A thread owns a sample of a channel.
    static __device__ __forceinline__ void history(const TrainConvArgs &g) {
        const unsigned i = blockIdx.x * blockDim.x + threadIdx.x, size = (TAPS - 1) * g.d_inner;
        const int row = i / size, k = i % size / g.d_inner, c = i % size % g.d_inner;
        if (row >= g.batch) return;
        const size_t place = (size_t)row * g.history_stride;
        const int distance = TAPS - 2 - k, t = g.seq_len - 1 - distance;
        float v = 0.f;
        if (distance <= g.age[(size_t)row * g.seq_len + g.seq_len - 1]) {
            if (t < 0) {
                v = g.history[place + (size_t)(t + TAPS - 1) * g.d_inner + c];
            } else {
                const T x = ((const T *)g.x)[((size_t)row * g.seq_len + t) * g.ld_x + c];
                v = sizeof(T) == 4 ? (float)x : __uint_as_float((unsigned)x << 16);
            }
        }
        g.history_after[place + (size_t)k * g.d_inner + c] = v;
    }
};

} // namespace

#define TRAIN_CONV(T, TAPS)                                                                                            \
    extern "C" __global__ void __launch_bounds__(128) train_conv_##T##_##TAPS(const TrainConvArgs args) {              \
        Conv<T, TAPS>(args).forward();                                                                                 \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) train_conv_back_##T##_##TAPS(const TrainConvArgs args) {         \
        Conv<T, TAPS>(args).back();                                                                                    \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128) train_conv_history_##T##_##TAPS(const TrainConvArgs args) {      \
        Conv<T, TAPS>::history(args);                                                                                  \
    }

TRAIN_CONV(bf16, 2)
TRAIN_CONV(bf16, 3)
TRAIN_CONV(bf16, 4)
TRAIN_CONV(float, 2)
TRAIN_CONV(float, 3)
TRAIN_CONV(float, 4)
