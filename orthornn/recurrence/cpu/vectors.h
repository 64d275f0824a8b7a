/* Vectors as wide as the processor's registers.
 *
 * REAL is float or double, INTEGER an integer of its size.
 */

#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
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

ALWAYS Vector load(const REAL *from) { return *(const Vector *)from; }
ALWAYS void store(REAL *to, Vector a) { *(Vector *)to = a; }

/* the lanes of the first `count` entries, for AVX's loads and stores of some */
ALWAYS Mask first_lanes(long count) {
    Mask lane;
    UNROLLED for (long i = 0; i < LANES; i++) lane[i] = (INTEGER)i;
    return lane < (INTEGER)count;
}

/* the first `count` entries, with zeros behind them */
ALWAYS Vector load_some(const REAL *from, long count) {
    Vector a = {0};
    if (count >= LANES) return load(from);
    if (count <= 0) return a;
#if defined(__AVX512F__)
    if (sizeof(REAL) == 4) return (Vector)_mm512_maskz_loadu_ps((__mmask16)((1 << count) - 1), from);
    return (Vector)_mm512_maskz_loadu_pd((__mmask8)((1 << count) - 1), from);
#elif defined(__AVX__)
    const __m256i lanes = (__m256i)first_lanes(count);
    if (sizeof(REAL) == 4) return (Vector)_mm256_maskload_ps((const float *)from, lanes);
    return (Vector)_mm256_maskload_pd((const double *)from, lanes);
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
#elif defined(__AVX__)
    else if (sizeof(REAL) == 4)
        _mm256_maskstore_ps((float *)to, (__m256i)first_lanes(count), (__m256)a);
    else _mm256_maskstore_pd((double *)to, (__m256i)first_lanes(count), (__m256d)a);
#else
    else memcpy(to, &a, (size_t)count * sizeof(REAL));
#endif
}
