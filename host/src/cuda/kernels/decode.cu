// nvcc: --fmad=false
// Decode and verify: all layers of up to 32 columns in one persistent kernel, weights read once per pass.
//
// A *column* is one byte of one stream. Decoding a batch has a column per stream; verifying a draft has a column per
// drafted byte. Columns of one stream are neighbours, oldest first. All arithmetic of a column is the same in both, in
// the same order, and no sum runs over columns: verifying K bytes gives the bits of K times decoding one.
//
// Matrices are cut into tiles of 16 x 16. A block owns tiles of rows, its 8 warps share the columns of these rows
// (k-tile t belongs to warp t mod 8), and partial sums are added by one tree over the warps. Which block owns which
// rows depends on the size of the grid; no sum does. One warp finishes each column: column n is warp n mod 8's, a lane
// per row; what it keeps from stage to stage needs no barrier.
//
// Weights: each warp reads one contiguous stream per pass, in the order in which it uses them, through a ring in shared
// memory that bulk copies refill. They are taken into registers before the operand has come, so that only the products
// themselves follow its arrival. A layer's vectors, and the small dt_proj, come as one piece per block and layer, a
// layer ahead. No load from global memory is waited for but the words of other blocks.
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
// Every wait is bounded: see `give_up`. Compiled without contraction of products and sums, so that kernels of
// different widths compute the same. Needs compute capability 9.0 (bulk copies).

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

#include "decode_weights.cuh"

namespace decode {

static_assert(sizeof(Params) == (25 + 32 + 1) * 4 + (31 + 32) * 8, "params.rs has the same fields");

template <int NT>
struct Sizes {
    static constexpr int COLUMNS = 8 * NT;
    // Of partial sums: 16 rows of a column, then the next column. Strides that keep banks apart.
    static constexpr int COLUMN = ROWS + 4, TILE = COLUMNS * COLUMN + ROWS;
};

template <bool I8, int NT, int J>
struct Block {
    using S = Sizes<NT>;
    static constexpr int C = S::COLUMNS;
    static constexpr int M = NT == 1 || J > 1 ? 8 : 16; // columns scanned together
    static constexpr bool HELD = NT == 1 && J == 1; // weights wait in registers for their operand, else they are too few
    static constexpr bool PREFETCH = NT < 4; // of the history a layer ahead; else registers are short

    const Params& p;
    int tid; // see `anew`
    Stream weights;
    // Shared memory, in words of 4 bytes: arrays of fixed size, then those that depend on the shape, then the ring.
    // `plan.rs` sizes it.
    static constexpr int BARS = 0;                                // 8 bytes each: [WARPS, MOST_SLOTS], 2 of `side`
    static constexpr int PARTIAL = 2 * (WARPS * MOST_SLOTS + 2);  // [WARPS, 2, S::TILE]; the logits when sampling
    static constexpr int DELTA = PARTIAL + WARPS * 2 * S::TILE;   // [C, ROWS]
    static constexpr int DX = DELTA + C * ROWS;                   // [C, ROWS]: delta * u
    static constexpr int STREAM_OF = DX + C * ROWS;               // [C]
    static constexpr int FIRST_OF = STREAM_OF + C;                // [C]
    static constexpr int BYTES = FIRST_OF + C;                    // [C]
    static constexpr int SIDE = BYTES + C;                        // [2, side_bytes]
    float* dt;       // [kd, NT, 32, 2]: operand of dt_proj
    float* bc;       // [C, d_state, 2]
    float* channels; // [own channel tiles, x u z, C, ROWS]
    float* res;      // [own residual tiles, C, ROWS]
    bool dirty;      // partial sums may still be read
    int x_tile, head_tile; // the first own tiles of x_proj and of the head
    float2 norm[NT]; // mean and scale of this warp's columns

    __device__ static float* floats(int at) {
        extern __shared__ __align__(128) uint8_t shared[];
        return reinterpret_cast<float*>(shared) + at;
    }
    __device__ float* channel(int which, int own) const { return channels + (own * 3 + which) * C * ROWS; }
    /// Before the convolution, after SiLU, and SiLU of the gate.
    __device__ float& x(int own, int n, int c) const { return channel(0, own)[n * ROWS + c]; }
    __device__ float& u(int own, int n, int c) const { return channel(1, own)[n * ROWS + c]; }
    __device__ float& z(int own, int n, int c) const { return channel(2, own)[n * ROWS + c]; }
    __device__ float& residual(int own, int n, int row) const { return res[(own * C + n) * ROWS + row]; }
    __device__ static int& stream_of(int n) { return reinterpret_cast<int*>(floats(STREAM_OF))[n]; }
    __device__ static int& first_of(int n) { return reinterpret_cast<int*>(floats(FIRST_OF))[n]; }
    __device__ static int& byte(int n) { return reinterpret_cast<int*>(floats(BYTES))[n]; }
    __device__ int channel_floats() const { return Side::A + ROWS * p.d_state; }
    __device__ int most(int tiles) const { return (tiles + static_cast<int>(gridDim.x) - 1) / static_cast<int>(gridDim.x); }
    /// Vectors of own tile `own` of channels, of the residual stream, of x_proj.
    __device__ const float* side(uint32_t turn) const { return floats(SIDE) + (turn & 1) * (p.side_bytes / 4); }
    __device__ const float* of_channels(uint32_t turn, int own) const {
        return side(turn) + own * p.side_channel;
    }
    __device__ const float* of_residual(uint32_t turn, int own) const {
        return side(turn) + p.side_residual + own * Side::RESIDUAL;
    }
    __device__ const float* of_projection(uint32_t turn, int own) const {
        return side(turn) + p.side_projection + own * ROWS;
    }

