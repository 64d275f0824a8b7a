/* Products of float matrices on the tiles of Intel's AMX, exact to float.
 *
 * A float is the sum of three bfloat16 of 8 bits each, a = a1 + a2 + a3, so that
 *     a b = a1 b1 + (a1 b2 + a2 b1) + (a1 b3 + a2 b2 + a3 b1) + less than a float resolves:
 * six products of bfloat16, which the tiles sum in float at 16 times the rate of vectors. Numbers
 * below 1e-33 keep fewer digits: their last part would be denormal, which the tiles take for 0.
 */

#include <sys/syscall.h>
#include <unistd.h>

#define SIDE 16 /* rows of a tile, and its columns of float */
#define DEPTH 32 /* its columns of bfloat16 */
#define TILE (SIDE * DEPTH)
#define PARTS 3
#define BLOCK_ROWS (2 * SIDE)

typedef uint16_t Half;

/* rows of a left factor: three planes of (rows, k) */
typedef struct {
    Half *data;
    long stride, plane;
} Left;

/* of what is not finite, or rounds to infinity, some part is NaN: see Note [What is not finite] */
ALWAYS void split(Vector a, __m256i parts[PARTS]) {
    __m512 rest = (__m512)a;
    for (int i = 0; i < PARTS; i++) {
        parts[i] = (__m256i)_mm512_cvtneps_pbh(rest);
        const __m512i part = _mm512_slli_epi32(_mm512_cvtepu16_epi32(parts[i]), 16);
        rest = _mm512_sub_ps(rest, _mm512_castsi512_ps(part));
    }
}

/* an odd number of cache lines: rows a power of two apart would share a few sets of the cache */
static long left_stride(long k) { return ROUND_UP(k, DEPTH) | DEPTH; }

static size_t left_bytes(long rows, long k) {
    return (size_t)(ROUND_UP(rows, BLOCK_ROWS) * left_stride(k) * PARTS) * sizeof(Half);
}

static Left left_at(void *memory, long rows, long k) {
    return (Left){memory, left_stride(k), ROUND_UP(rows, BLOCK_ROWS) * left_stride(k)};
}

/* a vector of entries of one row, from column k on */
ALWAYS void put(Left a, long row, long k, Vector values) {
    __m256i parts[PARTS];
    split(values, parts);
    for (int i = 0; i < PARTS; i++)
        _mm256_storeu_si256((__m256i *)(a.data + i * a.plane + row * a.stride + k), parts[i]);
}

/* a right factor, (k, n): for each panel, and each DEPTH rows of it, two tiles of each part, in
 * which rows 2i and 2i + 1 of a column lie side by side */
static size_t right_bytes(long k, long n) {
    return (size_t)(ROUND_UP(k, DEPTH) * ROUND_UP(n, PANEL) * PARTS) * sizeof(Half);
}

ALWAYS __m512i paired(__m256i even, __m256i odd) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

/* of a tile of 16 x 16 pairs */
ALWAYS void transpose(Half *tile) {
    __m512i r[SIDE], t[SIDE];
    for (int i = 0; i < SIDE; i++) r[i] = _mm512_loadu_si512(tile + i * DEPTH);
    for (int i = 0; i < SIDE; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + j + 2]);
            r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + j + 2]);
        }
    for (int j = 0; j < 4; j++) {
        const __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x44);
        const __m512i b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xEE);
        const __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x44);
        const __m512i d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xEE);
        _mm512_storeu_si512(tile + j * DEPTH, _mm512_shuffle_i32x4(a, c, 0x88));
        _mm512_storeu_si512(tile + (4 + j) * DEPTH, _mm512_shuffle_i32x4(a, c, 0xDD));
        _mm512_storeu_si512(tile + (8 + j) * DEPTH, _mm512_shuffle_i32x4(b, d, 0x88));
        _mm512_storeu_si512(tile + (12 + j) * DEPTH, _mm512_shuffle_i32x4(b, d, 0xDD));
    }
}

/* a (rows, columns) matrix as a right factor or, turned, its transpose as the left one */
ALWAYS void pack(const int turned, const REAL *from, long stride, long rows, long columns,
                 Half *restrict to) {
    for (long j = 0; j < columns; j += PANEL)
        for (long i = 0; i < rows; i += DEPTH, to += 2 * PARTS * TILE)
            for (long side = 0; side < 2; side++) {
                const long column = j + side * SIDE, count = columns - column;
                Half *tile = to + side * TILE;
                for (long pair = 0; pair < SIDE; pair++) {
                    const long row = i + 2 * pair;
                    const REAL *at = from + row * stride + column;
                    __m256i even[PARTS], odd[PARTS];
                    split(load_some(at, row < rows ? count : 0), even);
                    split(load_some(at + stride, row + 1 < rows ? count : 0), odd);
                    for (int part = 0; part < PARTS; part++)
                        _mm512_storeu_si512(tile + 2 * part * TILE + pair * DEPTH,
                                            paired(even[part], odd[part]));
                }
                for (int part = 0; turned && part < PARTS; part++)
                    transpose(tile + 2 * part * TILE);
            }
}

