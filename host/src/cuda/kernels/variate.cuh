// The random numbers of core/src/sample.rs, to the bit: SplitMix64, and exponential variates.
#pragma once

#include "exact.cuh"

constexpr u64 RNG_STEP = 0x9e3779b97f4a7c15ull; // a draw moves a generator's state by this much

// The draw of a generator (SplitMix64) that has moved to `state` for it.
MBB_FN u64 mixed(u64 state) {
    u64 z = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// -ln u in Q32, u a share of 2^64: less than 2^38. Doubled to at least one half, then grown by a half, a quarter, ...
// where it stays below one; what is left is 1 - u.
MBB_FN u64 exponential(u64 random) {
    // ln(1 + 2^-k) in Q40.
    constexpr u64 LN_GROWN[18] = {445813601022, 245348929333, 129503817259, 66657476617, 33833796510, 17047033376,
                                  8556553905,   4286600470,   2145389223,   1073217877,  536739883,   268402693,
                                  134209537,    67106816,     33553920,     16777088,    8388576,     4194296};
    constexpr u64 LN_2 = 762123384786; // Q40
    u64 u = random | 1;
    int octaves = leading_zeros(u);
    u <<= octaves;
    u64 sum = (u64)octaves * LN_2;
#ifdef __CUDACC__
#pragma unroll
#endif
    for (int k = 0; k < 18; k++) {
        u64 grown = u + (u >> (k + 1));
        if (grown > u) { // it has not passed one
            u = grown;
            sum += LN_GROWN[k];
        }
    }
    return (sum + ((0 - u) >> 24)) >> 8;
}
