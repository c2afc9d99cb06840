// Selective scan, forward: softplus, recurrence, D skip and gate in one pass over time.
//
//   delta  = softplus(delta_raw + delta_bias)
//   h[n]   = exp(delta * A[n]) * h[n] + (delta * u) * B[n]
//   out    = (sum_n C[n] * h[n] + D * u) * silu(z)
//
// Layouts, all row-major: u, delta_raw, z, out [batch, seq_len, d_inner] with a leading dimension each; B, C
// [batch, seq_len, N rounded up to 8] with one leading dimension, padding columns zero; h [batch, d_inner, N] f32.
// d_inner is a multiple of 8 (callers pad with zero weights); every row starts at a multiple of 16 bytes.
//
// Who owns what. Q lanes of a warp share a channel, NS states each, kept in registers over all of time. A block of 128
// threads has 128 / Q channels of one row and walks tiles of 8 Q steps. *Fetch*: a thread starts copies of 4 channels of 2
// neighbouring steps into its own slots of shared memory, two tiles ahead. *Enter*, one tile ahead: from these it
// computes delta and delta * u once for all Q lanes, and widens B and C to f32. *Steps*: every lane walks the tile; the Q
// partial sums of Q steps are reduced by a halving butterfly whose tree is fixed, so lane q ends with the sum of step q.
// *Leave*, one tile behind: skip and gate on the 4 channels of 2 steps, 8 or 16 bytes at a time to memory.
//
// Why there is no race. Copies are read by the thread that made them. What Enter writes is read by Steps of the next
// interval between barriers, what Steps writes by Leave of the next, and both have two buffers. No two blocks write the
// same address.
//
// Steps past a row's length become the identity: delta and delta * u are 0 (decay 1), B and C are 0. So the last state is
// that of the last real step, whatever the memory after it holds.
//
// Time split (phase > 0): launch 1 runs segment 0 whole and segments 1..k-2 from zero without output, leaving the last
// state and the sum of delta; launch 2 starts segments 1..k-1 from the states chained in order.

#include "float.cuh"

struct ScanArgs {
    const void *u, *delta, *z, *b, *c;
    void *out;
    const float *a;          // A * log2(e): [d_inner, N], or [d_inner] if the decays are tied
    const float *d_skip;     // [d_inner]
    const float *delta_bias; // [d_inner]
    float *h;                // [batch, d_inner, N], read and written
    const int *len;          // [batch], at most seq_len
    float *seg_h;            // [segments - 1, batch, d_inner, N]
    float *seg_delta;        // [segments - 1, batch, d_inner]
    int ld_u, ld_delta, ld_z, ld_bc, ld_out;
    int d_inner, seq_len, n_state;
    int seg_steps;           // steps of a segment, a multiple of 64; the last one may be shorter
    int segments, phase;     // phase 0: not split; 1 and 2: see above
};

namespace {

constexpr int THREADS = 128;

// Copies Four<T> to shared memory; visible to the copying thread after `copies_arrived`.
template <class T> __device__ __forceinline__ void copy(Four<T> *to, const T *from) {
    const unsigned s = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(s), "l"(from), "n"(sizeof(Four<T>)) : "memory");
}
__device__ __forceinline__ void copies_arrived() { asm volatile("cp.async.wait_all;" ::: "memory"); }