    __device__ explicit Block(const Params& p_) : p(p_), tid(threadIdx.x), dirty(false) {
        dt = floats(SIDE) + 2 * (p.side_bytes / 4);
        bc = dt + p.kd * NT * 64;
        channels = bc + (C * p.d_state + 31) / 32 * 64; // whole pieces
        res = channels + most(p.ki) * 3 * C * ROWS;
        x_tile = own_from(gridDim.x - (p.kd + p.kbc) % gridDim.x); // the last blocks: they have least to do else
        head_tile = own_from(p.km + p.kd + p.kbc);
    }

    /// Where what column `n` leaves is kept. The number of the pass is in that of the exchange: it needs no register then.
    __device__ uint64_t kept(int layer, int n, uint32_t epoch) const {
        uint32_t pass = p.passes == 1 ? 0 : (epoch - p.epoch) / (p.n_layer + 1); // 1 and a layer more
        return static_cast<uint64_t>(layer) * p.kept + n * p.passes + pass;
    }

    __device__ int thread() const { return tid; }
    __device__ int lane() const { return tid % 32; }
    __device__ int warp() const { return tid / 32; }
    __device__ static uint32_t side_bar(uint32_t turn) {
        return shared_address(floats(BARS)) + 8 * (WARPS * MOST_SLOTS + (turn & 1));
    }

    // Products ---------------------------------------------------------------------------------------------------------

    /// Sums of the residual stream: a lane's first two tiles of so many of this warp's columns.
    static constexpr int SUMMED = NT < 4 ? NT : 2;
    struct Sums {
        unsigned long long sum[SUMMED][2], squares[SUMMED][2];
    };

    /// Of this warp's columns `from` and up.
    __device__ void ask(Sums& s, int from) const {
#pragma unroll
        for (int k = 0; k < SUMMED; k++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                int n = warp() + WARPS * (from + k), tile = lane() + 32 * i;
                s.sum[k][i] = s.squares[k][i] = 0;
                if (n < p.columns && tile < p.km) look2(p.sums + n * p.km + tile, s.sum[k][i], s.squares[k][i]);
            }
    }

    __device__ bool came(const Sums& s, int from, uint32_t epoch) const {
        bool all = true;
#pragma unroll
        for (int k = 0; k < SUMMED; k++)
#pragma unroll
            for (int i = 0; i < 2; i++)
                if (warp() + WARPS * (from + k) < p.columns && lane() + 32 * i < p.km)
                    all = all && is(s.sum[k][i], epoch) && is(s.squares[k][i], epoch);
        return __all_sync(~0u, all);
    }

    __device__ void ask_until_they_come(Sums& s, int from, uint32_t epoch) const {
#pragma unroll 1
        for (uint32_t polls = 0; !came(s, from, epoch); polls++) {
            ask(s, from);
            if (polls > p.patience) give_up<I8>(p, SUMS, C);
        }
    }

    /// Mean and scale of this warp's columns `from` and up.
    __device__ void add_up(const Sums& s, int from, uint32_t epoch) {
#pragma unroll
        for (int k = 0; k < SUMMED; k++) {
            int n = warp() + WARPS * (from + k);
            if (n >= p.columns) break;
            float sum = __uint_as_float(low(s.sum[k][0])) + __uint_as_float(low(s.sum[k][1]));
            float squares = __uint_as_float(low(s.squares[k][0])) + __uint_as_float(low(s.squares[k][1]));
#pragma unroll 1
            for (int tile = lane() + 64; tile < p.km; tile += 32) {
                unsigned long long a, b;
#pragma unroll 1
                for (uint32_t polls = 0;; polls++) {
                    look2(p.sums + n * p.km + tile, a, b);
                    if (is(a, epoch) && is(b, epoch)) break;
                    if (polls > p.patience) give_up<I8>(p, SUMS, C);
                }
                sum += __uint_as_float(low(a));
                squares += __uint_as_float(low(b));
            }
            __syncwarp();
#pragma unroll
            for (int d = 16; d > 0; d /= 2) {
                sum += __shfl_xor_sync(~0u, sum, d);
                squares += __shfl_xor_sync(~0u, squares, d);
            }
            float mean = p.layer_norm ? __fdividef(sum, p.d_model) : 0.0f;
            float variance = __fdividef(squares, p.d_model) - mean * mean;
            float scale = rsqrtf(fmaxf(variance, 0.0f) + p.eps);
            // Squares that overflow would make the layer zero; with a NaN as the mean they are seen in the logits.
            norm[from + k] = make_float2(fmaf(variance, 0.0f, mean), scale);
        }
    }

