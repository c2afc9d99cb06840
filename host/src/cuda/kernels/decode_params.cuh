// What a launch of decode.cu gets. `params.rs` has the same struct, field by field: a test of the host reads this one.
#pragma once

#include "sample.cuh"

namespace decode {

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;

constexpr int WARPS = 8;
constexpr int THREADS = WARPS * 32;
constexpr int UNIT = 512;      // bytes that a warp takes at once: 16 per lane
constexpr uint32_t PIECE = 2048; // bytes of one bulk copy at most
constexpr int ROWS = 16;       // rows and columns of a tile
constexpr int TAPS = 3;        // columns of the convolution's history at most
constexpr int MOST_SLOTS = 14; // of a warp's ring

struct Params {
    // Shape. k* are numbers of tiles: of d_model, d_inner, dt_rank (rounded up), of the rows of B and C.
    int d_model, d_inner, d_state, d_conv, n_layer, km, ki, kd, kbc;
    int layer_norm;
    float eps;
    int slots; // of a warp's ring
    int chunk; // tiles of weights in a slot: 4, 8 or 16
    // Of a block's vectors of one layer: bytes; floats of a channel tile, and before those of residual and x_proj.
    int side_bytes, side_channel, side_residual, side_projection;
    // This launch.
    int columns, passes, commit;
    int kept; // columns of what is kept: passes of each column follow each other
    uint32_t epoch;
    uint32_t patience; // polls until a wait is given up
    uint32_t top_k, top_p; // with `inverse` a `Choice`
    // Of each column: its stream, the first column of the same stream times 2^8, its byte times 2^24. For `accept`: a
    // stream, its first kept column, how many of them.
    uint32_t column[32];
    unsigned long long inverse;
    uint64_t rng[32];     // of each column: its own generator before the first draw
    const Tables* tables; // of the sampler
    uint64_t* report;     // in the host's memory: 0, or which wait was given up, see `give_up`
    // Weights.
    const uint8_t* stream;
    const unsigned long long* stream_at; // [grid * WARPS + 1], multiples of a slot
    const uint8_t* side;                 // [grid, n_layer, side_bytes], see `Side`
    const float* embedding;              // [256, km * 16]
    const float* norm;                   // [km * 16]: of the first layer
    const float* head_scale;             // [256]; 1 for bf16
    const float* head_sum;               // [256]: W w
    const float* head_bias;              // [256]: W b
    const float* a;                      // [n_layer, ki * 16, d_state]: -exp(A_log) log2(e); for `accept`
    // Exchange buffers.
    uint2* res;    // operand [km]
    uint4* sums;   // [32, km]: sum and sum of squares of 16 rows
    uint2* u;      // operand [ki]
    uint2* dt;     // operand [kd]
    uint4* bc;     // [32, d_state]: B and C
    uint2* g;      // operand [ki]
    uint2* logits; // [256, 32]
    // State of each stream and layer, and the distance from one to the next in elements.
    float* history; // [d_conv - 1, d_inner]
    float* h;       // [d_inner, d_state]
    uint64_t history_stream, history_layer, h_stream, h_layer;
    // What a later accept replays: [n_layer, kept, ..], or null.
    float* kept_x;     // [ki * 16], before the convolution
    float* kept_u;     // [ki * 16]
    float* kept_delta; // [ki * 16]
    float* kept_b;     // [d_state]
    // Results, in the host's memory.
    float* out_logits;  // [columns, 256], of the last pass
    uint8_t* out_bytes; // [passes, columns] or null: then nothing is sampled and passes is 1
};

__device__ __forceinline__ int stream_in(uint32_t column) { return column & 0xff; }
__device__ __forceinline__ int first_in(uint32_t column) { return column >> 8 & 0xffff; }
__device__ __forceinline__ int byte_in(uint32_t column) { return column >> 24; }

} // namespace decode
