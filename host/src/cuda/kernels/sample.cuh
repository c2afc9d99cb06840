// The choice of the next byte, core/src/sample.rs to the bit, by one warp: the only sampler of the GPU. Float logits are
// rounded to the exact mode's units first. What a row draws is a function of its own logits and its own generator.
#pragma once

#include "variate.cuh"

// How to choose.
struct Choice {
    u64 inverse; // 2^32 / temperature (Q16); 0: the most probable byte, and nothing is drawn
    u32 top_k;   // of the most probable bytes; 0: all
    u32 top_p;   // share of them, Q16
};

// A natural logit in log2 units, Q16, held to the range of i32; NaN is 0.
__device__ __forceinline__ i32 logit_unit(float logit) { return __float2int_rn(logit * 94548.4609375f); }

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
    // The byte whose variate is least beside its weight, of equals the larger weight, then the smaller byte: `variate / share
    // < least / with` multiplied out.
    u64 draw = mixed(rng + RNG_STEP), least = 1;
    u32 with = 0, best = 0; // no weight is infinitely far
    auto take = [&](u64 variate, u32 share, u32 byte) {
        u64 far = variate * with, near = least * share;
        bool wins = far < near || (far == near && (share > with || (share == with && byte < best)));
        if (share > 0 && (with == 0 || wins)) {
            least = variate;
            with = share;
            best = byte;
        }
    };
    auto own = [&](u32 byte) { return mixed(draw + RNG_STEP * (byte + 1)); };
    auto weight_at = [&](u32 below) {
        u64 distance = ((u64)below * how.inverse) >> 16;
        return (u32)(score_weight(distance < (1ull << 40) ? distance : 1ull << 40, exp2) >> 7);
    };
    if ((how.top_k == 0 || how.top_k >= 256) && how.top_p >= 65536) {
        // Nothing is cut, so nothing is sorted. First every lane has the most probable byte; few others come near it.
        i32 most = logits[0];
#pragma unroll
        for (int r = 1; r < 8; r++) most = logits[r] > most ? logits[r] : most;
        most = __reduce_max_sync(~0u, most);
        u32 which = 8;
#pragma unroll
        for (int r = 7; r >= 0; r--)
            if (logits[r] == most) which = r;
        u32 from = __ffs(__ballot_sync(~0u, which < 8)) - 1, byte = from * 8 + __shfl_sync(~0u, which, from);
        take(exponential(own(byte)), weight_at(0), byte);
        u32 share[8];
#pragma unroll
        for (int r = 0; r < 8; r++) share[r] = weight_at((u32)most - (u32)logits[r]);
#pragma unroll 1
        for (int r = 0; r < 8; r++) {
            u32 mine = share[0];
            // The next one comes to the front: indices stay constants, and all of it in registers.
#pragma unroll
            for (int i = 0; i < 7; i++) share[i] = share[i + 1];
            u64 random = own(lane * 8 + r), bound = ~random >> 32; // -ln u is at least 1 - u, which costs no logarithm
            if (mine > 0 && (bound > 0 ? bound - 1 : 0) * with <= least * mine) take(exponential(random), mine, lane * 8 + r);
        }
    } else {
        // Larger logits first, equals by byte: 2^31 - 1 - logit, then the byte.
        u64 key[8];
#pragma unroll
        for (int r = 0; r < 8; r++) key[r] = (u64)((u32)logits[r] ^ 0x7fffffffu) << 32 | (lane * 8 + r);
        sort256(key, lane);
        u32 first = __shfl_sync(~0u, (u32)(key[0] >> 32), 0), keep = how.top_k == 0 ? 256 : how.top_k;
        u32 weight[8];
        u64 own_sum = 0;
#pragma unroll
        for (int r = 0; r < 8; r++) {
            weight[r] = lane * 8 + r < keep ? weight_at((u32)(key[r] >> 32) - first) : 0;
            own_sum += weight[r];
        }
        u64 up_to = own_sum;
#pragma unroll
        for (int d = 1; d < 32; d *= 2) {
            u64 before = __shfl_up_sync(~0u, up_to, d);
            if (lane >= d) up_to += before;
        }
        // What is kept: ranks before which less than the goal has come, and the first.
        u64 goal = (__shfl_sync(~0u, up_to, 31) * (how.top_p < 65536 ? how.top_p : 65536)) >> 16;
        u64 below = up_to - own_sum;
#pragma unroll 1
        for (int r = 0; r < 8; r++) {
            u32 byte = (u32)key[0] & 255, share = weight[0];
            // The next one comes to the front, as above.
#pragma unroll
            for (int i = 0; i < 7; i++) {
                key[i] = key[i + 1];
                weight[i] = weight[i + 1];
            }
            if (below < goal || lane * 8 + r == 0) {
                take(exponential(own(byte)), share, byte);
            }
            below += share;
        }
    }
#pragma unroll 1
    for (int d = 16; d > 0; d /= 2) {
        u64 variate = __shfl_xor_sync(~0u, least, d);
        u32 share = __shfl_xor_sync(~0u, with, d), byte = __shfl_xor_sync(~0u, best, d);
        take(variate, share, byte);
    }
    return best;
}
