// What the float kernels share: element types, four or eight elements at a time, exp2, softplus, SiLU.

#pragma once

typedef unsigned short bf16;

namespace {

constexpr float LOG2E = 1.4426950408889634f;
constexpr unsigned FULL = 0xffffffffu; // all lanes of a warp

__device__ __forceinline__ float ex2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float rcp_approx(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// 2^x within 0.6 ulp for |x| <= 126, held there. The unit's own 2 ulp would add up over a long memory.
__device__ __forceinline__ float ex2_exact(float x) {
    x = fminf(fmaxf(x, -126.f), 126.f);
    float k = x + 12582912.f, r = x - (k - 12582912.f);
    float p = fmaf(r, 1.54035122e-4f, 1.33907353e-3f);
    p = fmaf(r, p, 9.61823761e-3f);
    p = fmaf(r, p, 5.55035733e-2f);
    p = fmaf(r, p, 2.40226492e-1f);
    p = fmaf(r, p, 6.93147182e-1f);
    p = fmaf(r, p, 1.f);
    return __uint_as_float(__float_as_uint(p) + (__float_as_uint(k) << 23));
}
template <bool EXACT> __device__ __forceinline__ float ex2(float x) { return EXACT ? ex2_exact(x) : ex2_approx(x); }

// max(x, 0) + log(1 + e^-|x|), the logarithm as w times a polynomial of w = e^-|x| in (0, 1]: no cancellation for small
// results, one special function. Relative error of the polynomial 8.4e-6, or 3e-8 if EXACT.
template <bool EXACT> __device__ __forceinline__ float softplus(float x) {
    float w = ex2<EXACT>(-LOG2E * fabsf(x)), p;
    if (EXACT) {
        p = fmaf(w, 5.232691299e-3f, -2.950522676e-2f);
        p = fmaf(w, p, 7.822593302e-2f);
        p = fmaf(w, p, -1.366324425e-1f);
        p = fmaf(w, p, 1.910600662e-1f);
        p = fmaf(w, p, -2.484298199e-1f);
        p = fmaf(w, p, 3.331909776e-1f);
        p = fmaf(w, p, -4.999949336e-1f);
        p = fmaf(w, p, 9.999999404e-1f);
        if (x < -87.f) w = 0.f;
    } else {
        p = fmaf(w, -2.386914007e-2f, 1.012222543e-1f);
        p = fmaf(w, p, -2.100486606e-1f);
        p = fmaf(w, p, 3.252066672e-1f);
        p = fmaf(w, p, -4.993613660e-1f);
        p = fmaf(w, p, 9.999915957e-1f);
    }
    return fmaf(w, p, fmaxf(x, 0.f));
}
template <bool EXACT> __device__ __forceinline__ float silu(float z) {
    float e = 1.f + ex2<EXACT>(-LOG2E * z);
    return EXACT ? __fdiv_rn(z, e) : z * rcp_approx(e);
}

// Four neighbouring elements.
template <class T> struct Four;
template <> struct Four<bf16> {
    uint2 v;
    __device__ __forceinline__ void load(const bf16 *p) { v = *(const uint2 *)p; }
    __device__ __forceinline__ float get(int i) const {
        const unsigned w = i < 2 ? v.x : v.y;
        return __uint_as_float(i & 1 ? w & 0xffff0000u : w << 16);
    }
    static __device__ __forceinline__ void store(bf16 *p, const float *f) {
        uint2 r;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r.x) : "f"(f[1]), "f"(f[0]));
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r.y) : "f"(f[3]), "f"(f[2]));
        *(uint2 *)p = r;
    }
};
template <> struct Four<float> {
    float4 v;
    __device__ __forceinline__ void load(const float *p) { v = *(const float4 *)p; }
    __device__ __forceinline__ float get(int i) const { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
    static __device__ __forceinline__ void store(float *p, const float *f) {
        *(float4 *)p = make_float4(f[0], f[1], f[2], f[3]);
    }
};

// Eight neighbouring elements to and from f32; addresses are multiples of 16 bytes.
__device__ __forceinline__ void load8(float *to, const float *from) {
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const float4 v = ((const float4 *)from)[k];
        to[4 * k] = v.x, to[4 * k + 1] = v.y, to[4 * k + 2] = v.z, to[4 * k + 3] = v.w;
    }
}
__device__ __forceinline__ void load8(float *to, const bf16 *from) {
    const uint4 v = *(const uint4 *)from;
    const unsigned w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        to[2 * k] = __uint_as_float(w[k] << 16);
        to[2 * k + 1] = __uint_as_float(w[k] & 0xffff0000u);
    }
}
__device__ __forceinline__ void store8(float *to, const float *from) {
#pragma unroll
    for (int k = 0; k < 2; k++)
        ((float4 *)to)[k] = make_float4(from[4 * k], from[4 * k + 1], from[4 * k + 2], from[4 * k + 3]);
}
__device__ __forceinline__ void store8(bf16 *to, const float *from) {
    uint4 v;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v.x) : "f"(from[1]), "f"(from[0]));
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v.y) : "f"(from[3]), "f"(from[2]));
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v.z) : "f"(from[5]), "f"(from[4]));
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v.w) : "f"(from[7]), "f"(from[6]));
    *(uint4 *)to = v;
}

} // namespace
