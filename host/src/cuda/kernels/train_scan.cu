// Selective scan for training, forward and back.
//
//   delta  = softplus(delta_raw + delta_bias)
//   h[n]   = exp(delta A[n]) h[n] + (delta u) B[n]           h = 0 before a position where a document starts
//   y      = sum_n C[n] h[n] + D u
//   out    = y silu(z)
//
// and with g the gradient of h, from the last step to the first:
//
//   dy = dout silu(z)           g[n] += dy C[n]            dC[n] = dy h[n]          dB[n] = g[n] delta u
//   q[n] = g[n] a[n]            w[n] = q[n] h_before[n]    dA_log[n] += delta w[n] A[n]
//   ddelta = u sum_n g[n] B[n] + sum_n w[n] A[n]           du = delta sum_n g[n] B[n] + dy D
//
// Layouts, row-major: u, delta_raw, z, y, out and their gradients [batch, seq_len, d_inner] with a leading dimension
// each; B, C [batch, seq_len, n_pad] with one leading dimension, n_pad the states rounded up to 8; age [batch, seq_len]
// is 0 where a document starts; the state [batch][d_inner, n_state] f32 with a stride between rows. d_inner is a multiple
// of 8; every row starts at a multiple of 16 bytes. `a` is A log2(e): [d_inner, n_state], or [d_inner] of the first state
// if decays are tied, A[n] = (n + 1) A[0].
//
// Who owns what. Q lanes of a warp share a channel, NS states each, in registers over all of time. A block has W warps,
// CB = 32 W / Q channels of one row, and walks tiles of K = 32 / NS steps. A *sweep* works on single elements: a thread
// has four channels of a step, which it copies into slots of its own a tile ahead. Forward keeps the state before each
// tile in `checkpoints`; back takes it from there, computes the tile's states again, which stay in registers, and walks it
// in reverse.
//
// Every sum has one order: over states and channels of a warp a butterfly, over warps in order of their numbers. Sums over
// the channels of a block (dB, dC) go to `dbc`, one plane a block, those over time to one row a batch row; who calls adds
// these up. Two runs have the same bits.

#include "float.cuh"

struct TrainScanArgs {
    const void *u, *delta_raw, *z, *bc;
    void *y, *out;                 // written forward; back reads y
    const void *dout;              // back
    void *du, *ddelta, *dz;        // back
    const float *a, *delta_bias, *d_skip;
    const float *h_before;         // forward
    float *h_after;                // forward
    float *checkpoints;            // [batch, tiles, channels of all blocks, Q NS]
    const unsigned char *age;
    float *dbc;                    // [channel blocks, batch, seq_len, 2 Q NS]
    float *da_log;                 // [batch, d_inner, n_state], or [batch, d_inner] if tied
    float *dd_skip, *ddelta_bias;  // [batch, d_inner]
    int ld_u, ld_delta, ld_z, ld_bc, ld_out;
    int d_inner, n_state, n_pad, seq_len, h_stride;
};

namespace {

constexpr float LN2 = 0.6931471805599453f;

template <class T> __device__ __forceinline__ void copy_quad(T *to, const T *from) {
    const unsigned at = (unsigned)__cvta_generic_to_shared(to);
    if (sizeof(T) == 2) asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(at), "l"(from) : "memory");
    else asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
}
__device__ __forceinline__ void copies_arrived() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float widen(bf16 v) { return __uint_as_float((unsigned)v << 16); }

// a if `which`, else b. In assembly, because a condition that the compiler sees becomes a branch around shuffles, and each
// shuffle of a divergent warp takes hundreds of cycles.
__device__ __forceinline__ float select(int which, float a, float b) {
    float v;
    asm("{ .reg .pred p; setp.ne.s32 p, %1, 0; selp.f32 %0, %2, %3, p; }" : "=f"(v) : "r"(which), "f"(a), "f"(b));
    return v;
}

