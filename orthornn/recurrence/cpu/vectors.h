/* Vectors as wide as the processor's registers, and the nonlinearities on them.
 *
 * REAL is float or double, INTEGER an integer of its size, LEAKY_SLOPE that of leaky ReLU.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#define BYTES 64
#define TILE_ROWS 14 /* two sums each, two columns and a factor fill 32 registers */
#elif defined(__AVX__)
#define BYTES 32
#define TILE_ROWS 6
#else
#define BYTES 16
#define TILE_ROWS 6
#endif

#define ALWAYS static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define ROUND_UP(a, b) (((a) + (b) - 1) / (b) * (b))

typedef REAL Vector __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef INTEGER Mask __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));

#define LANES ((long)(BYTES / sizeof(REAL)))
#define PANEL (2 * LANES) /* columns of a tile of sums */

enum { IDENTITY, RELU, LEAKY_RELU, MODRELU, TANH };

ALWAYS Vector load(const REAL *from) { return *(const Vector *)from; }
ALWAYS void store(REAL *to, Vector a) { *(Vector *)to = a; }

/* the first `count` entries, with zeros behind them */
ALWAYS Vector load_some(const REAL *from, long count) {
    Vector a = {0};
    if (count >= LANES) return load(from);
    if (count <= 0) return a;
#if defined(__AVX512F__)
    if (sizeof(REAL) == 4) return (Vector)_mm512_maskz_loadu_ps((__mmask16)((1 << count) - 1), from);
    return (Vector)_mm512_maskz_loadu_pd((__mmask8)((1 << count) - 1), from);
#else
    memcpy(&a, from, (size_t)count * sizeof(REAL));
    return a;
#endif
}

ALWAYS void store_some(REAL *to, Vector a, long count) {
    if (count >= LANES) store(to, a);
#if defined(__AVX512F__)
    else if (sizeof(REAL) == 4) _mm512_mask_storeu_ps(to, (__mmask16)((1 << count) - 1), (__m512)a);
    else _mm512_mask_storeu_pd(to, (__mmask8)((1 << count) - 1), (__m512d)a);
#else
    else memcpy(to, &a, (size_t)count * sizeof(REAL));
#endif
}

ALWAYS Vector where(Mask chosen, Vector a, Vector b) {
    return (Vector)((chosen & (Mask)a) | (~chosen & (Mask)b));
}

/* tanh z = -u / (2 + u) with the sign of z, u = exp(-2|z|) - 1 = 2^n (exp(r) - 1) + (2^n - 1), where
 * -2|z| = n log 2 + r: no difference of near numbers, so no digits are lost at 0. exp(r) - 1 by its
 * series, |r| <= log(2) / 2. Beyond LIMIT tanh is 1 to the last bit. */
ALWAYS Vector tanh_of(Vector z) {
    const int single = sizeof(REAL) == 4, terms = single ? 8 : 14, fraction = single ? 23 : 52;
    const REAL limit = single ? 10 : 20, round = (REAL)(single ? 0x1.8p23 : 0x1.8p52);
    const REAL log2_high = (REAL)(single ? 0x1.63p-1 : 0x1.62e42fefa0000p-1); /* n of these is exact */
    const REAL log2_low = (REAL)(0x1.62e42fefa39efp-1 - (single ? 0x1.63p-1 : 0x1.62e42fefa0000p-1));
    const Vector zero = {0};
    const Mask sign = (Mask)z & (Mask)(-zero);
    const Vector size = (Vector)((Mask)z & ~(Mask)(-zero));
    const Vector v = -2 * where((Mask)(size > limit), zero + limit, size);
    const Vector shifted = v * (REAL)1.4426950408889634 + round, n = shifted - round;
    const Vector r = (v - n * log2_high) - n * log2_low;
    Vector series = zero + 1;
    for (int i = terms; i > 1; i--) series = 1 + series * r * (1 / (REAL)i);
    const INTEGER bias = single ? 127 : 1023;
    const Mask power = ((Mask)shifted - (Mask)(zero + round) + bias) << fraction;
    const Vector u = (Vector)power * (series * r) + ((Vector)power - 1);
    return (Vector)((Mask)((zero - u) / (2 + u)) | sign);
}

/* h = s(z); b is modReLU's. NaN stays NaN. */
ALWAYS Vector value(int s, Vector z, Vector b) {
    const Vector zero = {0};
    const Mask sign = (Mask)(-zero);
    if (s == RELU) return (Vector)(~(Mask)(z <= zero) & (Mask)z);
    if (s == LEAKY_RELU) return where((Mask)(z > zero), z, LEAKY_SLOPE * z);
    if (s == TANH) return tanh_of(z);
    if (s == MODRELU) {
        const Vector size = (Vector)((Mask)z & ~sign), shifted = size + b;
        const Mask on = ~(Mask)(shifted <= zero) & (Mask)(size != zero);
        return (Vector)(on & ((Mask)shifted | ((Mask)z & sign)));
    }
    return z;
}

/* g ds/dz, from h = s(z) */
ALWAYS Vector pulled_back(int s, Vector g, Vector h) {
    const Vector zero = {0};
    if (s == RELU) return (Vector)(~(Mask)(h <= zero) & (Mask)g);
    if (s == LEAKY_RELU) return where((Mask)(h > zero), g, LEAKY_SLOPE * g);
    if (s == TANH) return g * (1 - h * h);
    if (s == MODRELU) return (Vector)((Mask)(h != zero) & (Mask)g);
    return g;
}

/* g sign(h) where g is 0 if h is; the sign of NaN is 0, as torch has it */
ALWAYS Vector signed_by(Vector g, Vector h) {
    const Vector zero = {0};
    return (Vector)((Mask)(h == h) & ((Mask)g ^ ((Mask)h & (Mask)(-zero))));
}
