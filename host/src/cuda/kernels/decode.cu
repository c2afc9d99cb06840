// nvcc: --fmad=false
// Decode and verify: all layers of up to 32 columns in one persistent kernel, weights read once per pass.
//
// A *column* is one byte of one stream. Decoding a batch has a column per stream; verifying a draft has a column per
// drafted byte. Columns of one stream are neighbours, oldest first. All arithmetic of a column is the same in both, in
// the same order, and no sum runs over columns: verifying K bytes gives the bits of K times decoding one.
//
// Matrices are cut into tiles of 16 x 16. A block owns tiles of rows, its 16 warps share the columns of these rows
// (k-tile t belongs to warp t mod 16), and partial sums are added in the order of warps. Which block owns which rows
// depends on the size of the grid; no sum does.
//
// Weights: each warp reads one contiguous stream per pass, in the order in which it uses them, through a ring in shared
// memory that bulk copies refill. The ring runs ahead across exchanges, so memory never waits for a barrier.
//
// Exchange between blocks: there is no grid barrier. Every 4 bytes travel with a 4-byte number of the layer and pass,
// in one 8-byte store, and the reader repeats its load until it sees the number that it waits for. A buffer is written
// again only after values that depend on all its readers have come back (each exchange is all-to-all), so one copy of
// each buffer is enough. Four exchanges per layer:
//
//   res -> in_proj, conv, SiLU -> u -> x_proj -> dt, B, C -> dt_proj, scan, gate -> g -> out_proj -> res
//
// The scale of the norm is one number per column and is applied after in_proj (and the head):
// W (w * (r - mean)) s + W b = s (W (w r) - mean (W w)) + W b. So blocks send w * r and sums of r and r^2.
//
// Every wait is bounded and ends in a trap. Compiled without contraction of products and sums, so that kernels of
// different widths compute the same. Needs compute capability 9.0 (bulk copies).

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

namespace decode {

typedef unsigned char uint8_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

constexpr int WARPS = 16;
constexpr int THREADS = WARPS * 32;
constexpr int CHUNK = 2048;       // bytes of one bulk copy
constexpr int UNIT = 512;         // bytes that a warp takes at once: 16 per lane
constexpr int ROWS = 16;          // rows and columns of a tile
constexpr uint32_t PATIENCE = 1u << 23; // polls until the trap: seconds

struct Params {
    // Shape. k* are numbers of tiles: of d_model, d_inner, dt_rank (rounded up), of the rows of B and C.
    int d_model, d_inner, d_state, d_conv, n_layer, km, ki, kd, kbc;
    int layer_norm;
    float eps;
    // This launch.
    int columns, passes, commit;
    uint32_t epoch;
    float temperature;
    unsigned long long seed, position;
    // Weights.
    const uint8_t* stream;
    const unsigned long long* stream_at; // [grid * WARPS + 1], multiples of CHUNK
    const float* embedding;              // [256, km * 16]
    const float* norm;                   // [n_layer + 1, km * 16]
    const float* in_scale;               // [n_layer, 2, ki * 16]; 1 for bf16
    const float* in_sum;                 // [n_layer, 2, ki * 16]: W w
    const float* in_bias;                // [n_layer, 2, ki * 16]: W b
    const float* x_scale;                // [n_layer, (kd + kbc) * 16]
    const float* dt_scale;               // [n_layer, ki * 16]
    const float* out_scale;              // [n_layer, km * 16]
    const float* head_scale;             // [256]
    const float* head_sum;               // [256]
    const float* head_bias;              // [256]
    const float* conv;                   // [n_layer, d_conv, ki * 16]
    const float* conv_bias;              // [n_layer, ki * 16]
    const float* dt_bias;                // [n_layer, ki * 16]
    const float* a;                      // [n_layer, ki * 16, d_state]: -exp(A_log) log2(e)
    const float* d_skip;                 // [n_layer, ki * 16]
    // Exchange buffers.
    uint2* res;    // operand [km]
    uint4* sums;   // [km, 32]: sum and sum of squares of 16 rows
    uint2* u;      // operand [ki]
    uint2* dt;     // operand [kd]
    uint2* bc;     // [kbc * 16, 32]
    uint2* g;      // operand [ki]
    uint2* logits; // [256, 32]
    // Columns.
    const int* stream_of; // [columns]
    const int* first_of;  // [columns]: first column of the same stream
    const uint8_t* bytes; // [columns]
    // State of each stream and layer, and the distance from one to the next in elements.
    float* history; // [d_conv - 1, d_inner]
    float* h;       // [d_inner, d_state]
    uint64_t history_stream, history_layer, h_stream, h_layer;
    // What a later accept replays: [n_layer, columns, ..]; null when this launch commits.
    float* kept_x;     // [ki * 16], before the convolution
    float* kept_u;     // [ki * 16]
    float* kept_delta; // [ki * 16]
    float* kept_b;     // [d_state]
    // Results.
    float* out_logits;  // [passes, columns, 256] or null
    uint8_t* out_bytes; // [passes, columns] or null: then nothing is sampled and passes is 1
    // For `accept`: [columns], how many of the columns that start here.
    const int* accepted;
};
static_assert(sizeof(Params) == 16 * 4 + 43 * 8, "params.rs has the same fields");

__device__ __forceinline__ uint32_t shared_address(const void* p) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + exp2_fast(-1.44269504f * x)); }

