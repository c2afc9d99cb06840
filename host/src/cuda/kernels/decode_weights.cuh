// How the weights of decode.cu come to a warp, and its products.
#pragma once

#include "decode_exchange.cuh"

namespace decode {


template <bool I8>
__device__ __forceinline__ void wait(const Params& p, uint32_t width, uint32_t bar, uint32_t parity) {
    uint32_t done = 0;
#pragma unroll 1
    for (uint32_t polls = 0; !done; polls++) {
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(bar), "r"(parity)
                     : "memory");
        if (polls > p.patience) give_up<I8>(p, WEIGHTS, width);
    }
}

__device__ __forceinline__ void expect(uint32_t bar, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

/// Starts a copy of `bytes` to shared memory, of which `bar` hears.
__device__ __forceinline__ void copy(uint32_t to, const uint8_t* from, uint32_t bytes, uint32_t bar) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(bar)
                 : "memory");
}

/// A warp's weights, in order, through its ring. All lanes hold the same.
///
/// A free slot is filled in pieces, one each time that the warp polls: a chunk asked for at once would fill the queues of
/// the memory, and the words that the block waits for would stand in them.
struct Stream {
    const uint8_t *from, *next, *end; // a pass's weights; the next piece
    uint32_t left;                    // chunks not yet asked for
    uint32_t fill, filled;            // the slot being filled, and how much of it has been asked for
    uint32_t free;                    // slots not yet asked for, this one included
    uint32_t slot, parity;            // where the warp reads
    uint32_t slots, bytes;            // of the ring; of a chunk
    uint32_t ring, bars;

    /// Asks for one more piece, if there is room.
    __device__ __forceinline__ void pump() {
        if (free == 0 || left == 0) return;
        uint32_t piece = min(bytes, PIECE);
        if (threadIdx.x % 32 == 0) {
            uint32_t bar = bars + 8 * fill;
            if (filled == 0) expect(bar, bytes);
            copy(ring + fill * bytes + filled, next, piece, bar);
        }
        next += piece;
        filled += piece;
        if (filled == bytes) {
            filled = 0;
            free--;
            left--;
            if (next == end) next = from;
            if (++fill == slots) fill = 0;
        }
    }

    /// The barriers are initialised.
    __device__ void start(const Params& p, uint32_t bytes_, uint32_t ring_, uint32_t bars_) {
        const unsigned long long* at = p.stream_at + blockIdx.x * WARPS + threadIdx.x / 32;
        from = next = p.stream + at[0];
        end = p.stream + at[1];
        bytes = bytes_;
        left = static_cast<uint32_t>((at[1] - at[0]) / bytes) * p.passes;
        slots = free = p.slots;
        ring = ring_ + threadIdx.x / 32 * slots * bytes;
        bars = bars_ + threadIdx.x / 32 * MOST_SLOTS * 8;
        fill = filled = slot = parity = 0;
#pragma unroll 1
        while (free > 0 && left > 0) pump();
    }

    /// Waits for the next chunk and returns this lane's part of it.
    template <bool I8>
    __device__ uint32_t arrive(const Params& p, uint32_t width) {
#pragma unroll 1
        while (free == slots) { // it has not been asked for
            if (left == 0) give_up<I8>(p, RING, width);
            pump();
        }
        wait<I8>(p, width, bars + 8 * slot, parity);
        return ring + slot * bytes + threadIdx.x % 32 * 16;
    }

    /// That chunk has been read.
    __device__ void release() {
        __syncwarp();
        free++;
        if (++slot == slots) {
            slot = 0;
            parity ^= 1;
        }
#pragma unroll 1
        do { // one slot at most waits for polls
            pump();
        } while (free > 1 && left > 0);
    }
};

__device__ __forceinline__ void multiply(float (&c)[4], const uint4& a, uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/// Four i8 to four bf16, exactly: 128 + the low seven bits, less 128, or 256 if the sign is set.
__device__ __forceinline__ void widen(uint32_t w, uint32_t& low, uint32_t& high) {
    uint32_t p0 = __byte_perm(w, 0, 0x4140), p1 = __byte_perm(w, 0, 0x4342);
    uint32_t v0 = (p0 & 0x007f007fu) | 0x43004300u, s0 = (p0 & 0x00800080u) | 0x43004300u;
    uint32_t v1 = (p1 & 0x007f007fu) | 0x43004300u, s1 = (p1 & 0x00800080u) | 0x43004300u;
    asm("sub.bf16x2 %0, %1, %2;" : "=r"(low) : "r"(v0), "r"(s0));
    asm("sub.bf16x2 %0, %1, %2;" : "=r"(high) : "r"(v1), "r"(s1));
}

/// A tile of i8 weights as the first operand in bf16.
__device__ __forceinline__ uint4 widened(uint32_t w0, uint32_t w1) {
    uint4 a;
    widen(w0, a.x, a.y);
    widen(w1, a.z, a.w);
    return a;
}

/// Tile `tile` of the chunk that a lane's `at` points into.
template <bool I8>
__device__ __forceinline__ uint4 weights_of(uint32_t at, int tile) {
    if (I8) {
        uint32_t a, b;
        asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];" : "=r"(a), "=r"(b) : "r"(at + tile / 2 * UNIT + tile % 2 * 8) : "memory");
        return widened(a, b);
    }
    uint4 w;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(w.x), "=r"(w.y), "=r"(w.z), "=r"(w.w)
                 : "r"(at + tile * UNIT)
                 : "memory");
    return w;
}

/// A block's vectors of one layer: for each own tile of channels, of the residual stream and of x_proj, floats at
/// these places. After a channel tile's floats come its units of dt_proj. `pack.rs` writes it.
struct Side {
    static constexpr int CONV = 0, CONV_BIAS = 4 * ROWS, IN_SCALE = 5 * ROWS, IN_SUM = 7 * ROWS, IN_BIAS = 9 * ROWS,
                         DT_SCALE = 11 * ROWS, DT_BIAS = 12 * ROWS, SKIP = 13 * ROWS, A = 14 * ROWS;
    static constexpr int OUT_SCALE = 0, NEXT_NORM = ROWS, RESIDUAL = 2 * ROWS;
};

} // namespace decode