    /// Waits for the operand of k-tiles warp + 8 (i0 + j), j below `count`, and returns its bits; what lies beyond, of
    /// k-tiles or columns, is a copy that nobody uses. Of a wide operand only the first tile is polled until it comes:
    /// polling all would fill the way that it comes by. With SUMS asks for them by the way.
    template <int KT, bool SUMS>
    __device__ __forceinline__ void gather(const uint2* words, int i0, int count, uint32_t epoch,
                                           uint32_t (&b)[KT][NT][2], Sums& sums) {
        constexpr int WIDE = NT == 4 ? 8 : 16, STEP = KT * NT > WIDE ? WIDE / NT : KT; // more would take too many registers
        constexpr int STRIDE = WARPS * NT * 64;
        const uint2* at[NT];
#pragma unroll
        for (int nt = 0; nt < NT; nt++) {
            int n = nt * 8 + lane() / 4, real = n < p.columns ? n : 0;
            at[nt] = words + anew((((warp() + WARPS * i0) * NT + real / 8) * 32 + real % 8 * 4 + lane() % 4) * 2);
        }
        if (NT > 1 && i0 == 0) {
#pragma unroll 1
            for (uint32_t polls = 0;; polls++) {
                unsigned long long v, w;
                look2(at[0], v, w);
                weights.pump(); // while these come
                if (__all_sync(~0u, is(v, epoch) && is(w, epoch))) break;
                if (polls > p.patience) give_up<I8>(p, OPERAND, C);
            }
        }
#pragma unroll
        for (int j0 = 0; j0 < KT; j0 += STEP) {
            unsigned long long v[STEP][NT], w[STEP][NT];
#pragma unroll 1
            for (uint32_t polls = 0;; polls++) {
                if (count == KT) {
#pragma unroll
                    for (int j = 0; j < STEP; j++)
#pragma unroll
                        for (int nt = 0; nt < NT; nt++) look2(at[nt] + (j0 + j) * STRIDE, v[j][nt], w[j][nt]);
                } else {
#pragma unroll
                    for (int j = 0; j < STEP; j++)
#pragma unroll
                        for (int nt = 0; nt < NT; nt++)
                            look2(at[nt] + min(j0 + j, count - 1) * STRIDE, v[j][nt], w[j][nt]);
                }
                if (SUMS && j0 == 0) ask(sums, 0);
                weights.pump(); // while these come
                uint32_t wrong = 0;
#pragma unroll
                for (int j = 0; j < STEP; j++)
#pragma unroll
                    for (int nt = 0; nt < NT; nt++)
                        wrong |= (static_cast<uint32_t>(v[j][nt] >> 32) ^ epoch) | (static_cast<uint32_t>(w[j][nt] >> 32) ^ epoch);
                if (__all_sync(~0u, wrong == 0)) break;
                if (polls > p.patience) give_up<I8>(p, OPERAND, C);
            }
#pragma unroll
            for (int j = 0; j < STEP; j++)
#pragma unroll
                for (int nt = 0; nt < NT; nt++) {
                    b[j0 + j][nt][0] = low(v[j][nt]);
                    b[j0 + j][nt][1] = low(w[j][nt]);
                }
        }
    }

    /// Adds the products of this warp's k-tiles, in chunks of T tiles, to four sums, so that they need not wait for each
    /// other: tile t of a chunk to sum t mod 4.
    template <int T, int MT, bool SUMS>
    __device__ __forceinline__ void multiply_chunks(float (&acc)[4][NT][4], const uint2* words, int mine, uint32_t epoch,
                                                    Sums& sums) {
        constexpr int KT = T / MT, MOST = NT == 1 ? 16 : NT == 2 ? 8 : 4, AT_ONCE = KT < MOST ? KT : MOST;
#pragma unroll 1
        for (int i0 = 0; i0 < mine; i0 += KT) {
            uint32_t at = weights.template arrive<I8>(p, C);
            uint4 held[T];
            if (HELD) {
#pragma unroll
                for (int t = 0; t < T; t++) held[t] = weights_of<I8>(at, t);
                weights.release();
            }
            if (SUMS && NT == 2 && i0 == 0) ask_until_they_come(sums, 0, epoch); // they are sent last
#pragma unroll
            for (int j0 = 0; j0 < KT; j0 += AT_ONCE) {
                int count = mine - i0 - j0;
                if (j0 > 0 && count <= 0) break;
                uint32_t b[AT_ONCE][NT][2];
                gather<AT_ONCE, SUMS && NT == 1>(words, i0 + j0, min(count, AT_ONCE), epoch, b, sums);
#pragma unroll
                for (int j = 0; j < AT_ONCE; j++)
#pragma unroll
                    for (int m = 0; m < MT; m++) {
                        int t = (j0 + j) * MT + m;
                        uint4 w = HELD ? held[t] : weights_of<I8>(at, t);
#pragma unroll
                        for (int nt = 0; nt < NT; nt++) multiply(acc[t % 4][nt], w, b[j][nt][0], b[j][nt][1]);
                    }
            }
            if (!HELD) weights.release();
        }
    }

    /// MT tiles of rows times the operand in `words`, this warp's k-tiles of `tiles`; partial sums to shared memory.
    /// With SUMS the operand is the residual stream, and its norm is made too.
    template <int MT, bool SUMS>
    __device__ __forceinline__ void products(const uint2* words, int tiles, uint32_t epoch) {
        float acc[4][NT][4] = {};
        Sums sums;
        int mine = anew((tiles - warp() + WARPS - 1) / WARPS); // none if tiles <= warp
        if (SUMS && SUMMED == NT && (NT > 1 || mine <= 0)) ask(sums, 0);
        if (SUMS && SUMMED < NT) { // registers are short
#pragma unroll
            for (int k = 0; k < NT; k += SUMMED) {
                ask(sums, k);
                ask_until_they_come(sums, k, epoch);
                add_up(sums, k, epoch);
            }
        }
        if (p.chunk == 16)
            multiply_chunks<16, MT, SUMS>(acc, words, mine, epoch, sums);
        else if (p.chunk == 8)
            multiply_chunks<8, MT, SUMS>(acc, words, mine, epoch, sums);
        else
            multiply_chunks<4, MT, SUMS>(acc, words, mine, epoch, sums);
        if (dirty) __syncthreads();
        dirty = true;
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int nt = 0; nt < NT; nt++) {
                int n = nt * 8 + lane() % 4 * 2;
                if (n >= p.columns) continue;
                float* to = floats(PARTIAL) + (warp() * 2 + m) * S::TILE + n * S::COLUMN + lane() / 4;
                float v[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    v[i] = acc[m][nt][i] + acc[m + 2][nt][i];
                    if (MT == 1) v[i] += acc[1][nt][i] + acc[3][nt][i];
                }
                to[0] = v[0];
                to[S::COLUMN] = v[1];
                to[8] = v[2];
                to[S::COLUMN + 8] = v[3];
            }
        if (SUMS && SUMMED == NT && warp() < p.columns) {
            ask_until_they_come(sums, 0, epoch);
            add_up(sums, 0, epoch);
        }
        __syncthreads();
    }