__device__ __forceinline__ float softplus(float v) { return v > 20.0f ? v : log1pf(exp2_fast(1.44269504f * v)); }

/// One state, one byte. `accept` replays exactly this.
__device__ __forceinline__ float scan_step(float h, float delta, float a, float dx, float b) {
    return __fmaf_rn(exp2_fast(__fmul_rn(delta, a)), h, __fmul_rn(dx, b));
}

// Exchange ------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void put(uint2* at, uint32_t data, uint32_t epoch) {
    unsigned long long both = static_cast<unsigned long long>(epoch) << 32 | data;
    asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(at), "l"(both) : "memory");
}

__device__ __forceinline__ void put_float(uint2* at, float x, uint32_t epoch) { put(at, __float_as_uint(x), epoch); }

__device__ __forceinline__ unsigned long long look(const uint2* at) {
    unsigned long long both;
    asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(both) : "l"(at) : "memory");
    return both;
}

__device__ __forceinline__ void look2(const uint2* at, unsigned long long& a, unsigned long long& b) {
    asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];" : "=l"(a), "=l"(b) : "l"(at) : "memory");
}

__device__ __forceinline__ bool is(unsigned long long both, uint32_t epoch) {
    return static_cast<uint32_t>(both >> 32) == epoch;
}

__device__ __forceinline__ float get_float(const uint2* at, uint32_t epoch) {
    for (uint32_t polls = 0;; polls++) {
        unsigned long long both = look(at);
        if (is(both, epoch)) return __uint_as_float(static_cast<uint32_t>(both));
        if (polls > PATIENCE) __trap();
    }
}

/// Index of the word of rows `2 * pair` and `2 * pair + 1` of k-tile `tile`, column `n`, in the order in which a lane
/// needs them as the second operand of `mma.m16n8k16`.
template <int NT>
__device__ __forceinline__ int word(int tile, int n, int pair) {
    return (((tile * NT + n / 8) * 32 + (n % 8) * 4 + pair % 4) << 1) + pair / 4;
}

/// Two bf16, rounded to nearest even.
__device__ __forceinline__ uint32_t pack(float low, float high) {
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// Weights -------------------------------------------------------------------------------------------------------------

/// Of one warp's weights, what its first lane needs to ask for more.
struct Supply {
    const uint8_t* from;
    uint32_t chunks; // of one pass
    uint32_t left;   // chunks not yet asked for
    uint32_t next;   // next chunk to ask for, within a pass
};

/// A warp's weights, in order, through its part of shared memory: ring, mbarriers, supply.
template <int SLOTS>
struct Stream {
    static constexpr int BYTES = SLOTS * (CHUNK + 8) + 32; // of one warp
    uint32_t slot, parity, offset;

    __device__ static uint8_t* ring() {
        extern __shared__ __align__(128) uint8_t shared[];
        return shared + threadIdx.x / 32 * (SLOTS * CHUNK);
    }
    __device__ static uint8_t* bars() {
        extern __shared__ __align__(128) uint8_t shared[];
        return shared + WARPS * SLOTS * CHUNK + threadIdx.x / 32 * (SLOTS * 8);
    }
    __device__ static Supply& supply() {
        extern __shared__ __align__(128) uint8_t shared[];
        return reinterpret_cast<Supply*>(shared + WARPS * SLOTS * (CHUNK + 8) + threadIdx.x / 32 * 32)[0];
    }

    /// For the first lane.
    __device__ static void fetch(uint32_t to) {
        Supply& s = supply();
        if (s.left == 0) return;
        s.left--;
        uint32_t bar = shared_address(bars() + 8 * to);
        asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(bar), "n"(CHUNK) : "memory");
        asm volatile(
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                shared_address(ring() + to * CHUNK)),
            "l"(s.from + static_cast<uint64_t>(s.next) * CHUNK), "n"(CHUNK), "r"(bar)
            : "memory");
        s.next = s.next + 1 == s.chunks ? 0 : s.next + 1;
    }

    __device__ void start(const Params& p) {
        slot = parity = offset = 0;
        if (threadIdx.x % 32 == 0) {
            const unsigned long long* at = p.stream_at + blockIdx.x * WARPS + threadIdx.x / 32;
            uint32_t chunks = static_cast<uint32_t>((at[1] - at[0]) / CHUNK);
            supply() = {p.stream + at[0], chunks, chunks * p.passes, 0};
            for (int i = 0; i < SLOTS; i++)
                asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(shared_address(bars() + 8 * i)));
            asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
            for (int i = 0; i < SLOTS; i++) fetch(i);
        }
        __syncwarp();
    }

    __device__ void release() {
        __syncwarp();
        if (threadIdx.x % 32 == 0) fetch(slot);
        offset = 0;
        if (++slot == SLOTS) {
            slot = 0;
            parity ^= 1;
        }
    }

    /// The next 16 bytes of each lane.
    __device__ uint4 take() {
        if (offset == 0) {
            uint32_t done = 0;
            for (uint32_t polls = 0; !done; polls++) {
                asm volatile(
                    "{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                    : "=r"(done)
                    : "r"(shared_address(bars() + 8 * slot)), "r"(parity)
                    : "memory");
                if (polls > PATIENCE) __trap();
            }
        }
        uint4 w = *reinterpret_cast<const uint4*>(ring() + slot * CHUNK + offset + (threadIdx.x % 32) * 16);
        offset += UNIT;
        if (offset == CHUNK) release();
        return w;
    }

    /// Skips the padding at the end of a pass.
    __device__ void end_of_pass() {
        if (offset != 0) release();
    }
};