// The sums of NV values over LANES lanes whose numbers differ in the low bits. While there are several values a lane
// gives half of them away. Afterwards a lane has `v[0 .. NV / LANES]`, at least one, from number `first_sum` on.
template <int NV, int LANES> __device__ __forceinline__ void spread_sum(float *v, int lane) {
    int left = NV;
#pragma unroll
    for (int m = 1; m < LANES; m *= 2) {
        if (left > 1) {
            left /= 2;
            const int high = lane & m;
#pragma unroll
            for (int i = 0; i < NV / 2; i++)
                if (i < left) {
                    const float give = select(high, v[i], v[i + left]), keep = select(high, v[i + left], v[i]);
                    v[i] = keep + __shfl_xor_sync(FULL, give, m);
                }
        } else {
            v[0] += __shfl_xor_sync(FULL, v[0], m);
        }
    }
}
template <int NV, int LANES> __device__ __forceinline__ int first_sum(int lane) {
    int at = 0, left = NV;
#pragma unroll
    for (int m = 1; m < LANES; m *= 2)
        if (left > 1) left /= 2, at += lane & m ? left : 0;
    return at;
}

template <class T, int Q, int NS, bool TIED, int W> struct TrainScan {
    static constexpr bool EXACT = sizeof(T) == 4;
    static constexpr int K = 32 / NS, NP = Q * NS, C = 32 / Q, CB = W * C, THREADS = 32 * W;
    static constexpr int QUADS = CB / 4, PASS = THREADS / QUADS, G = (K + PASS - 1) / PASS;
    static constexpr int BC = (K * 2 * NP + THREADS - 1) / THREADS; // elements of B and C of a thread

    struct Forward {
        float bias[CB], skip[CB], delta[K][CB], du[K][CB], y[K][CB], bc[2][K][2 * NP];
        T raw[2][3][K][CB];
    };
    struct Back {
        float bias[CB], skip[CB], sums[2][PASS][CB]; // sums: of dD and of the bias's gradient, each thread's own
        float delta[K][CB], du[K][CB], dy[K][CB], gb[K][CB], wa[K][CB], bc[2][K][2 * NP], red[W][K][2 * NP];
        T raw[2][5][K][CB];
    };

    const TrainScanArgs &g;
    int tid, c_lane, q, row, c0, ch, quad;
    float an[NS]; // A log2(e) of the lane's states
    float step_a; // tied: that of the first state

    __device__ __forceinline__ TrainScan(const TrainScanArgs &args) : g(args) {
        tid = threadIdx.x;
        c_lane = tid / 32 * C + tid % C, q = tid % 32 / C;
        row = blockIdx.y, c0 = blockIdx.x * CB, ch = c0 + c_lane, quad = tid % QUADS * 4;
        step_a = TIED && ch < g.d_inner ? g.a[ch] : 0.f;
#pragma unroll
        for (int n = 0; n < NS; n++) {
            const int s = q * NS + n;
            if (TIED) an[n] = step_a * (float)(s + 1);
            else an[n] = ch < g.d_inner && s < g.n_state ? g.a[(size_t)ch * g.n_state + s] : 0.f;
        }
    }

    // The elements of a sweep: step and first of four channels.
    __device__ __forceinline__ int step_of(int i) const { return tid / QUADS + i * PASS; }
    __device__ __forceinline__ bool has(int i) const { return PASS * G == K || step_of(i) < K; }
    __device__ __forceinline__ bool inside(int i, int t0) const {
        return has(i) && t0 + step_of(i) < g.seq_len && c0 + quad < g.d_inner;
    }
    // (32 bits, which saves registers: the caller has fewer elements than 2^32 in every array.)
    __device__ __forceinline__ unsigned place(int t, int ld) const {
        return ((unsigned)row * g.seq_len + t) * ld + c0 + quad;
    }

    // Bias and skip of the block's channels.
    template <class S> __device__ __forceinline__ void enter(S &s) const {
        for (int i = tid; i < CB; i += THREADS) {
            s.bias[i] = c0 + i < g.d_inner ? g.delta_bias[c0 + i] : 0.f;
            s.skip[i] = c0 + i < g.d_inner ? g.d_skip[c0 + i] : 0.f;
        }
        __syncthreads();
    }

    // Starts copies of one stream for the tile at t0, into this thread's slots.
    __device__ __forceinline__ void fetch(T (*slots)[CB], const void *from, int ld, int t0) const {
#pragma unroll
        for (int i = 0; i < G; i++)
            if (inside(i, t0)) copy_quad(&slots[step_of(i)][quad], (const T *)from + place(t0 + step_of(i), ld));
    }

    // B and C of the tile at t0, as f32; states that are only padding are zero.
    __device__ __forceinline__ void fetch_bc(float (*to)[2 * NP], int t0) const {
#pragma unroll
        for (int j = 0; j < BC; j++) {
            const int i = j * THREADS + tid, t = i / (2 * NP), s = i % NP, c = i / NP % 2;
            if (K * 2 * NP % THREADS != 0 && t >= K) continue;
            float v = 0.f;
            if (t0 + t < g.seq_len && s < g.n_state)
                v = widen(((const T *)g.bc)[((unsigned)row * g.seq_len + t0 + t) * g.ld_bc + c * g.n_pad + s]);
            to[t][c * NP + s] = v;
        }
    }

    // Bit t: a document starts at step t of the tile at t0.
    __device__ __forceinline__ unsigned starts(int t0) const {
        const int t = tid % 32;
        const bool start = t < K && t0 + t < g.seq_len && g.age[(unsigned)row * g.seq_len + t0 + t] == 0;
        return __ballot_sync(FULL, start);
    }

    // exp(delta A); at the start of a document nothing is left.
    __device__ __forceinline__ void decays(float delta, bool start, float *a) const {
        if (start) delta = 3e38f;
        if (TIED) {
            const float first = ex2<EXACT>(delta * step_a);
            a[0] = Q == 1 ? first : ex2<EXACT>(delta * an[0]);
#pragma unroll
            for (int n = 1; n < NS; n++) a[n] = a[n - 1] * first;
        } else {
#pragma unroll
            for (int n = 0; n < NS; n++) a[n] = ex2<EXACT>(delta * an[n]);
        }
    }

    __device__ __forceinline__ float *checkpoint(int tile, int tiles) const {
        return g.checkpoints + ((((unsigned)row * tiles + tile) * gridDim.x * CB + ch) * NP + q * NS);
    }

    // The state before a tile. Loaded twice rather than kept: registers are what there is least of.
    __device__ __forceinline__ void before(const float *from, float *h) const {
#pragma unroll
        for (int n = 0; n < NS; n += 4) {
            float4 v;
            asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                         : "l"(from + n));
            h[n] = v.x, h[n + 1] = v.y, h[n + 2] = v.z, h[n + 3] = v.w;
        }
    }

    __device__ __forceinline__ void forward(Forward &s) {
        const int len = g.seq_len, tiles = (len + K - 1) / K;
        float h[NS];
        enter(s);
        const size_t state = (size_t)row * g.h_stride + (size_t)ch * g.n_state + q * NS;
#pragma unroll
        for (int n = 0; n < NS; n++)
            h[n] = ch < g.d_inner && q * NS + n < g.n_state ? g.h_before[state + n] : 0.f;
        auto fetch_all = [&](int t0, int slot) {
            fetch(s.raw[slot][0], g.u, g.ld_u, t0);
            fetch(s.raw[slot][1], g.delta_raw, g.ld_delta, t0);
            fetch(s.raw[slot][2], g.z, g.ld_z, t0);
        };
        fetch_all(0, 0);
        fetch_bc(s.bc[0], 0);
        for (int tile = 0; tile < tiles; tile++) {
            const int t0 = tile * K, slot = tile & 1;
            copies_arrived();
#pragma unroll 1
            for (int i = 0; i < G; i++) {
                if (!has(i)) continue;
                const int t = step_of(i);
                Four<T> u, raw;
                u.load(&s.raw[slot][0][t][quad]), raw.load(&s.raw[slot][1][t][quad]);
                const bool real = inside(i, t0);
                float delta[4], du[4];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    delta[j] = real ? softplus<EXACT>(raw.get(j) + s.bias[quad + j]) : 0.f;
                    du[j] = real ? delta[j] * u.get(j) : 0.f;
                }
                Four<float>::store(&s.delta[t][quad], delta);
                Four<float>::store(&s.du[t][quad], du);
            }
            if (tile + 1 < tiles) fetch_all(t0 + K, slot ^ 1);
            const unsigned start = starts(t0);
            __syncthreads();
            float *to = checkpoint(tile, tiles);
#pragma unroll
            for (int n = 0; n < NS; n += 4) Four<float>::store(to + n, h + n);
            float y[4];
#pragma unroll
            for (int t = 0; t < K; t++) {
                const float delta = s.delta[t][c_lane], du = s.du[t][c_lane];
                float a[NS], b[NS], c[NS];
                decays(delta, start >> t & 1, a);
#pragma unroll
                for (int n = 0; n < NS; n += 4) {
                    const float4 vb = *(const float4 *)&s.bc[slot][t][q * NS + n];
                    const float4 vc = *(const float4 *)&s.bc[slot][t][NP + q * NS + n];
                    b[n] = vb.x, b[n + 1] = vb.y, b[n + 2] = vb.z, b[n + 3] = vb.w;
                    c[n] = vc.x, c[n + 1] = vc.y, c[n + 2] = vc.z, c[n + 3] = vc.w;
                }
                float sum = 0.f;
#pragma unroll
                for (int n = 0; n < NS; n++) {
                    h[n] = fmaf(a[n], h[n], du * b[n]);
                    sum = fmaf(c[n], h[n], sum);
                }
                y[t % 4] = sum;
                if (t % 4 == 3) { // the sums of four steps over the lanes of a channel
#pragma unroll
                    for (int m = C; m < 32; m *= 2)
#pragma unroll
                        for (int k = 0; k < 4; k++) y[k] += __shfl_xor_sync(FULL, y[k], m);
                    // (Every lane of the channel stores the same: a branch would cost more.)
#pragma unroll
                    for (int k = 0; k < 4; k++) s.y[t - 3 + k][c_lane] = y[k];
                }
            }
            __syncthreads();
#pragma unroll 1
            for (int i = 0; i < G; i++) {
                if (!inside(i, t0)) continue;
                const int t = step_of(i);
                Four<T> u, z;
                u.load(&s.raw[slot][0][t][quad]), z.load(&s.raw[slot][2][t][quad]);
                float sum[4], out[4];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    sum[j] = fmaf(s.skip[quad + j], u.get(j), s.y[t][quad + j]);
                    out[j] = sum[j] * silu<EXACT>(z.get(j));
                }
                Four<T>::store((T *)g.y + place(t0 + t, g.ld_out), sum);
                Four<T>::store((T *)g.out + place(t0 + t, g.ld_out), out);
            }
            if (tile + 1 < tiles) fetch_bc(s.bc[slot ^ 1], t0 + K);
        }
