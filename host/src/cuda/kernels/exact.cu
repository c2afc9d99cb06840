// The exact integer step on a GPU: every kernel computes what mambabyte-core computes, to the bit. Sums are exact, so
// neither their order nor the choice of a kernel can be seen in a result.
//
// A call reads m tokens of several rows (streams), row after row, oldest first: starts[row] .. starts[row + 1] are the
// tokens of a row. Activations are [m, channels]. A row's state is one snapshot payload: per layer d_conv - 1 columns
// of d_inner channels, then [d_state, d_inner]. Operands of projections have their columns padded with zeros to a
// multiple of 64.
#include "sample.cuh"

#define BLOCK_THREADS 256

__device__ __forceinline__ u64 warp_or(u64 v) {
    for (int o = 16; o > 0; o >>= 1) v |= __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

__device__ __forceinline__ u64 warp_sum(u64 v) {
    for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}

// Or, or sum, over a block of 256 threads; every thread gets it. `scratch` has a word per warp.
template <bool OR>
__device__ __forceinline__ u64 block_reduce(u64 v, u64* scratch) {
    v = OR ? warp_or(v) : warp_sum(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
    __syncthreads();
    u64 all = 0;
    for (u32 w = 0; w < BLOCK_THREADS / 32; w++) all = OR ? all | scratch[w] : all + scratch[w];
    return all;
}

// ---- Embedding: a block per token.

struct EmbedParams {
    const u8* tokens;      // [m]
    const u8* code;        // [256]
    const i8* rows;        // [256, stride]
    const Tables* tables;
    i32* residual;         // [m, d_model]
    u32 d_model, stride, shift, pad;
};

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_embed(EmbedParams p) {
    u32 token = p.tokens[blockIdx.x];
    for (u32 i = threadIdx.x; i < p.d_model; i += blockDim.x) {
        i64 v = requantize(p.rows[token * p.stride + i], p.code[token], p.shift, p.tables->row_multiplier);
        p.residual[(u64)blockIdx.x * p.d_model + i] = saturate_i32(v);
    }
}

// ---- Norm: a block per token. With `pick`, of the token pick[block].

struct NormParams {
    const i32* residual;   // [.., d_model]
    const i16* weight;     // [d_model]
    const i16* bias;       // [d_model] or null: RMSNorm
    const Tables* tables;
    const i32* pick;       // null: all
    i16* u;                // [blocks, stride]
    u64 eps;
    u32 d_model, stride, shift, pad;
};

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_norm(NormParams p) {
    __shared__ u64 scratch[BLOCK_THREADS / 32];
    u64 token = p.pick ? p.pick[blockIdx.x] : blockIdx.x;
    const i32* x = p.residual + token * p.d_model;
    i64 mean = 0;
    if (p.bias) {
        i64 sum = 0;
        for (u32 i = threadIdx.x; i < p.d_model; i += BLOCK_THREADS) sum += x[i];
        mean = mean_of((i64)block_reduce<false>((u64)sum, scratch), p.d_model);
    }
    u64 largest = 0;
    for (u32 i = threadIdx.x; i < p.d_model; i += BLOCK_THREADS) {
        i64 v = x[i] - mean;
        largest |= (u64)(v < 0 ? -v : v);
    }
    u32 down = norm_down(block_reduce<true>(largest, scratch));
    u64 squares = 0;
    for (u32 i = threadIdx.x; i < p.d_model; i += BLOCK_THREADS) {
        i64 q = scale_down(x[i] - mean, down);
        squares += (u64)(q * q);
    }
    i32 e;
    u32 r = norm_scale(block_reduce<false>(squares, scratch), p.eps, down, &e, p.tables->rsqrt);
    for (u32 i = threadIdx.x; i < p.d_model; i += BLOCK_THREADS) {
        i16 bias = p.bias ? p.bias[i] : (i16)0;
        p.u[(u64)blockIdx.x * p.stride + i] = norm_element(x[i] - mean, down, r, e, p.weight[i], bias, p.shift);
    }
}

// ---- Projections: y = W x, i8 by i16, then what `mode` says.

enum Mode : u32 { ACTIVATION = 0, X_PROJ = 1, LOG_DELTA = 2, RESIDUAL = 3, LOGITS = 4 };

struct ProjectParams {
    const i8* w;           // [rows, columns], zeros after the model's columns; rows padded to a multiple of 128
    const u8* code;        // [rows]
    const i16* x;          // [m, x_stride], zeros after the model's columns
    void* y;               // i16 or i32 [m, y_stride]
    i16* bc;               // X_PROJ: [m, 2 * d_state]
    const i16* bias;       // LOG_DELTA: [rows]
    const u8* down;        // RESIDUAL: [m]
    const Tables* tables;
    u32 m, rows, columns, x_stride, y_stride, shift, mode;
    u32 dt_rank, d_state, c_limit;
};

__device__ __forceinline__ void emit(const ProjectParams& p, u32 token, u32 row, i64 acc) {
    const i16* multiplier = p.tables->row_multiplier;
    u8 code = p.code[row];
    u64 at = (u64)token * p.y_stride + row;
    switch (p.mode) {
    case ACTIVATION:
        ((i16*)p.y)[at] = saturate_i16(requantize(acc, code, p.shift, multiplier));
        break;
    case X_PROJ: {
        i32 v = saturate_i16(requantize(acc, code, p.shift, multiplier));
        if (row < p.dt_rank) {
            ((i16*)p.y)[at] = (i16)v;
        } else {
            u32 n = row - p.dt_rank;
            i32 limit = (i32)p.c_limit;
            if (n >= p.d_state) v = v > limit ? limit : v < -limit ? -limit : v;
            p.bc[(u64)token * 2 * p.d_state + n] = (i16)v;
        }
        break;
    }
    case LOG_DELTA:
        ((i16*)p.y)[at] = log_delta(acc, code, p.shift, p.bias[row], *p.tables);
        break;
    case RESIDUAL: {
        i32* y = (i32*)p.y + at;
        *y = add_saturating(*y, saturate_i32(requantize(acc, code, p.shift - p.down[token], multiplier)));
        break;
    }
    default:
        ((i32*)p.y)[at] = saturate_i32(requantize(acc, code, p.shift, multiplier));
    }
}

// Few tokens: a warp per row, lanes over columns, M tokens at once. A lane sums at most 512 columns: exact in i32.
template <int M>
__device__ __forceinline__ void project_few(const ProjectParams& p) {
    u32 row = blockIdx.x * (BLOCK_THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    u32 first = blockIdx.y * M;
    if (row >= p.rows) return;
    i32 acc[M];
#pragma unroll
    for (int t = 0; t < M; t++) acc[t] = 0;
    const i8* w = p.w + (u64)row * p.columns;
    for (u32 k = lane * 16; k < p.columns; k += 512) {
        int4 weights = __ldg((const int4*)(w + k));
#pragma unroll
        for (int t = 0; t < M; t++) {
            u32 token = first + t < p.m ? first + t : p.m - 1;
            const int4* x = (const int4*)(p.x + (u64)token * p.x_stride + k);
            int4 a = x[0], b = x[1];
            i32 s = acc[t];
            s = __dp2a_lo(a.x, weights.x, s);
            s = __dp2a_hi(a.y, weights.x, s);
            s = __dp2a_lo(a.z, weights.y, s);
            s = __dp2a_hi(a.w, weights.y, s);
            s = __dp2a_lo(b.x, weights.z, s);
            s = __dp2a_hi(b.y, weights.z, s);
            s = __dp2a_lo(b.z, weights.w, s);
            acc[t] = __dp2a_hi(b.w, weights.w, s);
        }
    }
#pragma unroll
    for (int t = 0; t < M; t++) {
        i64 sum = (i64)warp_sum((u64)(i64)acc[t]);
        if (lane == (u32)t && first + t < p.m) emit(p, first + t, row, sum);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_project_1(ProjectParams p) { project_few<1>(p); }
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_project_2(ProjectParams p) { project_few<2>(p); }
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_project_4(ProjectParams p) { project_few<4>(p); }
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_project_8(ProjectParams p) { project_few<8>(p); }

__device__ __forceinline__ void copy_16(void* to, const void* from) {
    u32 shared = (u32)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(from));
}

// c += a * b, a 16 weights rows of 32 columns, b 8 tokens of one byte plane.
__device__ __forceinline__ void mma_high(i32 c[4], const u32 a[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void mma_low(i32 c[4], const u32 a[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Many tokens: tensor cores. An i16 is 256 * (its high byte, signed) + (its low byte, unsigned): two products, each
// exact in i32 for up to 16,384 columns (255 * 128 * 2^14 < 2^31).
//
// A block makes a tile of 16 * WR * TR rows by 8 * WT * TT tokens; a warp of it 16 * TR by 8 * TT. Columns go through
// shared memory, 64 at a time, STAGES deep. Strides of 80 and 160 bytes keep the fragments' reads free of conflicts.
template <int WR, int WT, int TR, int TT, int STAGES>
__device__ __forceinline__ void project_many(const ProjectParams& p) {
    constexpr int ROWS = 16 * WR * TR, TOKENS = 8 * WT * TT, THREADS = 32 * WR * WT;
    constexpr int W_STRIDE = 80, X_STRIDE = 160;
    __shared__ __align__(16) u8 tile_w[STAGES][ROWS * W_STRIDE];
    __shared__ __align__(16) u8 tile_x[STAGES][TOKENS * X_STRIDE];
    u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
    u32 row0 = blockIdx.x * ROWS, token0 = blockIdx.y * TOKENS;
    u32 warp_row = warp % WR * 16 * TR, warp_token = warp / WR * 8 * TT;
    i32 low[TR][TT][4], high[TR][TT][4];
#pragma unroll
    for (int r = 0; r < TR; r++)
#pragma unroll
        for (int t = 0; t < TT; t++)
#pragma unroll
            for (int i = 0; i < 4; i++) low[r][t][i] = high[r][t][i] = 0;

    u32 steps = p.columns / 64;
    auto load = [&](u32 step) {
        if (step < steps) {
            u32 stage = step % STAGES;
            for (u32 i = threadIdx.x; i < ROWS * 4; i += THREADS) {
                u32 row = i / 4, part = i % 4;
                copy_16(&tile_w[stage][row * W_STRIDE + part * 16],
                        p.w + (u64)(row0 + row) * p.columns + step * 64 + part * 16);
            }
            for (u32 i = threadIdx.x; i < TOKENS * 8; i += THREADS) {
                u32 token = i / 8, part = i % 8, from = token0 + token;
                from = from < p.m ? from : p.m - 1;
                copy_16(&tile_x[stage][token * X_STRIDE + part * 16],
                        p.x + (u64)from * p.x_stride + step * 64 + part * 8);
            }
        }
        asm volatile("cp.async.commit_group;");
    };
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++) load(s);
    for (u32 step = 0; step < steps; step++) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2));
        __syncthreads();
        // Overwrites the stage that all warps have left at the barrier.
        load(step + STAGES - 1);
        const u8* w = tile_w[step % STAGES];
        const u8* x = tile_x[step % STAGES];
#pragma unroll
        for (u32 k = 0; k < 64; k += 32) {
            u32 a[TR][4];
#pragma unroll
            for (int r = 0; r < TR; r++) {
                const u8* at = w + (warp_row + r * 16 + group) * W_STRIDE + k + quad * 4;
                a[r][0] = *(const u32*)at;
                a[r][1] = *(const u32*)(at + 8 * W_STRIDE);
                a[r][2] = *(const u32*)(at + 16);
                a[r][3] = *(const u32*)(at + 8 * W_STRIDE + 16);
            }
#pragma unroll
            for (int t = 0; t < TT; t++) {
                const u8* at = x + (warp_token + t * 8 + group) * X_STRIDE + 2 * k + quad * 8;
                uint2 b0 = *(const uint2*)at, b1 = *(const uint2*)(at + 32);
                u32 low0 = __byte_perm(b0.x, b0.y, 0x6420), high0 = __byte_perm(b0.x, b0.y, 0x7531);
                u32 low1 = __byte_perm(b1.x, b1.y, 0x6420), high1 = __byte_perm(b1.x, b1.y, 0x7531);
#pragma unroll
                for (int r = 0; r < TR; r++) {
                    mma_low(low[r][t], a[r], low0, low1);
                    mma_high(high[r][t], a[r], high0, high1);
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < TR; r++)
#pragma unroll
        for (int t = 0; t < TT; t++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                u32 row = row0 + warp_row + r * 16 + group + (i / 2) * 8;
                u32 token = token0 + warp_token + t * 8 + quad * 2 + i % 2;
                if (row < p.rows && token < p.m) emit(p, token, row, (i64)high[r][t][i] * 256 + low[r][t][i]);
            }
}

// 128 rows by 64 tokens.
extern "C" __global__ void __launch_bounds__(256) exact_project_large(ProjectParams p) {
    project_many<4, 2, 2, 4, 2>(p);
}

// 64 rows by 16 tokens.
extern "C" __global__ void __launch_bounds__(128) exact_project_small(ProjectParams p) {
    project_many<4, 1, 1, 2, 4>(p);
}

// ---- Convolution and SiLU: a thread per token and channel. Reads the state's columns, does not move them.

struct ConvParams {
    const i16* xz;         // [m, 2 * d_inner]: x, z
    const i16* history;    // this layer's columns of row 0
    const i32* row_of;     // [m]
    const i32* starts;     // [rows + 1]
    const i8* w;           // [d_conv, d_inner]
    const u8* code;        // [d_inner]
    const i16* bias;       // [d_inner]
    const Tables* tables;
    i16* x;                // [m, x_stride]
    u64 state_stride;      // i16 from row to row
    u32 d_inner, d_conv, x_stride, shift, frac, pad;
};

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_conv(ConvParams p) {
    u32 token = blockIdx.x, d = blockIdx.y * BLOCK_THREADS + threadIdx.x;
    if (d >= p.d_inner) return;
    u32 row = p.row_of[token];
    i32 t = (i32)token - p.starts[row], back = (i32)p.d_conv - 1;
    i32 acc = 0;
    for (i32 k = 0; k <= back; k++) {
        i32 at = t - back + k;
        i32 v = at >= 0 ? p.xz[(u64)(token - back + k) * 2 * p.d_inner + d]
                        : p.history[row * p.state_stride + (u64)(back + at) * p.d_inner + d];
        acc += p.w[k * p.d_inner + d] * v;
    }
    p.x[(u64)token * p.x_stride + d] =
        conv_silu(acc, p.code[d], p.shift, p.bias[d], p.frac, p.tables->row_multiplier, p.tables->sigmoid);
}

// ---- Scan, skip and gate: `lanes` lanes of a warp per channel with S states each, sequential over the row's tokens.
//
// A block of 128 threads has 128 / lanes channels of one row. It goes through time in tiles of TILE tokens: first all
// threads prepare what does not depend on the state (delta * x, the decay or its log, the first power of each lane),
// then the recurrence runs on shared memory, then all threads gate. With h_out null only y is made.

struct ScanParams {
    const i16* xz;         // [m, 2 * d_inner]
    const i16* x;          // [m, x_stride]
    const i16* log_delta;  // [m, d_inner]
    const i16* bc;         // [m, 2 * d_state]
    const i32* starts;     // [rows + 1]
    const u8* a_log;       // [d_state or 1, d_inner]
    const u8* state_code;  // [d_inner]
    const i16* d_skip;     // [d_inner]
    const Tables* tables;
    const i16* state;      // this layer's state of row 0: columns, then h
    i16* state_out;        // the same place, or null: the state stays as it is
    i32* g;                // [m, d_inner]; null: only the state moves
    const i32* counts;     // [rows] tokens to read, or null: all
    u64 state_stride;
    u64 layer_state, layer_xz, layer_x, layer_log_delta, layer_bc;  // i16 from layer to layer, for blockIdx.z
    const struct ScanLayer* layers;  // replay of all layers: parameters by layer; else null
    i32 a_base, dx_base;
    u32 d_inner, d_conv, d_state, x_stride, tied, lanes;
    u32 y_shift, d_shift, gate_shift, z_frac;
};

struct ScanLayer {
    const u8* a_log;
    const u8* state_code;
    i32 a_base, dx_base;
};

template <int S>
__device__ __forceinline__ void scan(ScanParams p) {
    constexpr u32 THREADS = 128, TILE = 16;
    __shared__ Tables tables;
    __shared__ i16 s_dx[TILE * THREADS], s_a[TILE * THREADS];
    __shared__ i16 s_power[TILE * THREADS];
    __shared__ i32 s_y[TILE * THREADS];
    __shared__ i16 s_b[TILE * 64], s_c[TILE * 64];
    if (p.layers) {
        const ScanLayer& layer = p.layers[blockIdx.z];
        p.a_log = layer.a_log;
        p.state_code = layer.state_code;
        p.a_base = layer.a_base;
        p.dx_base = layer.dx_base;
        p.state += blockIdx.z * p.layer_state;
        p.state_out += blockIdx.z * p.layer_state;
        p.xz += blockIdx.z * p.layer_xz;
        p.x += blockIdx.z * p.layer_x;
        p.log_delta += blockIdx.z * p.layer_log_delta;
        p.bc += blockIdx.z * p.layer_bc;
    }
    for (u32 i = threadIdx.x; i < sizeof(Tables) / 4; i += THREADS) ((u32*)&tables)[i] = ((const u32*)p.tables)[i];
    u32 row = blockIdx.y, start = p.starts[row];
    u32 length = p.counts ? (u32)p.counts[row] : p.starts[row + 1] - start;
    if (length == 0) return;
    u32 lanes = p.lanes, width = 32 / lanes, channels = THREADS / lanes;
    u32 lane = threadIdx.x % 32, part = lane / width;
    u32 local = threadIdx.x / 32 * width + lane % width;  // this thread's channel in the block
    u32 channel0 = blockIdx.x * channels;
    u32 d = channel0 + local < p.d_inner ? channel0 + local : p.d_inner - 1;
    bool valid = channel0 + local < p.d_inner;
    u64 columns = (u64)(p.d_conv - 1) * p.d_inner;
    const i16* state = p.state + row * p.state_stride;
    i32 h[S], rate[S];
#pragma unroll
    for (int s = 0; s < S; s++) {
        u32 n = part * S + s;
        h[s] = n < p.d_state ? state[columns + (u64)n * p.d_inner + d] : 0;
        rate[s] = !p.tied && n < p.d_state ? p.a_base + 32 * (i32)p.a_log[(u64)n * p.d_inner + d] : 0;
    }
    for (u32 first = 0; first < length; first += TILE) {
        u32 tile = length - first < TILE ? length - first : TILE;
        u32 token0 = start + first;
        __syncthreads();
        for (u32 i = threadIdx.x; i < tile * 64; i += THREADS) {
            u32 t = i / 64, n = i % 64;
            const i16* bc = p.bc + (u64)(token0 + t) * 2 * p.d_state;
            s_b[i] = n < p.d_state ? bc[n] : (i16)0;
            s_c[i] = n < p.d_state ? bc[p.d_state + n] : (i16)0;
        }
        for (u32 i = threadIdx.x; i < tile * channels; i += THREADS) {
            u32 t = i / channels, c = channel0 + i % channels;
            c = c < p.d_inner ? c : p.d_inner - 1;
            u64 token = token0 + t;
            i32 l = p.log_delta[token * p.d_inner + c];
            s_dx[i] = delta_x(p.x[token * p.x_stride + c], l, p.dx_base, p.state_code[c], tables.exp2);
            s_a[i] = p.tied ? decay(l + p.a_base + 32 * (i32)p.a_log[c], tables.decay) : (i16)l;
        }
        if (p.tied) {
            // A lane's first decay is the power part * S + 1.
            __syncthreads();
            for (u32 i = threadIdx.x; i < tile * THREADS; i += THREADS) {
                u32 t = i / THREADS, j = i % THREADS, r = s_a[t * channels + j % channels];
                i32 power = r;
                for (u32 k = 0; k < j / channels * S; k++) power = mul_q15(power, r);
                s_power[i] = (i16)power;
            }
        }
        __syncthreads();
        for (u32 t = 0; t < tile; t++) {
            i32 dx = s_dx[t * channels + local], r = s_a[t * channels + local], y = 0;
            i32 power = p.tied ? s_power[t * THREADS + part * channels + local] : 0;
            const i16* b = s_b + t * 64 + part * S;
            const i16* c = s_c + t * 64 + part * S;
#pragma unroll
            for (int s = 0; s < S; s++) {
                i32 a = p.tied ? power : decay(r + rate[s], tables.decay);
                h[s] = state_update(h[s], a, dx, b[s]);
                y += c[s] * h[s];
                power = mul_q15(power, r);
            }
            for (u32 o = width; o < 32; o <<= 1) y += __shfl_xor_sync(0xffffffffu, y, o);
            if (part == 0) s_y[t * channels + local] = y;
        }
        if (p.g) {
            __syncthreads();
            for (u32 i = threadIdx.x; i < tile * channels; i += THREADS) {
                u32 t = i / channels, c = channel0 + i % channels;
                if (c < p.d_inner) {
                    u64 token = token0 + t;
                    i32 z = silu(p.xz[token * 2 * p.d_inner + p.d_inner + c], p.z_frac, tables.sigmoid);
                    p.g[token * p.d_inner + c] =
                        gate_element(s_y[i], p.state_code[c], p.y_shift, p.d_skip[c], p.x[token * p.x_stride + c],
                                     p.d_shift, z, p.gate_shift, tables.row_multiplier);
                }
            }
        }
    }
    if (!p.state_out || !valid) return;
    i16* out = p.state_out + row * p.state_stride;
#pragma unroll
    for (int s = 0; s < S; s++) {
        u32 n = part * S + s;
        if (n < p.d_state) out[columns + (u64)n * p.d_inner + d] = (i16)h[s];
    }
    if (part == 0) {
        // Column j becomes the input of time length - back + j; earlier columns are written after they are read.
        u32 back = p.d_conv - 1;
        for (u32 j = 0; j < back; j++) {
            i32 at = (i32)(length + j) - (i32)back;
            out[(u64)j * p.d_inner + d] = at >= 0 ? p.xz[(u64)(start + at) * 2 * p.d_inner + d]
                                                  : state[(u64)(back + at) * p.d_inner + d];
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 3) exact_scan_4(ScanParams p) { scan<4>(p); }
extern "C" __global__ void __launch_bounds__(128, 3) exact_scan_16(ScanParams p) { scan<16>(p); }

// ---- The gated output as i16, by the least shift that fits all channels: a block per token.

struct NarrowParams {
    const i32* g;          // [m, d_inner]
    i16* g16;              // [m, stride]
    u8* down;              // [m]
    u32 d_inner, stride;
};

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_narrow(NarrowParams p) {
    __shared__ u64 scratch[BLOCK_THREADS / 32];
    const i32* g = p.g + (u64)blockIdx.x * p.d_inner;
    u32 largest = 0;
    for (u32 i = threadIdx.x; i < p.d_inner; i += BLOCK_THREADS) largest |= g[i] < 0 ? 0u - (u32)g[i] : (u32)g[i];
    u32 down = gate_down((u32)block_reduce<true>(largest, scratch));
    for (u32 i = threadIdx.x; i < p.d_inner; i += BLOCK_THREADS) {
        p.g16[(u64)blockIdx.x * p.stride + i] = gate_element_16(g[i], down);
    }
    if (threadIdx.x == 0) p.down[blockIdx.x] = (u8)down;
}

// ---- Scores: a block of 256 threads per token.

struct SurpriseParams {
    const i32* logits;     // [m, 256]
    const u8* next;        // [m]
    const Tables* tables;
    u32* bits;             // [m], Q16
};

// Largest of a block's values.
__device__ __forceinline__ i32 block_largest(i32 v, i32* scratch) {
    v = __reduce_max_sync(0xffffffffu, v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
    __syncthreads();
    i32 all = scratch[0];
    for (u32 w = 1; w < BLOCK_THREADS / 32; w++) all = scratch[w] > all ? scratch[w] : all;
    return all;
}

extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) exact_surprise(SurpriseParams p) {
    __shared__ u64 scratch[BLOCK_THREADS / 32];
    __shared__ i32 scratch32[BLOCK_THREADS / 32];
    i32 logit = p.logits[(u64)blockIdx.x * 256 + threadIdx.x];
    i32 largest = block_largest(logit, scratch32);
    u32 distance = (u32)largest - (u32)logit;
    u64 sum = block_reduce<false>(score_weight(distance, p.tables->exp2), scratch);
    if (threadIdx.x == p.next[blockIdx.x]) p.bits[blockIdx.x] = score_surprise(distance, sum, p.tables->log2);
}

// ---- Sampling: a warp per row. Writes the byte where the next step reads it.

struct SampleParams {
    const i32* logits;     // [rows, 256]
    const Tables* tables;
    u64* rng;              // [rows], SplitMix64
    u8* tokens;            // [rows]
    u8* out;               // [steps, rows]
    u32* step;             // [rows]: steps done
    u64 inverse;           // as `Choice` has it
    u32 top_k, top_p, rows, pad;
};

extern "C" __global__ void __launch_bounds__(32) exact_sample(SampleParams p) {
    u32 row = blockIdx.x, lane = threadIdx.x;
    i32 logits[8];
#pragma unroll
    for (int r = 0; r < 8; r++) logits[r] = p.logits[(u64)row * 256 + lane * 8 + r];
    Choice how = {p.inverse, p.top_k, p.top_p};
    u64 rng = p.rng[row];
    u32 byte = choose(logits, lane, how, rng, p.tables->exp2);
    if (lane == 0) {
        if (how.inverse != 0) p.rng[row] = rng + RNG_STEP;
        p.tokens[row] = (u8)byte;
        p.out[(u64)p.step[row] * p.rows + row] = (u8)byte;
        p.step[row] += 1;
    }
}

// The host's structs have these sizes too (exact/launch.rs).
static_assert(sizeof(EmbedParams) == 56 && sizeof(NormParams) == 72 && sizeof(ProjectParams) == 104, "layout");
static_assert(sizeof(ConvParams) == 104 && sizeof(ScanParams) == 208 && sizeof(ScanLayer) == 24, "layout");
static_assert(sizeof(NarrowParams) == 32 && sizeof(SurpriseParams) == 32 && sizeof(SampleParams) == 72, "layout");
static_assert(sizeof(Tables) == 2 * (32 + 130 + 130 + 2432 + 514 + 514 + 194), "layout");
