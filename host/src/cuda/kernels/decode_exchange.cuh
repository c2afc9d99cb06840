// The exchange of words between the blocks of decode.cu, and the arithmetic that decoding and `accept` share.
#pragma once

#include "decode_params.cuh"

namespace decode {

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

__device__ __forceinline__ void look2(const void* at, unsigned long long& a, unsigned long long& b) {
    asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];" : "=l"(a), "=l"(b) : "l"(at) : "memory");
}

__device__ __forceinline__ bool is(unsigned long long both, uint32_t epoch) {
    return static_cast<uint32_t>(both >> 32) == epoch;
}

__device__ __forceinline__ uint32_t low(unsigned long long both) { return static_cast<uint32_t>(both); }

/// What a wait was for, as the host names it (`report.rs`).
enum Waited : uint32_t { WEIGHTS = 1, SUMS = 2, OPERAND = 3, SELECTED = 4, LOGITS = 5, RING = 6 };

/// Ends this thread, since what it waits for has not come. The first reason is left in the host's memory: what was waited
/// for, the width of the kernel and the block. No trap: that would end the context, with every model of the process.
///
/// The rest of the grid ends too, soon or after waits of its own: barriers, votes and shuffles count only threads that
/// have not exited, and every other wait is bounded. Results and states are then worthless, which the host says. A bulk copy
/// must not land in the shared memory of a block that is gone, so the thread stays for the milliseconds that those take
/// which its warp has asked for.
__device__ __forceinline__ void leave_reason(uint64_t* to, uint64_t reason) {
    volatile uint64_t* report = to;
    if (*report == 0) *report = reason;
    __threadfence_system();
    long long start = clock64();
#pragma unroll 1
    while (clock64() - start < (1 << 22)) {}
}

__device__ __noinline__ void leave_reason_far(uint64_t* to, uint64_t reason) {
    leave_reason(to, reason);
}

/// As said above. In bf16 the reason is left by a call, so that the loops that wait keep nothing for its sake (batches of 32
/// are 6 % faster on an H200); in i8 the call costs registers that are needed (7 % slower), so it is inlined there.
template <bool INLINED>
__device__ __forceinline__ void give_up(const Params& p, Waited what, uint32_t width) {
    uint64_t reason = static_cast<uint64_t>(blockIdx.x) << 16 | width << 8 | what;
    if constexpr (INLINED) {
        leave_reason(p.report, reason);
        asm volatile("exit;");
    } else {
        leave_reason_far(p.report, reason);
        asm volatile("exit;");
        __builtin_unreachable();
    }
}

__device__ __forceinline__ float get_float(const Params& p, uint32_t width, const uint2* at, uint32_t epoch) {
#pragma unroll 1
    for (uint32_t polls = 0;; polls++) {
        unsigned long long both = look(at);
        if (is(both, epoch)) return __uint_as_float(low(both));
        if (polls > p.patience) give_up<false>(p, LOGITS, width);
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

/// The same number, of which the compiler knows nothing: what follows from it is not kept in registers from one layer
/// to the next.
__device__ __forceinline__ int anew(int x) {
    asm volatile("" : "+r"(x));
    return x;
}

} // namespace decode