#pragma unroll
        for (int n = 0; n < NS; n++)
            if (ch < g.d_inner && q * NS + n < g.n_state) g.h_after[state + n] = h[n];
    }

    __device__ __forceinline__ void back(Back &s) {
        const int len = g.seq_len, tiles = (len + K - 1) / K;
        float grad[NS], da[TIED ? 1 : NS];
        float *const dskip = &s.sums[0][tid / QUADS][quad], *const dbias = &s.sums[1][tid / QUADS][quad];
#pragma unroll
        for (int i = 0; i < 4; i++) dskip[i] = dbias[i] = 0.f;
        enter(s);
        const int sum = first_sum<2 * NS, C>(tid), column = sum < NS ? q * NS + sum : NP + q * NS + sum - NS;
#pragma unroll
        for (int n = 0; n < NS; n++) grad[n] = 0.f, da[TIED ? 0 : n] = 0.f;
        auto fetch_all = [&](int t0, int slot) {
            fetch(s.raw[slot][0], g.u, g.ld_u, t0);
            fetch(s.raw[slot][1], g.delta_raw, g.ld_delta, t0);
            fetch(s.raw[slot][2], g.z, g.ld_z, t0);
            fetch(s.raw[slot][3], g.y, g.ld_out, t0);
            fetch(s.raw[slot][4], g.dout, g.ld_out, t0);
        };
        fetch_all((tiles - 1) * K, (tiles - 1) & 1);
        fetch_bc(s.bc[(tiles - 1) & 1], (tiles - 1) * K);
        for (int tile = tiles - 1; tile >= 0; tile--) {
            const int t0 = tile * K, slot = tile & 1;
            copies_arrived();
#pragma unroll 1
            for (int i = 0; i < G; i++) {
                if (!has(i)) continue;
                const int t = step_of(i);
                Four<T> u, raw, z, y, dout;
                u.load(&s.raw[slot][0][t][quad]), raw.load(&s.raw[slot][1][t][quad]);
                z.load(&s.raw[slot][2][t][quad]), y.load(&s.raw[slot][3][t][quad]);
                dout.load(&s.raw[slot][4][t][quad]);
                const bool real = inside(i, t0);
                float delta[4], du[4], dy[4], dz[4];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    delta[j] = real ? softplus<EXACT>(raw.get(j) + s.bias[quad + j]) : 0.f;
                    du[j] = real ? delta[j] * u.get(j) : 0.f;
                    const float e = 1.f + ex2<EXACT>(-LOG2E * z.get(j));
                    const float gate = EXACT ? __fdiv_rn(1.f, e) : rcp_approx(e);
                    dy[j] = real ? dout.get(j) * (z.get(j) * gate) : 0.f;
                    dz[j] = dout.get(j) * y.get(j) * (gate * fmaf(z.get(j), 1.f - gate, 1.f));
                    if (real) dskip[j] = fmaf(dy[j], u.get(j), dskip[j]);
                }
                Four<float>::store(&s.delta[t][quad], delta);
                Four<float>::store(&s.du[t][quad], du);
                Four<float>::store(&s.dy[t][quad], dy);
                if (real) Four<T>::store((T *)g.dz + place(t0 + t, g.ld_z), dz);
            }
            if (tile > 0) fetch_all(t0 - K, slot ^ 1);
            __syncthreads();
            const unsigned start = starts(t0);
            const float *from = checkpoint(tile, tiles);
            float h[K + 1][NS]; // h[t]: before step t
            before(from, h[0]);
#pragma unroll
            for (int t = 0; t < K; t++) {
                const float delta = s.delta[t][c_lane], du = s.du[t][c_lane];
                float a[NS];
                decays(delta, start >> t & 1, a);
#pragma unroll
                for (int k = 0; k < NS; k += 4) {
                    const float4 vb = *(const float4 *)&s.bc[slot][t][q * NS + k];
                    const float b[4] = {vb.x, vb.y, vb.z, vb.w};
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        h[t + 1][k + i] = fmaf(a[k + i], h[t][k + i], du * b[i]);
                }
            }
#pragma unroll
            for (int t = K - 1; t >= 0; t--) {
                const float delta = s.delta[t][c_lane], du = s.du[t][c_lane], dy = s.dy[t][c_lane];
                float a[NS], v[2 * NS], gb = 0.f, wa = 0.f;
                decays(delta, start >> t & 1, a);
                if (t == 0) before(from, h[0]);
#pragma unroll
                for (int k = 0; k < NS; k += 4) {
                    const float4 vb = *(const float4 *)&s.bc[slot][t][q * NS + k];
                    const float4 vc = *(const float4 *)&s.bc[slot][t][NP + q * NS + k];
                    const float b[4] = {vb.x, vb.y, vb.z, vb.w}, c[4] = {vc.x, vc.y, vc.z, vc.w};
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        const int n = k + i;
                        const float now = fmaf(dy, c[i], grad[n]);
                        v[n] = now * du;
                        v[NS + n] = dy * h[t + 1][n];
                        gb = fmaf(now, b[i], gb);
                        grad[n] = now * a[n];
                        const float w = grad[n] * h[t][n];
                        if (!TIED) da[n] = fmaf(w, delta, da[n]);
                        wa = fmaf(w, an[n], wa);
                    }
                }
                if (TIED) da[0] = fmaf(wa, delta, da[0]);
                spread_sum<2 * NS, C>(v, tid);
                // (Lanes that have the same sum store it to the same place: a branch would cost more.)
#pragma unroll
                for (int i = 0; i < (2 * NS > C ? 2 * NS / C : 1); i++) s.red[tid / 32][t][column + i] = v[i];
#pragma unroll
                for (int m = C; m < 32; m *= 2) {
                    gb += __shfl_xor_sync(FULL, gb, m);
                    wa += __shfl_xor_sync(FULL, wa, m);
                }
                s.gb[t][c_lane] = gb, s.wa[t][c_lane] = wa;
            }
            __syncthreads();
