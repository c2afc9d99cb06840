// The exact integer step on a GPU.
#include "exact.cuh"

struct EmbedParams {
    const u8* tokens;         // [m]
    const u8* code;           // [256]
    const i8* rows;           // [256, stride]
    const Tables* tables;
    i32* residual;            // [m, d_model]
    u32 d_model, stride, shift;
};

// A block per token. The residual stream starts as the byte's row.
extern "C" __global__ void exact_embed(EmbedParams p) {
    u32 token = p.tokens[blockIdx.x];
    for (u32 i = threadIdx.x; i < p.d_model; i += blockDim.x) {
        i64 v = requantize(p.rows[token * p.stride + i], p.code[token], p.shift, p.tables->row_multiplier);
        p.residual[(u64)blockIdx.x * p.d_model + i] = saturate_i32(v);
    }
}