__device__ __forceinline__ void multiply(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                         uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// Four i8 to four bf16, exactly: 128 + the low seven bits, less 128, or 256 if the sign is set.
__device__ __forceinline__ void widen(uint32_t w, uint32_t& low, uint32_t& high) {
    uint32_t p0 = __byte_perm(w, 0, 0x4140), p1 = __byte_perm(w, 0, 0x4342);
    uint32_t v0 = (p0 & 0x007f007fu) | 0x43004300u, s0 = (p0 & 0x00800080u) | 0x43004300u;
    uint32_t v1 = (p1 & 0x007f007fu) | 0x43004300u, s1 = (p1 & 0x00800080u) | 0x43004300u;
    asm("sub.bf16x2 %0, %1, %2;" : "=r"(low) : "r"(v0), "r"(s0));
    asm("sub.bf16x2 %0, %1, %2;" : "=r"(high) : "r"(v1), "r"(s1));
}

/// The tile in one half of a unit of i8 weights.
template <int NT>
__device__ __forceinline__ void multiply_i8(float (&c)[NT][4], uint32_t w0, uint32_t w1, const uint32_t (&b)[NT][2]) {
    uint32_t a0, a1, a2, a3;
    widen(w0, a0, a1);
    widen(w1, a2, a3);
#pragma unroll
    for (int nt = 0; nt < NT; nt++) multiply(c[nt], a0, a1, a2, a3, b[nt][0], b[nt][1]);
}

// A block's work ------------------------------------------------------------------------------------------------------

template <int NT>
struct Sizes {
    static constexpr int COLUMNS = 8 * NT;
    static constexpr int SLOTS = NT == 1 ? 6 : NT == 2 ? 5 : 4;
    static constexpr int AT_ONCE = NT == 1 ? 8 : NT == 2 ? 4 : 2; // k-tiles polled together
    static constexpr int PARTIAL = WARPS * 2 * ROWS * COLUMNS;    // floats
};

template <bool I8, int NT, int J>
struct Block {
    using S = Sizes<NT>;
    static constexpr int C = S::COLUMNS;

    const Params& p;
    Stream<S::SLOTS> weights;
    // Shared memory after the ring and its mbarriers: arrays of fixed size, then those that depend on the shape.
    // `decode.rs` sizes it. Addresses are constants, so they take no registers.
    static constexpr int PARTIAL = 0;                // [WARPS, mt, ROWS, C]; the logits when sampling
    static constexpr int DELTA = S::PARTIAL;         // [C, ROWS]
    static constexpr int DX = DELTA + C * ROWS;      // [C, ROWS]: delta * u
    static constexpr int SCALE = DX + C * ROWS;      // [C]
    static constexpr int MEAN = SCALE + C;           // [C]
    static constexpr int STREAM_OF = MEAN + C;       // [C]
    static constexpr int FIRST_OF = STREAM_OF + C;   // [C]
    static constexpr int BYTES = FIRST_OF + C;       // [C]
    static constexpr int CHANNELS = BYTES + C;       // [own channel tiles, x u z, C, ROWS], then bc and residual
    __device__ static float* floats(int at) {
        extern __shared__ __align__(128) uint8_t shared[];
        return reinterpret_cast<float*>(shared + WARPS * Stream<S::SLOTS>::BYTES) + at;
    }
    __device__ static float* channel(int which, int own) { return floats(CHANNELS + (own * 3 + which) * C * ROWS); }
    /// Before the convolution, after SiLU, and the gate.
    __device__ static float& x(int own, int n, int c) { return channel(0, own)[n * ROWS + c]; }
    __device__ static float& u(int own, int n, int c) { return channel(1, own)[n * ROWS + c]; }
    __device__ static float& z(int own, int n, int c) { return channel(2, own)[n * ROWS + c]; }
    __device__ static float& scale(int n) { return floats(SCALE)[n]; }
    __device__ static float& mean(int n) { return floats(MEAN)[n]; }
    __device__ static int& stream_of(int n) { return reinterpret_cast<int*>(floats(STREAM_OF))[n]; }
    __device__ static int& first_of(int n) { return reinterpret_cast<int*>(floats(FIRST_OF))[n]; }
    __device__ static int& byte(int n) { return reinterpret_cast<int*>(floats(BYTES))[n]; }
    /// B and C of column `n`, `[kbc * ROWS]`; after the channels of all own tiles.
    __device__ static float* bc(const Params& p, int n) { return channel(0, (p.ki + gridDim.x - 1) / gridDim.x) + n * p.kbc * ROWS; }
    __device__ static float& residual(const Params& p, int own, int n, int row) { return bc(p, C)[(own * C + n) * ROWS + row]; }

    __device__ explicit Block(const Params& p_) : p(p_) {}

    __device__ static int thread() { return threadIdx.x; }
    __device__ static int lane() { return threadIdx.x % 32; }
    __device__ static int warp() { return threadIdx.x / 32; }

    /// Waits for the operand of `count` k-tiles (warp + 16 i, i from `i0`) and returns its bits.
    __device__ void gather(const uint2* words, int i0, int count, uint32_t epoch, uint32_t (&b)[S::AT_ONCE][NT][2]) {
        constexpr int TOGETHER = NT < 2 ? NT : 2; // more would take too many registers
#pragma unroll
        for (int t0 = 0; t0 < NT; t0 += TOGETHER) {
            for (uint32_t polls = 0;; polls++) {
                bool all = true;
#pragma unroll
                for (int j = 0; j < S::AT_ONCE; j++) {
#pragma unroll
                    for (int nt = t0; nt < t0 + TOGETHER; nt++) {
                        b[j][nt][0] = b[j][nt][1] = 0;
                        if (j < count && nt * 8 + lane() / 4 < p.columns) {
                            unsigned long long v, w;
                            int tile = warp() + WARPS * (i0 + j);
                            look2(words + (static_cast<uint64_t>(tile * NT + nt) * 32 + lane()) * 2, v, w);
                            all = all && is(v, epoch) && is(w, epoch);
                            b[j][nt][0] = static_cast<uint32_t>(v);
                            b[j][nt][1] = static_cast<uint32_t>(w);
                        }
                    }
                }
                if (__all_sync(~0u, all)) break;
                if (polls > PATIENCE) __trap();
            }
        }
    }

    /// `MT` tiles of rows times the operand in `words`, this warp's k-tiles of `tiles`; into `partial`.
    template <int MT>
    __device__ void products(const uint2* words, int tiles, uint32_t epoch) {
        float acc[MT][NT][4] = {};
        int mine = (tiles - warp() + WARPS - 1) / WARPS; // none if tiles <= warp
#pragma unroll 1
        for (int i0 = 0; i0 < mine; i0 += S::AT_ONCE) {
            uint32_t b[S::AT_ONCE][NT][2];
            gather(words, i0, mine - i0, epoch, b);
#pragma unroll
            for (int j = 0; j < S::AT_ONCE; j++) {
                if (i0 + j >= mine) break;
                if constexpr (!I8) {
#pragma unroll
                    for (int mt = 0; mt < MT; mt++) {
                        uint4 w = weights.take();
#pragma unroll
                        for (int nt = 0; nt < NT; nt++)
                            multiply(acc[mt][nt], w.x, w.y, w.z, w.w, b[j][nt][0], b[j][nt][1]);
                    }
                } else if constexpr (MT == 2) { // a unit: one k-tile of both tiles of rows
                    uint4 w = weights.take();
                    multiply_i8<NT>(acc[0], w.x, w.y, b[j]);
                    multiply_i8<NT>(acc[1], w.z, w.w, b[j]);
                } else if (j % 2 == 0) { // a unit: two k-tiles; the second is zero if there is none
                    uint4 w = weights.take();
                    multiply_i8<NT>(acc[0], w.x, w.y, b[j]);
                    multiply_i8<NT>(acc[0], w.z, w.w, b[j + 1]);
                }
            }
        }
        if (mine > 0) {
#pragma unroll
            for (int mt = 0; mt < MT; mt++) {
#pragma unroll
                for (int nt = 0; nt < NT; nt++) {
                    float* to = floats(PARTIAL) + ((warp() * MT + mt) * ROWS + lane() / 4) * C + nt * 8 + (lane() % 4) * 2;
                    *reinterpret_cast<float2*>(to) = make_float2(acc[mt][nt][0], acc[mt][nt][1]);
                    *reinterpret_cast<float2*>(to + 8 * C) = make_float2(acc[mt][nt][2], acc[mt][nt][3]);
                }
            }
        }
        __syncthreads();
    }

    /// The sum over warps of one row of tile `mt` and one column.
    template <int MT>
    __device__ float total(int tiles, int mt, int row, int n) {
        int warps = tiles < WARPS ? tiles : WARPS;
        float sum = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; w++)
            if (w < warps) sum += floats(PARTIAL)[((w * MT + mt) * ROWS + row) * C + n];
        return sum;
    }

    /// Scale and mean of the norm of each column. A warp does columns warp, warp + 16, ..
    __device__ static __noinline__ void statistics(const Params& p, uint32_t epoch) {
        for (int n = warp(); n < p.columns; n += WARPS) {
            float sum = 0.0f, squares = 0.0f;
#pragma unroll 1
            for (int tile = lane(); tile < p.km; tile += 32) {
                unsigned long long v, w;
                for (uint32_t polls = 0;; polls++) {
                    look2(reinterpret_cast<const uint2*>(p.sums + tile * 32 + n), v, w);
                    if (is(v, epoch) && is(w, epoch)) break;
                    if (polls > PATIENCE) __trap();
                }
                sum += __uint_as_float(static_cast<uint32_t>(v));
                squares += __uint_as_float(static_cast<uint32_t>(w));
            }
#pragma unroll
            for (int d = 16; d > 0; d /= 2) {
                sum += __shfl_xor_sync(~0u, sum, d);
                squares += __shfl_xor_sync(~0u, squares, d);
            }
            if (lane() == 0) {
                float m = p.layer_norm ? sum / p.d_model : 0.0f;
                mean(n) = m;
                scale(n) = rsqrtf(fmaxf(squares / p.d_model - m * m, 0.0f) + p.eps);
            }
        }
    }

    /// Sends 16 rows of the residual stream, times the next norm's weight, and their sums. Warps with a column only.
    __device__ static __noinline__ void publish(const Params& p, int tile, int own, const float* norm, uint32_t epoch) {
        for (int i = thread(); i / 32 * 32 < ROWS * p.columns; i += THREADS) {
            int row = i % ROWS, n = i / ROWS;
            bool real = n < p.columns;
            float r = real ? residual(p, own, n, row) : 0.0f;
            float v = r * norm[tile * ROWS + row];
            float other = __shfl_down_sync(~0u, v, 1);
            if (real && row % 2 == 0) put(p.res + word<NT>(tile, n, row / 2), pack(v, other), epoch);
            float sum = r, squares = r * r;
#pragma unroll
            for (int d = 8; d > 0; d /= 2) {
                sum += __shfl_xor_sync(~0u, sum, d);
                squares += __shfl_xor_sync(~0u, squares, d);
            }
            if (real && row == 0) {
                unsigned long long e = static_cast<unsigned long long>(epoch) << 32;
                asm volatile("st.relaxed.gpu.global.v2.b64 [%0], {%1, %2};" ::"l"(p.sums + tile * 32 + n),
                             "l"(e | __float_as_uint(sum)), "l"(e | __float_as_uint(squares))
                             : "memory");
            }
        }
    }

    __device__ void embed(uint32_t epoch) {
        int own = 0;
        for (int tile = blockIdx.x; tile < p.km; tile += gridDim.x, own++) {
            for (int i = thread(); i < ROWS * p.columns; i += THREADS) {
                int row = i % ROWS, n = i / ROWS;
                residual(p, own, n, row) = p.embedding[byte(n) * p.km * ROWS + tile * ROWS + row];
            }
            __syncthreads();
            publish(p, tile, own, p.norm, epoch);
        }
    }

    __device__ static float* history_of(const Params& p, int stream, int layer) {
        return p.history + stream * p.history_stream + layer * p.history_layer;
    }
    __device__ static float* h_of(const Params& p, int stream, int layer) {
        return p.h + stream * p.h_stream + layer * p.h_layer;
    }

    /// Input projection, convolution, SiLU of the own channels.
    __device__ void channels_in(int layer, uint32_t epoch) {
        int own = 0, width = p.ki * ROWS, taps = p.d_conv - 1;
        for (int tile = blockIdx.x; tile < p.ki; tile += gridDim.x, own++) {
            int c = thread() % ROWS, n = thread() / ROWS, d = tile * ROWS + c;
            bool real = n < p.columns, inside = d < p.d_inner;
            int first = real ? first_of(n) : 0, t = n - first;
            // What does not depend on the exchange is loaded before it; with many columns registers are short.
            float old[3] = {}, w[4] = {}, bias = 0.0f;
            auto load_weights = [&] {
#pragma unroll
                for (int k = 0; k < 4; k++)
                    if (k < p.d_conv) w[k] = p.conv[(static_cast<uint64_t>(layer) * p.d_conv + k) * width + d];
                bias = p.conv_bias[layer * width + d];
            };
            if constexpr (NT == 1) load_weights();
            const float* history = history_of(p, real ? stream_of(n) : 0, layer);
#pragma unroll
            for (int k = 0; k < 3; k++) // column k + t of the history, if there is one
                if (real && inside && k + t < taps) old[k] = history[(k + t) * p.d_inner + d];
            if (own == 0) statistics(p, epoch);
            products<2>(p.res, p.km, epoch);
            if constexpr (NT > 1) load_weights();
#pragma unroll 1
            for (int i = thread(); i < 2 * ROWS * p.columns; i += THREADS) {
                int row = i % ROWS, mt = i / ROWS % 2, col = i / (2 * ROWS);
                uint64_t at = (static_cast<uint64_t>(layer) * 2 + mt) * width + tile * ROWS + row;
                float sum = total<2>(p.km, mt, row, col) * p.in_scale[at];
                float value = scale(col) * (sum - mean(col) * p.in_sum[at]) + p.in_bias[at];
                (mt == 0 ? x(own, col, row) : z(own, col, row)) = value;
            }
            __syncthreads();
            if (thread() / 32 * 32 < ROWS * p.columns) {
                float sum = bias;
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    if (k >= p.d_conv) continue;
                    int j = t - taps + k;
                    float v = j < 0 ? (k < 3 ? old[k] : 0.0f) : x(own, first + j, c);
                    sum = __fmaf_rn(w[k], v, sum);
                }
                float value = silu(sum);
                float other = __shfl_down_sync(~0u, value, 1);
                if (real) {
                    u(own, n, c) = value;
                    if (c % 2 == 0) put(p.u + word<NT>(tile, n, c / 2), pack(value, other), epoch);
                    if (p.kept_x) {
                        uint64_t at = (static_cast<uint64_t>(layer) * p.columns + n) * width + d;
                        p.kept_x[at] = x(own, n, c);
                        p.kept_u[at] = value;
                    }
                }
            }
        }
    }

    /// Rows of x_proj: dt, B, C.
    __device__ void project(int layer, uint32_t epoch) {
        int tiles = p.kd + p.kbc;
        for (int tile = own_from(p.km); tile < tiles; tile += gridDim.x) {
            products<1>(p.u, p.ki, epoch);
            for (int i = thread(); i / 32 * 32 < ROWS * p.columns; i += THREADS) {
                int row = i % ROWS, n = i / ROWS;
                bool real = n < p.columns;
                float v = 0.0f;
                if (real) v = total<1>(p.ki, 0, row, n) * p.x_scale[(layer * tiles + tile) * ROWS + row];
                float other = __shfl_down_sync(~0u, v, 1);
                if (!real) continue;
                if (tile < p.kd) {
                    if (row % 2 == 0) put(p.dt + word<NT>(tile, n, row / 2), pack(v, other), epoch);
                } else {
                    int at = (tile - p.kd) * ROWS + row;
                    put_float(p.bc + at * 32 + n, v, epoch);
                    if (p.kept_b && at < p.d_state)
                        p.kept_b[(static_cast<uint64_t>(layer) * p.columns + n) * p.d_state + at] = v;
                }
            }
            __syncthreads();
        }
    }

    /// First tile of this block when tiles are dealt after `before` others.
    __device__ int own_from(int before) {
        int grid = gridDim.x;
        return (static_cast<int>(blockIdx.x) - before % grid + grid) % grid;
    }

    /// Step size, scan and gate of the own channels.
    __device__ void channels_out(int layer, uint32_t epoch) {
        constexpr int GROUP = 256, AHEAD = NT == 1 && J == 1 ? 4 : 2;
        int own = 0, width = p.ki * ROWS;
        int half = thread() / GROUP, c = thread() % GROUP / 16, s0 = thread() % 16;
        for (int tile = blockIdx.x; tile < p.ki; tile += gridDim.x, own++) {
            int d = tile * ROWS + c;
            bool inside = d < p.d_inner;
            float a[J], h[AHEAD][J];
#pragma unroll
            for (int j = 0; j < J; j++) {
                int s = s0 + 16 * j;
                a[j] = s < p.d_state ? p.a[(static_cast<uint64_t>(layer) * width + d) * p.d_state + s] : 0.0f;
            }
            float skip = p.d_skip[layer * width + d];
            // Streams of this half of the block: in the order of columns, every second one.
            int stream = 0;
            auto load = [&](int from) { // states of the next AHEAD streams of this half, whose columns start at `from`
                int index = stream;
#pragma unroll
                for (int k = 0; k < AHEAD; k++)
#pragma unroll
                    for (int j = 0; j < J; j++) h[k][j] = 0.0f;
#pragma unroll
                for (int k = 0; k < AHEAD; k++) {
                    while (from < p.columns && index % 2 != half) { // skip the other half's stream
                        from = end_of(from);
                        index++;
                    }
                    if (from >= p.columns) break;
                    const float* state = h_of(p, stream_of(from), layer);
#pragma unroll
                    for (int j = 0; j < J; j++)
                        if (inside && s0 + 16 * j < p.d_state) h[k][j] = state[d * p.d_state + s0 + 16 * j];
                    from = end_of(from);
                    index++;
                }
            };
            load(0);
            if (own == 0)
                for (int i = THREADS - 1 - thread(); i < 2 * p.d_state * p.columns; i += THREADS) {
                    int row = i / p.columns, n = i % p.columns;
                    bc(p, n)[row] = get_float(p.bc + row * 32 + n, epoch);
                }
            float dt_bias = p.dt_bias[layer * width + tile * ROWS + thread() % ROWS];
            float dt_scale = p.dt_scale[layer * width + tile * ROWS + thread() % ROWS];
            products<1>(p.dt, p.kd, epoch);
            for (int i = thread(); i < ROWS * p.columns; i += THREADS) {
                int row = i % ROWS, n = i / ROWS;
                float v = softplus(total<1>(p.kd, 0, row, n) * dt_scale + dt_bias);
                floats(DELTA)[n * ROWS + row] = v;
                floats(DX)[n * ROWS + row] = v * u(own, n, row);
                if (p.kept_delta) {
                    uint64_t at = (static_cast<uint64_t>(layer) * p.columns + n) * width + tile * ROWS + row;
                    p.kept_delta[at] = v;
                }
            }
            __syncthreads();
            for (int from = 0; from < p.columns;) {
#pragma unroll
                for (int k = 0; k < AHEAD; k++) {
                    while (from < p.columns && stream % 2 != half) {
                        from = end_of(from);
                        stream++;
                    }
                    if (from >= p.columns) break;
                    int end = end_of(from);
#pragma unroll 1
                    for (int n = from; n < end; n++) {
                        float sum = 0.0f, dn = floats(DELTA)[n * ROWS + c], dxn = floats(DX)[n * ROWS + c];
                        const float* in = bc(p, n);
#pragma unroll
                        for (int j = 0; j < J; j++) {
                            int s = s0 + 16 * j;
                            if (s >= p.d_state) continue;
                            h[k][j] = scan_step(h[k][j], dn, a[j], dxn, in[s]);
                            sum = __fmaf_rn(in[p.d_state + s], h[k][j], sum);
                        }
#pragma unroll
                        for (int b = 8; b > 0; b /= 2) sum += __shfl_xor_sync(~0u, sum, b);
                        float y = __fmaf_rn(skip, u(own, n, c), sum) * silu(z(own, n, c));
                        float other = __shfl_down_sync(~0u, y, 16);
                        if (lane() == 0) put(p.g + word<NT>(tile, n, c / 2), pack(y, other), epoch);
                    }
                    if (p.commit && inside) {
                        float* state = h_of(p, stream_of(from), layer);
#pragma unroll
                        for (int j = 0; j < J; j++)
                            if (s0 + 16 * j < p.d_state) state[d * p.d_state + s0 + 16 * j] = h[k][j];
                    }
                    from = end;
                    stream++;
                }
                if (from < p.columns) load(from);
            }
            if (p.commit) remember(p, layer, tile, own);
            __syncthreads();
        }
    }

    /// First column after those of the stream that starts at column `from`.
    __device__ int end_of(int from) {
        int n = from + 1;
        while (n < p.columns && first_of(n) == from) n++;
        return n;
    }

    /// The newest inputs of the convolution become its history.
    __device__ static __noinline__ void remember(const Params& p, int layer, int tile, int own) {
        int c = thread() % ROWS, n = thread() / ROWS, d = tile * ROWS + c, taps = p.d_conv - 1;
        if (n >= p.columns || d >= p.d_inner || (n + 1 < p.columns && first_of(n + 1) == first_of(n))) return;
        float* history = history_of(p, stream_of(n), layer);
        int count = n + 1 - first_of(n);
        for (int k = 0; k < taps; k++) { // upwards: what is read lies above what is written
            int j = k + count - taps;
            history[k * p.d_inner + d] =
                j < 0 ? history[(j + taps) * p.d_inner + d] : x(own, first_of(n) + j, c);
        }
    }

    /// Rows of out_proj, added to the residual stream.
    __device__ void add_out(int layer, uint32_t epoch) {
        int own = 0;
        for (int tile = blockIdx.x; tile < p.km; tile += gridDim.x, own++) {
            products<1>(p.g, p.ki, epoch);
            for (int i = thread(); i < ROWS * p.columns; i += THREADS) {
                int row = i % ROWS, n = i / ROWS;
                float v = total<1>(p.ki, 0, row, n) * p.out_scale[layer * p.km * ROWS + tile * ROWS + row];
                residual(p, own, n, row) += v;
            }
            __syncwarp(); // a lane publishes what its own warp wrote
            publish(p, tile, own, p.norm + static_cast<uint64_t>(layer + 1) * p.km * ROWS, epoch + 1);
            __syncthreads();
        }
    }

    __device__ void head(int pass, uint32_t epoch) {
        bool fresh = true;
        for (int tile = own_from(p.km + p.kd + p.kbc); tile < 256 / ROWS; tile += gridDim.x) {
            if (fresh) statistics(p, epoch);
            fresh = false;
            products<1>(p.res, p.km, epoch);
            for (int i = thread(); i < ROWS * p.columns; i += THREADS) {
                int row = tile * ROWS + i % ROWS, n = i / ROWS;
                float sum = total<1>(p.km, 0, i % ROWS, n) * p.head_scale[row];
                float v = scale(n) * (sum - mean(n) * p.head_sum[row]) + p.head_bias[row];
                put_float(p.logits + row * 32 + n, v, epoch);
                if (p.out_logits)
                    p.out_logits[(static_cast<uint64_t>(pass) * p.columns + n) * 256 + row] = v;
            }
            __syncthreads();
        }
    }

    /// Uniform in (0, 1), from a counter (splitmix64).
    __device__ static float uniform(unsigned long long seed, unsigned long long counter) {
        unsigned long long v = seed + 0x9e3779b97f4a7c15ull * (counter + 1);
        v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9ull;
        v = (v ^ (v >> 27)) * 0x94d049bb133111ebull;
        v ^= v >> 31;
        return (static_cast<float>(v >> 40) + 0.5f) * (1.0f / 16777216.0f);
    }

    /// The next byte of each column, in every block that needs it: the largest logit, or a draw by Gumbel noise.
    __device__ static __noinline__ void sample(const Params& p, int pass, uint32_t epoch) {
        for (int i = thread(); i < 256 * p.columns; i += THREADS) {
            int row = i % 256, n = i / 256;
            floats(PARTIAL)[n * 256 + row] = get_float(p.logits + row * 32 + n, epoch);
        }
        __syncthreads();
        for (int n = warp(); n < p.columns; n += WARPS) {
            float best = -3.4e38f;
            int choice = 0;
            for (int row = lane(); row < 256; row += 32) {
                float v = floats(PARTIAL)[n * 256 + row];
                if (p.temperature > 0.0f) {
                    unsigned long long at = ((p.position + pass) * 32 + n) * 256 + row;
                    v = v / p.temperature - logf(-logf(uniform(p.seed, at)));
                }
                if (v > best) {
                    best = v;
                    choice = row;
                }
            }
#pragma unroll
            for (int d = 16; d > 0; d /= 2) {
                float v = __shfl_xor_sync(~0u, best, d);
                int b = __shfl_xor_sync(~0u, choice, d);
                if (v > best || (v == best && b < choice)) {
                    best = v;
                    choice = b;
                }
            }
            if (lane() == 0) {
                byte(n) = choice;
                if (blockIdx.x == 0) p.out_bytes[static_cast<uint64_t>(pass) * p.columns + n] = static_cast<uint8_t>(choice);
            }
        }
        __syncthreads();
    }

    __device__ void run() {
        weights.start(p);
        if (thread() < p.columns) {
            stream_of(thread()) = p.stream_of[thread()];
            first_of(thread()) = p.first_of[thread()];
            byte(thread()) = p.bytes[thread()];
        }
        __syncthreads();
        for (int pass = 0; pass < p.passes; pass++) {
            uint32_t epoch = p.epoch + pass * (p.n_layer + 1) + 1;
            embed(epoch);
            for (int layer = 0; layer < p.n_layer; layer++, epoch++) {
                channels_in(layer, epoch);
                project(layer, epoch);
                channels_out(layer, epoch);
                add_out(layer, epoch);
            }
            head(pass, epoch);
            weights.end_of_pass();
            bool needs = static_cast<int>(blockIdx.x) < p.km || blockIdx.x == 0;
            if (p.out_bytes && needs) sample(p, pass, epoch);
        }
    }
};