#pragma unroll 1
            for (int i = 0; i < G; i++) {
                if (!inside(i, t0)) continue;
                const int t = step_of(i);
                Four<T> u, raw;
                u.load(&s.raw[slot][0][t][quad]), raw.load(&s.raw[slot][1][t][quad]);
                float ddelta[4], du[4];
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const float e = 1.f + ex2<EXACT>(-LOG2E * (raw.get(j) + s.bias[quad + j]));
                    const float slope = EXACT ? __fdiv_rn(1.f, e) : rcp_approx(e), gb = s.gb[t][quad + j];
                    ddelta[j] = fmaf(gb, u.get(j), LN2 * s.wa[t][quad + j]) * slope;
                    du[j] = fmaf(gb, s.delta[t][quad + j], s.skip[quad + j] * s.dy[t][quad + j]);
                    dbias[j] += ddelta[j];
                }
                Four<T>::store((T *)g.ddelta + place(t0 + t, g.ld_delta), ddelta);
                Four<T>::store((T *)g.du + place(t0 + t, g.ld_u), du);
            }
#pragma unroll
            for (int j = 0; j < BC; j++) {
                const int i = j * THREADS + tid, t = i / (2 * NP), k = i % (2 * NP);
                if (K * 2 * NP % THREADS != 0 && t >= K) continue;
                float sum = 0.f;
#pragma unroll
                for (int w = 0; w < W; w++) sum += s.red[w][t][k];
                if (t0 + t < len)
                    g.dbc[((blockIdx.x * gridDim.y + row) * len + t0 + t) * (2 * NP) + k] = sum;
            }
            if (tile > 0) fetch_bc(s.bc[slot ^ 1], t0 - K);
        }
        if (TIED) {
#pragma unroll
            for (int m = C; m < 32; m *= 2) da[0] += __shfl_xor_sync(FULL, da[0], m);
            if (ch < g.d_inner && q == 0) g.da_log[(size_t)row * g.d_inner + ch] = LN2 * da[0];
        } else {
#pragma unroll
            for (int n = 0; n < NS; n++)
                if (ch < g.d_inner && q * NS + n < g.n_state)
                    g.da_log[((size_t)row * g.d_inner + ch) * g.n_state + q * NS + n] = LN2 * an[n] * da[TIED ? 0 : n];
        }
        // Over the threads that have the same channels, in order.
        __syncthreads();
        for (int i = tid; i < 2 * CB; i += THREADS) {
            const int which = i / CB, c = i % CB;
            float sum = 0.f;
            for (int k = 0; k < PASS; k++) sum += s.sums[which][k][c];
            if (c0 + c < g.d_inner) (which ? g.ddelta_bias : g.dd_skip)[(size_t)row * g.d_inner + c0 + c] = sum;
        }
    }
};

} // namespace