    /// The sum over warps of one row of tile `m` and one column. A warp without k-tiles has written zeros.
    __device__ float total(int m, int row, int n) const {
        const float* from = floats(PARTIAL) + m * S::TILE + n * S::COLUMN + row;
        float v[WARPS];
#pragma unroll
        for (int w = 0; w < WARPS; w++) v[w] = from[w * 2 * S::TILE];
        return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
    }

    // Stages -----------------------------------------------------------------------------------------------------------

    /// Sends one row per lane (16 are real) of column `n` of the residual stream, times the next norm's weight, and the
    /// sums of all 16.
    __device__ void publish(int tile, int n, float r, float weight, uint32_t epoch) const {
        float v = r * weight, other = __shfl_down_sync(~0u, v, 1);
        if (lane() < ROWS && lane() % 2 == 0) put(p.res + word<NT>(tile, n, lane() / 2), pack(v, other), epoch);
        float sum = r, squares = r * r;
#pragma unroll
        for (int d = 8; d > 0; d /= 2) {
            sum += __shfl_xor_sync(~0u, sum, d);
            squares += __shfl_xor_sync(~0u, squares, d);
        }
        if (lane() == 0) {
            unsigned long long e = static_cast<unsigned long long>(epoch) << 32;
            asm volatile("st.relaxed.gpu.global.v2.b64 [%0], {%1, %2};" ::"l"(p.sums + n * p.km + tile),
                         "l"(e | __float_as_uint(sum)), "l"(e | __float_as_uint(squares))
                         : "memory");
        }
    }

    __device__ void embed(uint32_t epoch) {
        tid = anew(tid);
        int own = 0, row = lane() % ROWS;
#pragma unroll 1
        for (int tile = blockIdx.x; tile < p.km; tile += gridDim.x, own++) {
            float weight = p.norm[tile * ROWS + row];
#pragma unroll 1
            for (int n = warp(); n < p.columns; n += WARPS) {
                float r = p.embedding[byte(n) * p.km * ROWS + tile * ROWS + row];
                if (lane() < ROWS) residual(own, n, row) = r;
                publish(tile, n, r, weight, epoch);
            }
        }
    }

    __device__ float* history_of(int stream, int layer) const {
        return p.history + stream * p.history_stream + layer * p.history_layer;
    }
    __device__ float* h_of(int stream, int layer) const { return p.h + stream * p.h_stream + layer * p.h_layer; }

    /// What the convolution of this warp's columns takes of the history of channel `d`: tap k takes `old[k]`, if it
    /// takes any.
    __device__ void load_history(float (&old)[NT][TAPS], int layer, int d) const {
#pragma unroll
        for (int i = 0; i < NT; i++) {
            int n = warp() + WARPS * i;
            old[i][0] = old[i][1] = old[i][2] = 0.0f;
            if (n >= p.columns) continue;
            int t = n - first_of(n);
            const float* history = history_of(stream_of(n), layer);
#pragma unroll
            for (int k = 0; k < TAPS; k++)
                old[i][k] = d < p.d_inner && k + t < p.d_conv - 1 ? history[(k + t) * p.d_inner + d] : 0.0f;
        }
    }