template <bool I8, int NT, int J>
__device__ __forceinline__ void run(const Params& p) {
    Block<I8, NT, J> block(p);
    block.run();
}

} // namespace decode

using namespace decode;

#define DECODE(name, i8, nt, j)                                                                                        \
    extern "C" __global__ void __launch_bounds__(THREADS, 1) name(const __grid_constant__ Params p) { run<i8, nt, j>(p); }

DECODE(decode_bf16_8, false, 1, 1)
DECODE(decode_bf16_16, false, 2, 1)
DECODE(decode_bf16_32, false, 4, 1)
DECODE(decode_bf16_8_wide, false, 1, 4)
DECODE(decode_bf16_16_wide, false, 2, 4)
DECODE(decode_bf16_32_wide, false, 4, 4)
DECODE(decode_i8_8, true, 1, 1)
DECODE(decode_i8_16, true, 2, 1)
DECODE(decode_i8_32, true, 4, 1)
DECODE(decode_i8_8_wide, true, 1, 4)
DECODE(decode_i8_16_wide, true, 2, 4)
DECODE(decode_i8_32_wide, true, 4, 4)

/// Commits the first `accepted[stream]` columns of a verified draft, by the arithmetic of the verification.
/// Grid: (channels / 256, n_layer, columns that start a stream); one thread per channel.
extern "C" __global__ void decode_accept(const __grid_constant__ Params p) {
    int d = blockIdx.x * blockDim.x + threadIdx.x, layer = blockIdx.y, from = blockIdx.z;
    if (d >= p.d_inner || p.first_of[from] != from) return;
    int count = p.accepted[from], width = p.ki * ROWS, taps = p.d_conv - 1;
    if (count == 0) return;
    int stream = p.stream_of[from];
    float* history = p.history + stream * p.history_stream + layer * p.history_layer;
    float* h = p.h + stream * p.h_stream + layer * p.h_layer + static_cast<uint64_t>(d) * p.d_state;
    const float* a = p.a + (static_cast<uint64_t>(layer) * width + d) * p.d_state;
    uint64_t column = static_cast<uint64_t>(layer) * p.columns + from;
    for (int s = 0; s < p.d_state; s++) {
        float state = h[s];
        for (int n = 0; n < count; n++) {
            float delta = p.kept_delta[(column + n) * width + d];
            float dx = delta * p.kept_u[(column + n) * width + d];
            state = scan_step(state, delta, a[s], dx, p.kept_b[(column + n) * p.d_state + s]);
        }
        h[s] = state;
    }
    for (int k = 0; k < taps; k++) {
        int j = k + count - taps;
        history[k * p.d_inner + d] =
            j < 0 ? history[(j + taps) * p.d_inner + d] : p.kept_x[(column + j) * width + d];
    }
}

#endif // compute capability 9.0