#define TRAIN_SCAN(NAME, T, Q, NS, TIED, W)                                                                            \
    extern "C" __global__ void __launch_bounds__(32 * W, 16 / W) train_scan_##NAME(const TrainScanArgs args) {         \
        extern __shared__ __align__(16) char shared[];                                                                 \
        TrainScan<T, Q, NS, TIED, W> scan(args);                                                                       \
        scan.forward(*(TrainScan<T, Q, NS, TIED, W>::Forward *)shared);                                                \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(32 * W, 16 / W)                                            \
        train_scan_back_##NAME(const TrainScanArgs args) {                                                             \
        extern __shared__ __align__(16) char shared[];                                                                 \
        TrainScan<T, Q, NS, TIED, W> scan(args);                                                                       \
        scan.back(*(TrainScan<T, Q, NS, TIED, W>::Back *)shared);                                                      \
    }

#define BOTH(T, Q, NS, W)                                                                                              \
    TRAIN_SCAN(T##_q##Q##_ns##NS##_w##W, T, Q, NS, false, W)                                                           \
    TRAIN_SCAN(T##_q##Q##_ns##NS##_w##W##_tied, T, Q, NS, true, W)

// At most 8, 16, 32 and 64 states.
BOTH(bf16, 2, 4, 8)
BOTH(bf16, 2, 4, 4)
BOTH(bf16, 4, 4, 8)
BOTH(bf16, 4, 4, 4)
BOTH(bf16, 8, 4, 4)
BOTH(bf16, 8, 8, 4)
BOTH(float, 2, 4, 4)
BOTH(float, 4, 4, 4)
BOTH(float, 8, 4, 4)
BOTH(float, 8, 8, 4)
