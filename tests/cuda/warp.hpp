// A warp without a GPU: thirty-two contexts of one thread. What the lanes tell each other waits until all have come to it, so
// that a function which every lane runs to its end, shuffles included, does here what it does there.
#pragma once

#include <cstring>
#include <ucontext.h>

#define __device__ static
#define __forceinline__ inline

struct Warp {
    static constexpr int LANES = 32, STACK = 1 << 16;
    ucontext_t caller, lanes[LANES];
    char stacks[LANES][STACK];
    // What was sent last and before: a lane may be one shuffle ahead of another.
    unsigned long long sent[2][LANES];
    int count[LANES];
    int lane;
    void (*run)(int lane);
};

static Warp warp;

// Lets every other lane come here; what all of them have sent.
static const unsigned long long* exchange(unsigned long long value) {
    int lane = warp.lane, which = warp.count[lane]++ & 1, next = (lane + 1) % Warp::LANES;
    warp.sent[which][lane] = value;
    warp.lane = next;
    swapcontext(&warp.lanes[lane], &warp.lanes[next]);
    return warp.sent[which];
}

static void lane_begins() {
    warp.run(warp.lane);
    // The next lane goes on from where it waits; after the last one the caller does.
    warp.lane++;
}

static void prepare(int i) {
    getcontext(&warp.lanes[i]);
    warp.lanes[i].uc_stack.ss_sp = warp.stacks[i];
    warp.lanes[i].uc_stack.ss_size = Warp::STACK;
    warp.lanes[i].uc_link = i + 1 < Warp::LANES ? &warp.lanes[i + 1] : &warp.caller;
    makecontext(&warp.lanes[i], lane_begins, 0);
}

// Runs `lane` as each lane.
static void run_warp(void (*lane)(int)) {
    memset(warp.count, 0, sizeof warp.count);
    warp.lane = 0;
    warp.run = lane;
    for (int i = 0; i < Warp::LANES; i++) prepare(i);
    swapcontext(&warp.caller, &warp.lanes[0]);
}

template <typename T> static T __shfl_sync(unsigned, T value, int from) { return (T)exchange((unsigned long long)value)[from]; }
template <typename T> static T __shfl_xor_sync(unsigned, T value, int mask) {
    int lane = warp.lane;
    return (T)exchange((unsigned long long)value)[lane ^ mask];
}
template <typename T> static T __shfl_up_sync(unsigned, T value, int by) {
    int lane = warp.lane;
    const unsigned long long* all = exchange((unsigned long long)value);
    return lane < by ? value : (T)all[lane - by];
}
static inline unsigned __ballot_sync(unsigned, bool value) {
    const unsigned long long* all = exchange(value);
    unsigned bits = 0;
    for (int i = 0; i < Warp::LANES; i++) bits |= (unsigned)all[i] << i;
    return bits;
}
static inline int __reduce_max_sync(unsigned, int value) {
    const unsigned long long* all = exchange((unsigned long long)value);
    int largest = (int)all[0];
    for (int i = 1; i < Warp::LANES; i++) largest = (int)all[i] > largest ? (int)all[i] : largest;
    return largest;
}
static inline int __ffs(unsigned bits) { return __builtin_ffs((int)bits); }
static inline int __float2int_rn(float value) { return (int)__builtin_rintf(value); }