    /// Input projection, convolution, SiLU of the own channels. `old` is the history of the first own tile; it becomes
    /// that of the next layer.
    __device__ void channels_in(int layer, uint32_t turn, uint32_t epoch, float (&old)[NT][TAPS]) {
        tid = anew(tid);
        int own = 0, taps = p.d_conv - 1, c = lane() % ROWS, m = lane() / ROWS;
        bool sequence = !p.commit && p.columns > 1;
#pragma unroll 1
        for (int tile = blockIdx.x; tile < p.ki; tile += gridDim.x, own++) {
            int d = tile * ROWS + c;
            const float* side = of_channels(turn, own);
            float w[TAPS + 1], bias, in_scale, in_sum, in_bias;
            auto load_vectors = [&] {
#pragma unroll
                for (int k = 0; k <= TAPS; k++) w[k] = side[Side::CONV + k * ROWS + c];
                bias = side[Side::CONV_BIAS + c];
                in_scale = side[Side::IN_SCALE + lane()];
                in_sum = side[Side::IN_SUM + lane()];
                in_bias = side[Side::IN_BIAS + lane()];
            };
            if (HELD) load_vectors();
            if (own > 0) {
                if (PREFETCH) load_history(old, layer, d);
                products<2, false>(p.res, p.km, epoch);
            } else {
                products<2, true>(p.res, p.km, epoch);
            }
            if (!HELD) load_vectors();
            if (!PREFETCH) load_history(old, layer, d);
            float value[NT] = {};
#pragma unroll
            for (int i = 0; i < NT; i++) {
                int n = warp() + WARPS * i;
                if (n >= p.columns) break;
                float sum = total(m, c, n) * in_scale;
                value[i] = norm[i].y * (sum - norm[i].x * in_sum) + in_bias;
            }
            if (sequence) {
#pragma unroll
                for (int i = 0; i < NT; i++)
                    if (warp() + WARPS * i < p.columns && m == 0) x(own, warp() + WARPS * i, c) = value[i];
                __syncthreads();
            }
#pragma unroll
            for (int i = 0; i < NT; i++) {
                int n = warp() + WARPS * i;
                if (n >= p.columns) break;
                float sum = bias;
                if (sequence) {
                    int first = first_of(n), t = n - first;
#pragma unroll
                    for (int k = 0; k <= TAPS; k++) {
                        if (k >= p.d_conv) continue;
                        int j = t - taps + k;
                        float v = k < TAPS && j < 0 ? old[i][k] : j == t ? value[i] : x(own, first + j, c);
                        sum = __fmaf_rn(w[k], v, sum);
                    }
                } else { // each column is a stream
#pragma unroll
                    for (int k = 0; k <= TAPS; k++)
                        if (k < p.d_conv) sum = __fmaf_rn(w[k], k < TAPS && k < taps ? old[i][k] : value[i], sum);
                }
                float after = silu(m == 0 ? sum : value[i]), other = __shfl_down_sync(~0u, after, 1);
                if (m == 0 && c % 2 == 0) put(p.u + word<NT>(tile, n, c / 2), pack(after, other), epoch);
                channel(1 + m, own)[n * ROWS + c] = after;
                if (m == 0) {
                    if (p.kept_x) {
                        uint64_t to = kept(layer, n, epoch) * (p.ki * ROWS) + d;
                        p.kept_x[to] = value[i];
                        p.kept_u[to] = after;
                    }
                    if (p.commit && d < p.d_inner) {
                        float* history = history_of(stream_of(n), layer);
#pragma unroll
                        for (int k = 0; k < TAPS; k++)
                            if (k < taps) history[k * p.d_inner + d] = k + 1 < TAPS && k + 1 < taps ? old[i][k + 1] : value[i];
                    }
                }
            }
        }
        if (PREFETCH && static_cast<int>(blockIdx.x) < p.ki)
            load_history(old, layer + 1 < p.n_layer ? layer + 1 : 0, blockIdx.x * ROWS + c);
    }

    /// Rows of x_proj: dt, B, C.
    __device__ void project(int layer, uint32_t turn, uint32_t epoch) {
        tid = anew(tid);
        int own = 0, tiles = p.kd + p.kbc, row = lane() % ROWS;
#pragma unroll 1
        for (int tile = x_tile; tile < tiles; tile += gridDim.x, own++) {
            float scale = of_projection(turn, own)[row];
            products<1, false>(p.u, p.ki, epoch);
#pragma unroll 1
            for (int n = warp(); n < p.columns; n += WARPS) {
                float v = total(0, row, n) * scale, other = __shfl_down_sync(~0u, v, 1);
                if (lane() >= ROWS) continue;
                if (tile < p.kd) {
                    if (row % 2 == 0) put(p.dt + word<NT>(tile, n, row / 2), pack(v, other), epoch);
                } else {
                    int at = (tile - p.kd) * ROWS + row, s = at < p.d_state ? at : at - p.d_state;
                    if (s < p.d_state) {
                        uint2* to = reinterpret_cast<uint2*>(p.bc + n * p.d_state + s);
                        put_float(at < p.d_state ? to : to + 1, v, epoch);
                    }
                    if (p.kept_b && at < p.d_state) p.kept_b[kept(layer, n, epoch) * p.d_state + at] = v;
                }
            }
            __syncwarp();
        }
    }

    /// First tile of this block when tiles are dealt after `before` others.
    __device__ int own_from(int before) const {
        int grid = gridDim.x;
        return (static_cast<int>(blockIdx.x) - before % grid + grid) % grid;
    }

    /// Piece `i` of what all blocks need of x_proj: 32 lanes of 16 bytes each, of dt or of B and C. Null if none.
    __device__ const void* piece(int i, int lane) const {
        int of_dt = p.kd * NT;
        if (i < of_dt) return i % NT * 8 + lane / 4 < p.columns ? p.dt + (i * 32 + lane) * 2 : nullptr;
        i = (i - of_dt) * 32 + lane;
        return i < p.columns * p.d_state ? p.bc + i : nullptr;
    }

    /// Brings dt, B and C to shared memory.
    __device__ void gather_selected(uint32_t epoch) {
        int pieces = p.kd * NT + (p.columns * p.d_state + 31) / 32;
#pragma unroll 1
        for (int i = warp(); i < pieces; i += 2 * WARPS) {
            const void *a = piece(i, lane()), *b = i + WARPS < pieces ? piece(i + WARPS, lane()) : nullptr;
            unsigned long long v[4] = {};
#pragma unroll 1
            for (uint32_t polls = 0;; polls++) {
                if (a) look2(a, v[0], v[1]);
                if (b) look2(b, v[2], v[3]);
                weights.pump(); // while these come
                bool all = (!a || (is(v[0], epoch) && is(v[1], epoch))) && (!b || (is(v[2], epoch) && is(v[3], epoch)));
                if (__all_sync(~0u, all)) break;
                if (polls > p.patience) give_up<I8>(p, SELECTED, C);
            }
            // The shared arrays follow each other as the pieces do.
            reinterpret_cast<uint2*>(dt)[i * 32 + lane()] = make_uint2(low(v[0]), low(v[1]));
            if (b) reinterpret_cast<uint2*>(dt)[(i + WARPS) * 32 + lane()] = make_uint2(low(v[2]), low(v[3]));
        }
        __syncthreads();
        dirty = false;
    }