template <class T, int Q, int NS, bool TIED> struct Scan {
    static constexpr bool EXACT = sizeof(T) == 4;
    static constexpr int CB = THREADS / Q, TILE = 8 * Q, GROUPS = 8, NP = Q * NS;
    static constexpr int PER_ROW = CB / 4;                               // threads of a row
    static constexpr int FOURS = TILE * 2 * NP / 4, PER = (FOURS + THREADS - 1) / THREADS,
                         BC_ROWS = 2 * THREADS / NP; // fours of B and C, those of a thread, rows from one to the next
    static constexpr int V = NS < 4 ? NS : 4, Q_STRIDE = 32 / Q;

    // Channel c lies at c % 4 * COLUMN + c / 4 of a row of `step`, so that neither Enter's stores (every fourth channel) nor the loads
    // of Steps (neighbouring channels) meet in a bank.
    static constexpr int COLUMN = CB / 4 + 2;
    struct Shared {
        float4 step[2][TILE / 2][4 * COLUMN]; // delta, delta * u of two steps
        float bc[2][TILE][Q][2][NS];          // B and C by lane
        float y[2][TILE][CB + 32 / Q];        // padded so that the Q rows of one store lie in different banks
        Four<T> u[3][2][THREADS], z[3][2][THREADS], delta[2][THREADS], raw[PER][THREADS];
    };

    const ScanArgs &g;
    Shared &s;
    int tid, q, c_lane, row, c0, ch;
    int limit, limit_bc; // end of the row, counted from this thread's first step
    const T *pu, *pd, *pz, *pb;
    T *po;

    __device__ __forceinline__ Scan(const ScanArgs &args, Shared &shared) : g(args), s(shared) {}

    __device__ __forceinline__ void place(int first, int len) {
        const int r = 2 * (tid / PER_ROW), c = c0 + tid % PER_ROW * 4;
        const size_t t = (size_t)row * g.seq_len + first + r;
        pu = (const T *)g.u + t * g.ld_u + c;
        pd = (const T *)g.delta + t * g.ld_delta + c;
        pz = (const T *)g.z + t * g.ld_z + c;
        po = (T *)g.out + t * g.ld_out + c;
        limit = c < g.d_inner ? len - r : 0;
        const int tb = tid / (NP / 2), part = tid % (NP / 2), n = part % (NP / 4) * 4;
        pb = (const T *)(part < NP / 4 ? g.b : g.c) + ((size_t)row * g.seq_len + first + tb) * g.ld_bc + n;
        limit_bc = tid < FOURS && n < ((g.n_state + 7) & ~7) ? len - tb : 0;
    }

    template <bool OUTPUT> __device__ __forceinline__ void fetch(int t0, int slot) {
#pragma unroll
        for (int p = 0; p < 2; p++) {
            if (t0 + p < limit) {
                copy(&s.u[slot][p][tid], pu + p * g.ld_u);
                copy(&s.delta[p][tid], pd + p * g.ld_delta);
                if (OUTPUT) copy(&s.z[slot][p][tid], pz + p * g.ld_z);
            }
        }
#pragma unroll
        for (int i = 0; i < PER; i++) {
            if (t0 + i * BC_ROWS < limit_bc) copy(&s.raw[i][tid], pb + i * BC_ROWS * (size_t)g.ld_bc);
            else s.raw[i][tid] = Four<T>{};
        }
        pu += TILE * (size_t)g.ld_u, pd += TILE * (size_t)g.ld_delta, pb += TILE * (size_t)g.ld_bc;
        if (OUTPUT) pz += TILE * (size_t)g.ld_z;
    }

    __device__ __forceinline__ void enter(int t0, int slot, int buffer, const float *bias) {
        const int r = tid / PER_ROW, c = tid % PER_ROW;
        float d[2][4], du[2][4];
#pragma unroll
        for (int p = 0; p < 2; p++) {
            const Four<T> delta = s.delta[p][tid], u = s.u[slot][p][tid];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                d[p][i] = softplus<EXACT>(delta.get(i) + bias[i]);
                du[p][i] = d[p][i] * u.get(i);
            }
        }
        if (t0 + 1 >= limit) { // not all of it is there
#pragma unroll
            for (int p = 0; p < 2; p++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    if (t0 + p >= limit) d[p][i] = du[p][i] = 0.f;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) s.step[buffer][r][i * COLUMN + c] = make_float4(d[0][i], du[0][i], d[1][i], du[1][i]);
        const int tb = tid / (NP / 2), part = tid % (NP / 2), n = part % (NP / 4) * 4;
#pragma unroll
        for (int i = 0; i < PER; i++) {
            if (FOURS < THREADS && tid >= FOURS) break;
            const Four<T> raw = s.raw[i][tid];
#pragma unroll
            for (int k = 0; k < 4; k += V) {
                float *to = &s.bc[buffer][tb + i * BC_ROWS][(n + k) / NS][part >= NP / 4][(n + k) % NS];
#pragma unroll
                for (int j = 0; j < V; j++) to[j] = raw.get(k + j);
            }
        }
    }

    __device__ __forceinline__ void leave(int t0, int slot, int buffer, const float *skip) {
        const int r = 2 * (tid / PER_ROW), c = tid % PER_ROW * 4;
        float out[2][4];
#pragma unroll
        for (int p = 0; p < 2; p++) {
            const float4 y4 = *(const float4 *)&s.y[buffer][r + p][c];
            const float y[4] = {y4.x, y4.y, y4.z, y4.w};
            const Four<T> u = s.u[slot][p][tid], z = s.z[slot][p][tid];
#pragma unroll
            for (int i = 0; i < 4; i++) out[p][i] = fmaf(skip[i], u.get(i), y[i]) * silu<EXACT>(z.get(i));
        }
#pragma unroll
        for (int p = 0; p < 2; p++)
            if (t0 + p < limit) Four<T>::store(po + p * g.ld_out, out[p]);
        po += TILE * (size_t)g.ld_out;
    }

    // Decays of one step.
    __device__ __forceinline__ void decays(const float *a, float delta, float *out) const {
        if (!TIED) {
#pragma unroll
            for (int n = 0; n < NS; n++) out[n] = ex2<EXACT>(delta * a[n]);
        } else {
            const float r = ex2<EXACT>(delta * a[0]);
            out[0] = Q == 1 ? r : ex2<EXACT>(delta * a[1]);
            if (NS > 1) out[1] = out[0] * r;
            const float r2 = r * r;
#pragma unroll
            for (int n = 2; n < NS; n++) out[n] = Q == 1 ? out[n / 2] * out[n - 1 - n / 2] : out[n - 2] * r2;
        }
    }

    // What a lane needs of Q steps.
    struct Group {
        float2 d[Q];
        float b[Q][NS], c[Q][NS];
    };
    template <bool OUTPUT> __device__ __forceinline__ void load(int buffer, int group, Group &to) const {
#pragma unroll
        for (int i = 0; i < Q; i += 2) {
            const float4 v = s.step[buffer][(group * Q + i) / 2][c_lane % 4 * COLUMN + c_lane / 4];
            to.d[i] = make_float2(v.x, v.y), to.d[i + 1] = make_float2(v.z, v.w);
        }
#pragma unroll
        for (int i = 0; i < Q; i++) {
#pragma unroll
            for (int n = 0; n < NS; n++) {
                to.b[i][n] = s.bc[buffer][group * Q + i][q][0][n];
                if (OUTPUT) to.c[i][n] = s.bc[buffer][group * Q + i][q][1][n];
            }
        }
    }
    // Sums over the Q lanes of a channel: a halving butterfly leaves step q in lane q.
    __device__ __forceinline__ void reduce(int buffer, int group, float *y) const {
#pragma unroll
        for (int m = Q / 2; m > 0; m /= 2) {
#pragma unroll
            for (int i = 0; i < m; i++) {
                const float keep = q & m ? y[i + m] : y[i], send = q & m ? y[i] : y[i + m];
                y[i] = keep + __shfl_xor_sync(FULL, send, m * Q_STRIDE);
            }
        }
        s.y[buffer][group * Q + q][c_lane] = y[0];
    }

    // A tile. Loads and decays run one group ahead of the recurrence and sums one behind, because a warp issues in
    // order and there are few warps. Shapes with many states a lane have no registers for that, and no need.
    template <bool OUTPUT> __device__ __forceinline__ void steps(int buffer, float *h, const float *a, float &sum) const {
        constexpr bool AHEAD = Q * NS <= 16;
        Group now;
        float al[Q][NS], y_last[Q];
#pragma unroll(AHEAD ? GROUPS : 1)
        for (int group = 0; group < GROUPS; group++) {
            if (!AHEAD || group == 0) {
                load<OUTPUT>(buffer, group, now);
#pragma unroll
                for (int i = 0; i < Q; i++) decays(a, now.d[i].x, al[i]);
            }
            Group next;
            float al_next[Q][NS], y[Q];
            const bool more = AHEAD && group + 1 < GROUPS;
            if (more) load<OUTPUT>(buffer, group + 1, next);
#pragma unroll
            for (int i = 0; i < Q; i++) {
                if (more) decays(a, next.d[i].x, al_next[i]);
                float acc[2] = {0.f, 0.f};
                if (!OUTPUT) sum += now.d[i].x;
#pragma unroll
                for (int n = 0; n < NS; n++) {
                    h[n] = fmaf(al[i][n], h[n], now.d[i].y * now.b[i][n]);
                    if (OUTPUT) acc[n & 1] = n < 2 ? now.c[i][n] * h[n] : fmaf(now.c[i][n], h[n], acc[n & 1]);
                }
                y[i] = NS > 1 ? acc[0] + acc[1] : acc[0];
            }
            if (OUTPUT && AHEAD && group > 0) reduce(buffer, group - 1, y_last);
            if (OUTPUT && !AHEAD) reduce(buffer, group, y);
#pragma unroll
            for (int i = 0; i < Q; i++) {
                y_last[i] = y[i];
                if (more) {
                    now.d[i] = next.d[i];
#pragma unroll
                    for (int n = 0; n < NS; n++)
                        al[i][n] = al_next[i][n], now.b[i][n] = next.b[i][n], now.c[i][n] = next.c[i][n];
                }
            }
        }
        if (OUTPUT && AHEAD) reduce(buffer, GROUPS - 1, y_last);
    }

    template <bool OUTPUT> __device__ void run(int first, int last, int len, float *h, const float *a, float &sum) {
        float bias[4], skip[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int c = c0 + tid % PER_ROW * 4 + i;
            bias[i] = c < g.d_inner ? g.delta_bias[c] : 0.f;
            skip[i] = c < g.d_inner ? g.d_skip[c] : 0.f;
        }
        if (first >= last) return;
        place(first, len);
        fetch<OUTPUT>(first, 0);
        copies_arrived();
        enter(first, 0, 0, bias);
        if (first + TILE < last) fetch<OUTPUT>(first + TILE, 1);
        __syncthreads();
        int buffer = 0, behind = 2, ahead = 1; // slots of the tiles before and after
        for (int t0 = first; t0 < last; t0 += TILE) {
            if (OUTPUT && t0 > first) leave(t0 - TILE, behind, buffer ^ 1, skip);
            if (t0 + TILE < last) {
                copies_arrived();
                enter(t0 + TILE, ahead, buffer ^ 1, bias);
            }
            if (t0 + 2 * TILE < last) fetch<OUTPUT>(t0 + 2 * TILE, behind);
            steps<OUTPUT>(buffer, h, a, sum);
            __syncthreads();
            buffer ^= 1;
            const int present = 3 - behind - ahead;
            behind = present, ahead = 3 - present - ahead;
        }
        if (OUTPUT) leave(last - 1 - (last - 1 - first) % TILE, behind, buffer ^ 1, skip);
    }

    __device__ __forceinline__ void load_h(float *h, const float *from) const {
#pragma unroll
        for (int n = 0; n < NS; n++) h[n] = ch < g.d_inner && q * NS + n < g.n_state ? from[q * NS + n] : 0.f;
    }
    __device__ __forceinline__ void store_h(const float *h, float *to) const {
#pragma unroll
        for (int n = 0; n < NS; n++)
            if (ch < g.d_inner && q * NS + n < g.n_state) to[q * NS + n] = h[n];
    }

    __device__ __forceinline__ void block() {
        tid = threadIdx.x;
        c_lane = tid / 32 * (32 / Q) + tid % (32 / Q), q = tid % 32 / (32 / Q);
        row = blockIdx.y, c0 = blockIdx.x * CB, ch = c0 + c_lane;
        const int len = min(g.len[row], g.seq_len);
        float a[NS < 2 ? 2 : NS], h[NS], sum = 0.f;
        if (TIED) {
            a[0] = ch < g.d_inner ? g.a[ch] : 0.f;
            a[1] = a[0] * (float)(q * NS + 1);
        } else {
#pragma unroll
            for (int n = 0; n < NS; n++)
                a[n] = ch < g.d_inner && q * NS + n < g.n_state ? g.a[(size_t)ch * g.n_state + q * NS + n] : 0.f;
        }
        const size_t at = (size_t)row * g.d_inner + ch, plane = (size_t)gridDim.y * g.d_inner;
        const int segment = blockIdx.z + (g.phase == 2);
        const int first = min(segment * g.seg_steps, len);
        const int last = segment == g.segments - 1 ? len : min(first + g.seg_steps, len);
        if (g.phase == 1 && segment > 0) {
#pragma unroll
            for (int n = 0; n < NS; n++) h[n] = 0.f;
            run<false>(first, last, len, h, a, sum);
            store_h(h, g.seg_h + (segment * plane + at) * g.n_state);
            if (ch < g.d_inner && q == 0) g.seg_delta[segment * plane + at] = sum;
            return;
        }
        if (g.phase == 2) {
            load_h(h, g.seg_h + at * g.n_state);
#pragma unroll 1
            for (int s = 1; s < segment; s++) {
                float al[NS], e[NS];
                const float total = ch < g.d_inner ? g.seg_delta[s * plane + at] : 0.f;
                load_h(e, g.seg_h + (s * plane + at) * g.n_state);
                decays(a, total, al);
#pragma unroll
                for (int n = 0; n < NS; n++) h[n] = fmaf(al[n], h[n], e[n]);
            }
        } else {
            load_h(h, g.h + at * g.n_state);
        }
        run<true>(first, last, len, h, a, sum);
        if (g.phase == 1) store_h(h, g.seg_h + at * g.n_state);
        else if (segment == g.segments - 1) store_h(h, g.h + at * g.n_state);
    }
};

} // namespace

#define SCAN(NAME, T, Q, NS, TIED)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, 4) NAME(const ScanArgs args) {                                  \
        extern __shared__ __align__(16) char shared[];                                                                 \
        Scan<T, Q, NS, TIED> scan(args, *(Scan<T, Q, NS, TIED>::Shared *)shared);                                      \
        scan.block();                                                                                                  \
    }

#define BOTH(T, Q, NS) SCAN(scan_##T##_q##Q##_ns##NS, T, Q, NS, false) SCAN(scan_##T##_q##Q##_ns##NS##_tied, T, Q, NS, true)

// At most 16 states, 8, 32 and 64. Two lanes a channel are the fastest where there are channels enough.
BOTH(bf16, 2, 8)
BOTH(bf16, 4, 4)
BOTH(bf16, 2, 4)
BOTH(bf16, 4, 2)
BOTH(bf16, 8, 4)
BOTH(bf16, 8, 8)
BOTH(float, 4, 2)
BOTH(float, 4, 4)
BOTH(float, 8, 4)
BOTH(float, 8, 8)
