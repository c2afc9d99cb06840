// The choice of the next byte, core/src/sample.rs to the bit, by one warp: the only sampler of the GPU. Float logits are
// rounded to the exact mode's units first. What a row draws is a function of its own logits and its own generator.
#pragma once

#include "exact.cuh"

constexpr u64 RNG_STEP = 0x9e3779b97f4a7c15ull; // a draw moves a generator's state by this much

// How to choose.
struct Choice {
    u64 inverse; // 2^32 / temperature (Q16); 0: the most probable byte, and nothing is drawn
    u32 top_k;   // of the most probable bytes; 0: all
    u32 top_p;   // share of them, Q16
};

// A natural logit in log2 units, Q16, held to the range of i32; NaN is 0.
__device__ __forceinline__ i32 logit_unit(float logit) { return __float2int_rn(logit * 94548.4609375f); }

// The draw of a generator (SplitMix64) that it has moved to `state` for.
__device__ __forceinline__ u64 mixed(u64 state) {
    u64 z = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

__device__ __forceinline__ void in_order(u64& a, u64& b, bool up) {
    if ((a > b) == up) {
        u64 c = a;
        a = b;
        b = c;
    }
}

// Sorts the eight of each lane, which rise and fall already, up or down.
__device__ __forceinline__ void merge8(u64 (&key)[8], bool up) {
#pragma unroll
    for (int j = 4; j > 0; j /= 2)
#pragma unroll
        for (int r = 0; r < 8; r++)
            if ((r & j) == 0) in_order(key[r], key[r + j], up);
}

// Sorts 256 different numbers, eight of each lane, by a bitonic network: then lane l has those of the ranks 8 l and up.
__device__ __forceinline__ void sort256(u64 (&key)[8], u32 lane) {
#pragma unroll
    for (int k = 2; k < 8; k *= 2)
#pragma unroll
        for (int j = k / 2; j > 0; j /= 2)
#pragma unroll
            for (int r = 0; r < 8; r++)
                if ((r & j) == 0) in_order(key[r], key[r + j], (r & k) == 0);
    merge8(key, (lane & 1) == 0);
#pragma unroll 1
    for (u32 lanes = 2; lanes <= 32; lanes *= 2) {
        bool up = (lane & lanes) == 0;
#pragma unroll 1
        for (u32 m = lanes / 2; m > 0; m /= 2) {
            bool least = ((lane & m) == 0) == up;
#pragma unroll
            for (int r = 0; r < 8; r++) {
                u64 other = __shfl_xor_sync(~0u, key[r], m);
                if ((other < key[r]) == least) key[r] = other;
            }
        }
        merge8(key, up);
    }
}

// The byte, in every lane. Lane l has the logits of the bytes 8 l and up; `rng` is the generator's state, which the caller
// moves by RNG_STEP afterwards unless the choice is of the most probable byte.
__device__ __forceinline__ u32 choose(const i32 (&logits)[8], u32 lane, const Choice& how, u64 rng, const u16* exp2) {
    if (how.inverse == 0) {
        i32 best = logits[0];
        u32 byte = lane * 8;
#pragma unroll
        for (int r = 1; r < 8; r++)
            if (logits[r] > best) {
                best = logits[r];
                byte = lane * 8 + r;
            }
        u32 with = __ballot_sync(~0u, best == __reduce_max_sync(~0u, best));
        return __shfl_sync(~0u, byte, __ffs(with) - 1);
    }
    // Larger logits first, equals by byte: 2^31 - 1 - logit, then the byte.
    u64 key[8];
#pragma unroll
    for (int r = 0; r < 8; r++) key[r] = (u64)((u32)logits[r] ^ 0x7fffffffu) << 32 | (lane * 8 + r);
    sort256(key, lane);
    u32 first = __shfl_sync(~0u, (u32)(key[0] >> 32), 0), keep = how.top_k == 0 ? 256 : how.top_k;
    u32 weight[8];
    u64 own = 0;
#pragma unroll
    for (int r = 0; r < 8; r++) {
        u64 distance = ((u64)((u32)(key[r] >> 32) - first) * how.inverse) >> 16;
        distance = distance < (1ull << 40) ? distance : 1ull << 40;
        weight[r] = lane * 8 + r < keep ? (u32)(score_weight(distance, exp2) >> 7) : 0;
        own += weight[r];
    }
    u64 up_to = own;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        u64 before = __shfl_up_sync(~0u, up_to, d);
        if (lane >= d) up_to += before;
    }
    // What is kept: ranks before which less than the goal has come, and the first.
    u64 goal = (__shfl_sync(~0u, up_to, 31) * (how.top_p < 65536 ? how.top_p : 65536)) >> 16;
    u64 below = up_to - own, kept = 0;
#pragma unroll
    for (int r = 0; r < 8; r++) {
        if (below < goal || lane * 8 + r == 0) kept += weight[r];
        below += weight[r];
    }
#pragma unroll
    for (int d = 16; d > 0; d /= 2) kept += __shfl_xor_sync(~0u, kept, d);
    u64 draw = __umul64hi(mixed(rng + RNG_STEP), kept);
    // The only rank whose share holds the draw, which is less than all that is kept.
    u32 byte = 0;
    bool mine = false;
    below = up_to - own;
#pragma unroll
    for (int r = 0; r < 8; r++) {
        if (below <= draw && draw < below + weight[r]) {
            mine = true;
            byte = (u32)key[r] & 255;
        }
        below += weight[r];
    }
    return __shfl_sync(~0u, byte, __ffs(__ballot_sync(~0u, mine)) - 1);
}