static void pack_right(const REAL *from, long k, long n, void *memory) {
    pack(0, from, n, k, n, memory);
}

/* The sums of 32 (or 16) rows and PANEL columns, in tiles 0 to 3. */
ALWAYS void load_sums(const int both, const REAL *z, long stride) {
    _tile_loadd(0, z, stride * 4);
    _tile_loadd(1, z + SIDE, stride * 4);
    if (!both) return;
    _tile_loadd(2, z + SIDE * stride, stride * 4);
    _tile_loadd(3, z + SIDE * stride + SIDE, stride * 4);
}

ALWAYS void store_sums(const int both, REAL *z, long stride) {
    _tile_stored(0, z, stride * 4);
    _tile_stored(1, z + SIDE, stride * 4);
    if (!both) return;
    _tile_stored(2, z + SIDE * stride, stride * 4);
    _tile_stored(3, z + SIDE * stride + SIDE, stride * 4);
}

/* sums += a b over k, the small products first: the second rows of a lie `below` the first, its
 * parts `plane` apart, its next DEPTH columns `next`; b is packed */
ALWAYS void add_product(const int both, long k, const Half *a, long stride, long below, long plane,
                        long next, const Half *b) {
#define LEFT(part)                                                                                 \
    _tile_loadd(4, a + part * plane, stride * 2);                                                  \
    if (both) _tile_loadd(5, a + part * plane + below, stride * 2);
#define RIGHT(part)                                                                                \
    _tile_loadd(6, b + 2 * part * TILE, DEPTH * 2);                                                \
    _tile_loadd(7, b + (2 * part + 1) * TILE, DEPTH * 2);
#define MULTIPLY                                                                                   \
    _tile_dpbf16ps(0, 4, 6);                                                                       \
    _tile_dpbf16ps(1, 4, 7);                                                                       \
    if (both) {                                                                                    \
        _tile_dpbf16ps(2, 5, 6);                                                                   \
        _tile_dpbf16ps(3, 5, 7);                                                                   \
    }
    for (long i = 0; i < k; i += DEPTH, a += next, b += 2 * PARTS * TILE) {
        LEFT(2) RIGHT(0) MULTIPLY LEFT(1) MULTIPLY RIGHT(1) MULTIPLY
        LEFT(0) MULTIPLY RIGHT(2) MULTIPLY RIGHT(0) MULTIPLY
    }
#undef LEFT
#undef RIGHT
#undef MULTIPLY
}

ALWAYS void multiply_block(const int both, Left a, long row, long k, const Half *b, REAL *z) {
    _tile_zero(0);
    _tile_zero(1);
    if (both) {
        _tile_zero(2);
        _tile_zero(3);
    }
    add_product(both, k, a.data + row * a.stride, a.stride, SIDE * a.stride, a.plane, DEPTH, b);
    store_sums(both, z, PANEL);
}

/* z (rows, PANEL) = rows of a from `row` on times a panel of the right factor b (k, ·); z has room
 * for whole blocks */
static void multiply(Left a, long row, long rows, long k, const void *b, long panel, REAL *z) {
    const Half *right = (const Half *)b + panel * ROUND_UP(k, DEPTH) * PANEL * PARTS;
    for (long r = 0; r < rows; r += BLOCK_ROWS)
        if (rows - r > SIDE) multiply_block(1, a, row + r, k, right, z + r * PANEL);
        else multiply_block(0, a, row + r, k, right, z + r * PANEL);
}

/* sum (p, q) += dᵀ a, d (n, p), a (n, q), p and q multiples of PANEL */
static size_t outer_bytes(long n, long p, long q) { return right_bytes(n, p) + right_bytes(n, q); }

static void add_outer(const REAL *d, const REAL *a, long n, long p, long q, REAL *sum,
                      void *memory) {
    Half *left = memory, *right = left + right_bytes(n, p) / sizeof(Half);
    const long panel = ROUND_UP(n, DEPTH) * PANEL * PARTS;
    pack(1, d, p, n, p, left);
    pack(0, a, q, n, q, right);
    for (long j = 0; j < q; j += PANEL)
        for (long i = 0; i < p; i += PANEL) {
            load_sums(1, sum + i * q + j, q);
            add_product(1, n, left + i / PANEL * panel, DEPTH, TILE, 2 * TILE, 2 * PARTS * TILE,
                        right + j / PANEL * panel);
            store_sums(1, sum + i * q + j, q);
        }
}

/* a thread before and after its products; 0 where the system does not lend it the tiles */
static int begin(void) {
    struct {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    const long request = 0x1023 /* ARCH_REQ_XCOMP_PERM */, tiles = 18 /* XFEATURE_XTILEDATA */;
    if (syscall(SYS_arch_prctl, request, tiles)) return 0;
    for (int i = 0; i < 8; i++) {
        shape.bytes[i] = DEPTH * 2;
        shape.rows[i] = SIDE;
    }
    _tile_loadconfig(&shape);
    return 1;
}

static void end(void) { _tile_release(); }
