/* Products of matrices with vectors: any processor, float or double. */

#define BLOCK_ROWS TILE_ROWS

/* rows of a left factor, (rows, k) */
typedef struct {
    REAL *data;
    long stride;
} Left;

static size_t left_bytes(long rows, long k) {
    return (size_t)(rows * ROUND_UP(k, LANES)) * sizeof(REAL);
}

static Left left_at(void *memory, long rows, long k) {
    (void)rows;
    return (Left){memory, ROUND_UP(k, LANES)};
}

/* a vector of entries of one row, from column k on */
ALWAYS void put(Left a, long row, long k, Vector values) {
    store(a.data + row * a.stride + k, values);
}

/* a right factor, (k, n): panels of its columns, row by row */
static size_t right_bytes(long k, long n) {
    return (size_t)(k * ROUND_UP(n, PANEL)) * sizeof(REAL);
}

static void pack_right(const REAL *from, long k, long n, void *memory) {
    REAL *to = memory;
    for (long j = 0; j < n; j += PANEL)
        for (long i = 0; i < k; i++, to += PANEL)
            for (long half = 0; half < PANEL; half += LANES)
                store(to + half, load_some(from + i * n + j + half, n - j - half));
}

/* z (rows, PANEL) += a p: a[r, i] at r * down + i * right, p (k, PANEL) */
ALWAYS void add_product(const int rows, long k, const REAL *restrict a, long down, long right,
                        const REAL *restrict p, REAL *restrict z, long stride) {
    Vector sum[TILE_ROWS][2];
    UNROLLED for (int r = 0; r < rows; r++) {
        sum[r][0] = load(z + r * stride);
        sum[r][1] = load(z + r * stride + LANES);
    }
    for (long i = 0; i < k; i++, p += PANEL, a += right) {
        const Vector p0 = load(p), p1 = load(p + LANES);
        UNROLLED for (int r = 0; r < rows; r++) {
            sum[r][0] += a[r * down] * p0;
            sum[r][1] += a[r * down] * p1;
        }
    }
    UNROLLED for (int r = 0; r < rows; r++) {
        store(z + r * stride, sum[r][0]);
        store(z + r * stride + LANES, sum[r][1]);
    }
}

/* with the number of rows known to the compiler, so that the sums stay in registers */
static void add_rows(long rows, long k, const REAL *a, long down, long right, const REAL *p,
                     REAL *z, long stride) {
    switch (rows) {
#define CASE(n) case n: add_product(n, k, a, down, right, p, z, stride); break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if TILE_ROWS == 14
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif
#undef CASE
    }
}

/* z (rows, PANEL) = rows of a from `row` on times a panel of the right factor b (k, ·) */
static void multiply(Left a, long row, long rows, long k, const void *b, long panel, REAL *z) {
    const long blocks = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const REAL *right = (const REAL *)b + panel * k * PANEL;
    memset(z, 0, (size_t)(rows * PANEL) * sizeof(REAL));
    for (long block = 0; block < blocks; block++) {
        const long r = rows * block / blocks, count = rows * (block + 1) / blocks - r;
        add_rows(count, k, a.data + (row + r) * a.stride, a.stride, 1, right, z + r * PANEL, PANEL);
    }
}

/* sum (p, q) += dᵀ a, d (n, p), a (n, q), p and q multiples of PANEL. Both are laid out again, in
 * the order in which they are read: rows far apart would each need a page of their own. */
static size_t outer_bytes(long n, long p, long q) { return (size_t)(n * (p + q)) * sizeof(REAL); }

static void add_outer(const REAL *d, const REAL *a, long n, long p, long q, REAL *sum,
                      void *memory) {
    const long blocks = (p + TILE_ROWS - 1) / TILE_ROWS;
    REAL *panels = memory, *left = panels + n * q, *to = left;
    for (long j = 0; j < q; j += PANEL)
        for (long i = 0; i < n; i++)
            memcpy(panels + (j * n + i * PANEL), a + i * q + j, PANEL * sizeof(REAL));
    for (long block = 0; block < blocks; block++) {
        const long from = p * block / blocks, rows = p * (block + 1) / blocks - from;
        for (long i = 0; i < n; i++, to += rows)
            memcpy(to, d + i * p + from, (size_t)rows * sizeof(REAL));
    }
    for (long j = 0; j < q; j += PANEL)
        for (long block = 0; block < blocks; block++) {
            const long from = p * block / blocks, rows = p * (block + 1) / blocks - from;
            add_rows(rows, n, left + from * n, 1, rows, panels + j * n, sum + from * q + j, q);
        }
}

/* a thread before and after its products; 0 where it may not */
static int begin(void) { return 1; }
static void end(void) {}