    /// The state of column `n`'s stream.
    __device__ void load_state(float (&h)[J], int layer, int n, int d) const {
        const float* state = h_of(stream_of(n), layer) + static_cast<uint64_t>(d) * p.d_state;
        int s0 = lane() % 16;
#pragma unroll
        for (int j = 0; j < J; j++) h[j] = d < p.d_inner && s0 + 16 * j < p.d_state ? state[s0 + 16 * j] : 0.0f;
    }

    __device__ bool starts(int n) const { return n < p.columns && first_of(n) == n; }

    /// States of streams that start in columns `from` and up, but not at column 0.
    __device__ void load_states(float (&h)[M][J], int layer, int from, int d) const {
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int j = 0; j < J; j++) h[m][j] = 0.0f;
            if (from + m > 0 && starts(from + m)) load_state(h[m], layer, from + m, d);
        }
    }

    /// Step size, scan and gate of the own channels: two per warp, which from here on needs no other. `h` is the state
    /// of the first column's stream for the first own tile.
    __device__ void channels_out(int layer, uint32_t turn, uint32_t epoch, float (&h)[J]) {
        tid = anew(tid);
        int own = 0, c = thread() / 16, s0 = lane() % 16;
#pragma unroll 1
        for (int tile = blockIdx.x; tile < p.ki; tile += gridDim.x, own++) {
            int d = tile * ROWS + c;
            const float* side = of_channels(turn, own);
            float a[J];
#pragma unroll
            for (int j = 0; j < J; j++) a[j] = s0 + 16 * j < p.d_state ? side[Side::A + c * p.d_state + s0 + 16 * j] : 0.0f;
            float skip = side[Side::SKIP + c], dt_scale = side[Side::DT_SCALE + c], dt_bias = side[Side::DT_BIAS + c];
            float next[M][J];
            if (p.columns > 1) load_states(next, layer, 0, d);
            if (own == 0) {
                gather_selected(epoch);
            }
            if (J > 1 || own > 0) load_state(h, layer, 0, d);
            step_sizes(layer, epoch, tile, own, side, dt_scale, dt_bias);
            if (p.columns == 1) {
                scan_one(layer, epoch, tile, own, a, h, skip);
                continue;
            }
#pragma unroll 1
            for (int from = 0; from < p.columns; from += M) {
                if (from > 0) load_states(next, layer, from, d);
                scan(layer, epoch, tile, own, from, a, h, next, skip);
            }
        }
    }

    /// dt_proj and softplus for this warp's two channels.
    __device__ void step_sizes(int layer, uint32_t epoch, int tile, int own, const float* side, float dt_scale,
                               float dt_bias) {
        const uint4* units = reinterpret_cast<const uint4*>(side + channel_floats()) + lane();
        const uint2* operand = reinterpret_cast<const uint2*>(dt) + lane();
        float acc[2][NT][4] = {};
        __syncwarp(); // the last tile's step sizes have been read
#pragma unroll 1
        for (int i = 0; i < p.kd; i += 2) {
            uint4 w[2] = {};
            if (I8) {
                uint4 unit = units[i / 2 * 32];
                w[0] = widened(unit.x, unit.y);
                w[1] = widened(unit.z, unit.w);
            } else {
                w[0] = units[i * 32];
                if (i + 1 < p.kd) w[1] = units[(i + 1) * 32];
            }
#pragma unroll
            for (int k = 0; k < 2; k++) {
                if (i + k >= p.kd) break;
#pragma unroll
                for (int nt = 0; nt < NT; nt++) {
                    uint2 b = operand[((i + k) * NT + nt) * 32];
                    multiply(acc[k][nt], w[k], b.x, b.y);
                }
            }
        }
        // Lane 16 h + n takes channel h, columns n and n + 16. Rows of the tile lie in lanes row % 8 * 4 and up.
        int c = thread() / 16, from = c % 8 * 4 + lane() % 8 / 2;
#pragma unroll
        for (int t = 0; t < (NT + 1) / 2; t++) {
            float v = 0.0f;
#pragma unroll
            for (int k = 0; k < (NT == 1 ? 1 : 2); k++) {
                const float(&even)[4] = acc[0][t * 2 + k], (&odd)[4] = acc[1][t * 2 + k];
                float left = __shfl_sync(~0u, c >= 8 ? even[2] + odd[2] : even[0] + odd[0], from);
                float right = __shfl_sync(~0u, c >= 8 ? even[3] + odd[3] : even[1] + odd[1], from);
                if (lane() % 16 / 8 == k) v = lane() % 2 ? right : left;
            }
            int n = t * 16 + lane() % 16;
            if (n < p.columns) {
                float delta = softplus(v * dt_scale + dt_bias);
                floats(DELTA)[n * ROWS + c] = delta;
                floats(DX)[n * ROWS + c] = delta * u(own, n, c);
                if (p.kept_delta) p.kept_delta[kept(layer, n, epoch) * (p.ki * ROWS) + tile * ROWS + c] = delta;
            }
        }
        __syncwarp();
    }

    /// Scan and gate of one channel and one or J states, of the only column.
    __device__ void scan_one(int layer, uint32_t epoch, int tile, int own, const float (&a)[J], float (&h)[J], float skip) {
        int c = thread() / 16, s0 = lane() % 16, d = tile * ROWS + c;
        const float2* in = reinterpret_cast<const float2*>(bc);
        float delta = floats(DELTA)[c], dx = floats(DX)[c], y = 0.0f, before = u(own, 0, c), gate = z(own, 0, c);
#pragma unroll
        for (int j = 0; j < J; j++) {
            int s = s0 + 16 * j;
            if (s >= p.d_state) continue;
            float2 both = in[s];
            h[j] = scan_step(h[j], delta, a[j], dx, both.x);
            y = __fmaf_rn(both.y, h[j], y);
        }
#pragma unroll
        for (int k = 8; k > 0; k /= 2) y += __shfl_xor_sync(~0u, y, k);
        float g = __fmaf_rn(skip, before, y) * gate, other = __shfl_down_sync(~0u, g, 16);
        if (lane() == 0) put(p.g + word<NT>(tile, 0, c / 2), pack(g, other), epoch);
        if (p.commit && d < p.d_inner) {
            float* state = h_of(stream_of(0), layer) + static_cast<uint32_t>(d * p.d_state);
#pragma unroll
            for (int j = 0; j < J; j++)
                if (s0 + 16 * j < p.d_state) state[s0 + 16 * j] = h[j];
        }
    }

    /// Scan and gate of one channel and one or J states, columns `from` and up. `h` is the state before them, unless a
    /// stream starts here.
    __device__ void scan(int layer, uint32_t epoch, int tile, int own, int from, const float (&a)[J], float (&h)[J],
                         const float (&next)[M][J], float skip) {
        int c = thread() / 16, s0 = lane() % 16, d = tile * ROWS + c;
        const float2* in = reinterpret_cast<const float2*>(bc);
        float y[M];
#pragma unroll
        for (int m = 0; m < M; m++) {
            int n = from + m;
            y[m] = 0.0f;
            if (n >= p.columns) continue;
            if (n > 0 && starts(n)) {
#pragma unroll
                for (int j = 0; j < J; j++) h[j] = next[m][j];
            }
            float delta = floats(DELTA)[n * ROWS + c], dx = floats(DX)[n * ROWS + c];
#pragma unroll
            for (int j = 0; j < J; j++) {
                int s = s0 + 16 * j;
                if (s >= p.d_state) continue;
                float2 both = in[n * p.d_state + s];
                h[j] = scan_step(h[j], delta, a[j], dx, both.x);
                y[m] = __fmaf_rn(both.y, h[j], y[m]);
            }
            if (p.commit && d < p.d_inner) { // each column is a stream
                float* state = h_of(stream_of(n), layer) + static_cast<uint64_t>(d) * p.d_state;
#pragma unroll
                for (int j = 0; j < J; j++)
                    if (s0 + 16 * j < p.d_state) state[s0 + 16 * j] = h[j];
            }
        }
        // The sum over 16 lanes, by one tree for every column: lane s keeps column s mod M.
#pragma unroll
        for (int k = 8; k > 0; k /= 2) {
            bool up = lane() & k;
#pragma unroll
            for (int m = 0; m < (k < M ? k : M); m++) {
                if (k < M) {
                    float give = up ? y[m] : y[m + k], keep = up ? y[m + k] : y[m];
                    y[m] = keep + __shfl_xor_sync(~0u, give, k);
                } else {
                    y[m] += __shfl_xor_sync(~0u, y[m], k);
                }
            }
        }
        int n = from + s0;
        bool real = s0 < M && n < p.columns;
        float g = real ? __fmaf_rn(skip, u(own, n, c), y[0]) * z(own, n, c) : 0.0f;
        float other = __shfl_down_sync(~0u, g, 16);
        if (real && lane() < 16) put(p.g + word<NT>(tile, n, c / 2), pack(g, other), epoch);
    }

    /// Rows of out_proj, added to the residual stream.
    __device__ void add_out(uint32_t turn, uint32_t epoch) {
        tid = anew(tid);
        int own = 0, row = lane() % ROWS;
#pragma unroll 1
        for (int tile = blockIdx.x; tile < p.km; tile += gridDim.x, own++) {
            const float* side = of_residual(turn, own);
            float scale = side[Side::OUT_SCALE + row], weight = side[Side::NEXT_NORM + row];
            products<1, false>(p.g, p.ki, epoch);
#pragma unroll 1
            for (int n = warp(); n < p.columns; n += WARPS) {
                float r = residual(own, n, row) + total(0, row, n) * scale;
                __syncwarp();
                if (lane() < ROWS) residual(own, n, row) = r;
                publish(tile, n, r, weight, epoch + 1);
            }
        }
    }

    __device__ void head(int pass, uint32_t epoch) {
        tid = anew(tid);
        int tile = head_tile;
        bool first = true;
#pragma unroll 1
        for (; tile < 256 / ROWS; tile += gridDim.x, first = false) {
            int row = tile * ROWS + lane() % ROWS;
            float scale = p.head_scale[row], sum_of_row = p.head_sum[row], bias = p.head_bias[row];
            if (first)
                products<1, true>(p.res, p.km, epoch);
            else
                products<1, false>(p.res, p.km, epoch);
#pragma unroll
            for (int i = 0; i < NT; i++) {
                int n = warp() + WARPS * i;
                if (n >= p.columns) break;
                float sum = total(0, lane() % ROWS, n) * scale;
                float v = norm[i].y * (sum - norm[i].x * sum_of_row) + bias;
                if (lane() >= ROWS) continue;
                put_float(p.logits + row * 32 + n, v, epoch);
                if (pass + 1 == p.passes) p.out_logits[n * 256 + row] = v;
            }
            __syncwarp();
        }
    }

    /// The next byte of each column, in every block that needs it.
    __device__ void sample(int pass, uint32_t epoch) {
        tid = anew(tid);
        if (dirty) __syncthreads();
        dirty = true;
#pragma unroll 1
        for (int i = thread(); i < 256 * p.columns; i += THREADS) {
            int row = i % 256, n = i / 256;
            floats(PARTIAL)[n * 256 + row] = get_float(p, C, p.logits + row * 32 + n, epoch);
        }
        __syncthreads();
        Choice how = {p.inverse, p.top_k, p.top_p};
#pragma unroll 1
        for (int n = warp(); n < p.columns; n += WARPS) {
            i32 units[8];
#pragma unroll
            for (int r = 0; r < 8; r++) units[r] = logit_unit(floats(PARTIAL)[n * 256 + lane() * 8 + r]);
            uint64_t rng = how.inverse == 0 ? 0 : p.rng[n] + pass * RNG_STEP;
            int choice = choose(units, lane(), how, rng, p.tables->exp2);
            if (lane() == 0) {
                byte(n) = choice;
                if (blockIdx.x == 0) p.out_bytes[static_cast<uint64_t>(pass) * p.columns + n] = static_cast<uint8_t>(choice);
            }
            __syncwarp(); // the same warp embeds this column
        }
    }

    __device__ void fetch_side(uint32_t turn, int layer) const {
        const uint8_t* from = p.side + (static_cast<uint64_t>(blockIdx.x) * p.n_layer + layer) * p.side_bytes;
        expect(side_bar(turn), p.side_bytes);
        copy(shared_address(side(turn)), from, p.side_bytes, side_bar(turn));
    }

    __device__ void start() {
        uint32_t bars = shared_address(floats(BARS));
        if (thread() < WARPS * MOST_SLOTS + 2)
            asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(bars + 8 * thread()) : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        if (thread() < p.columns) {
            uint32_t column = p.column[thread()];
            stream_of(thread()) = stream_in(column);
            first_of(thread()) = first_in(column);
            byte(thread()) = byte_in(column);
        }
        __syncthreads();
        uint32_t ring = (shared_address(res + most(p.km) * C * ROWS) + 127) / 128 * 128;
        weights.start(p, p.chunk * (I8 ? UNIT / 2 : UNIT), ring, bars);
        if (thread() == 0) {
            fetch_side(0, 0);
            if (p.passes * p.n_layer > 1) fetch_side(1, p.n_layer > 1 ? 1 : 0);
        }
    }

    __device__ __forceinline__ void run() {
        start();
        uint32_t turn = 0, turns = p.passes * p.n_layer;
        bool has_channels = static_cast<int>(blockIdx.x) < p.ki;
        int d = blockIdx.x * ROWS;
        float old[NT][TAPS];
        if (PREFETCH && has_channels) load_history(old, 0, d + lane() % ROWS);
#pragma unroll 1
        for (int pass = 0; pass < p.passes; pass++) {
            uint32_t epoch = p.epoch + pass * (p.n_layer + 1) + 1;
            embed(epoch);
#pragma unroll 1
            for (int layer = 0; layer < p.n_layer; layer++, epoch++, turn++) {
                __syncthreads();
                dirty = false;
                // Everyone has left the last layer, so its vectors may be overwritten.
                if (turn > 0 && turn + 1 < turns && thread() == THREADS - 1)
                    fetch_side(turn + 1, layer + 1 < p.n_layer ? layer + 1 : 0);
                float h[J] = {};
                if (J == 1 && has_channels) load_state(h, layer, 0, d + thread() / 16); // else registers are short
                wait<I8>(p, C, side_bar(turn), turn / 2 % 2);
                channels_in(layer, turn, epoch, old);
                project(layer, turn, epoch);
                channels_out(layer, turn, epoch, h);
                add_out(turn, epoch);
            }
            head(pass, epoch);
            bool needs = static_cast<int>(blockIdx.x) < p.km;
            if (p.out_bytes && needs) sample(pass, epoch);
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

/// Moves the states of streams by so many of the columns that a launch has kept, by the arithmetic of that launch: `column`
/// says which. Grid: (d_inner / 128, rounded up; n_layer; streams); a block of 128 threads, one per channel.
extern "C" __global__ void decode_accept(const __grid_constant__ Params p) {
    int d = blockIdx.x * blockDim.x + threadIdx.x, layer = blockIdx.y;
    if (d >= p.d_inner) return;
    uint32_t column = p.column[blockIdx.z];
    int stream = stream_in(column), count = byte_in(column), width = p.ki * ROWS, taps = p.d_conv - 1;
    float* history = p.history + stream * p.history_stream + layer * p.history_layer;
    float* h = p.h + stream * p.h_stream + layer * p.h_layer + static_cast<uint64_t>(d) * p.d_state;
    const float* a = p.a + (static_cast<uint64_t>(layer) * width + d) * p.d_state;
    uint64_t from = static_cast<uint64_t>(layer) * p.kept + first_in(column);
    for (int s = 0; s < p.d_state; s++) {
        float state = h[s];
        for (int n = 0; n < count; n++) {
            float delta = p.kept_delta[(from + n) * width + d];
            float dx = delta * p.kept_u[(from + n) * width + d];
            state = scan_step(state, delta, a[s], dx, p.kept_b[(from + n) * p.d_state + s]);
        }
        h[s] = state;
    }
    for (int k = 0; k < taps; k++) {
        int j = k + count - taps;
        history[k * p.d_inner + d] = j < 0 ? history[(j + taps) * p.d_inner + d] : p.kept_x[(from + j) * width + d];
    }
}

#endif // compute capability 9.0
