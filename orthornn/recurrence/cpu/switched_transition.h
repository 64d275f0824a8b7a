/* y = M(x) h, or Mᵀ h for the adjoint: a matrix times a vector, or reflections of it. */

#define MOST_VECTORS 8 /* of sums in registers */

/* a function of the size of the state as a constant, so that small ones are kept in registers */
#define FOR_EACH_SIZE(n, CALL)                                                                     \
    switch (n) {                                                                                   \
    case 4: CALL(4); break;                                                                        \
    case 8: CALL(8); break;                                                                        \
    case 16: CALL(16); break;                                                                      \
    default: CALL(0);                                                                              \
    }

/* Wᵀ, or W for the adjoint, with rows of whole vectors: M h is a sum of its rows, each times an
 * entry of h */
static void lay_out(const REAL *w, long n, int adjoint, REAL *to) {
    const long stride = ROUND_UP(n, LANES);
    for (long i = 0; i < n; i++, to += stride) {
        for (long j = 0; j < n; j++) to[j] = adjoint ? w[i * n + j] : w[j * n + i];
        for (long j = n; j < stride; j++) to[j] = 0;
    }
}

static void *lay_out_tokens(void *argument) {
    const Share *share = argument;
    const Pass *pass = share->work;
    const Call *c = pass->call;
    const long n = c->hidden, size = n * ROUND_UP(n, LANES);
    for (long x = share->first; x < share->last; x++)
        lay_out(c->weight + x * n * n, n, pass->adjoint, pass->factors + x * size);
    return NULL;
}

/* the matrix of a token: laid out beforehand, where it lies as is wanted, or laid out now */
ALWAYS const REAL *factor_of(const Pass *pass, long n, long x, REAL *scratch) {
    const Call *c = pass->call;
    if (pass->factors) return pass->factors + x * n * ROUND_UP(n, LANES);
    if (pass->adjoint && n % LANES == 0) return c->weight + x * n * n;
    lay_out(c->weight + x * n * n, n, pass->adjoint, scratch);
    return scratch;
}

/* y = Σ_i x[i] r[i, :] for `count` vectors of columns; rows of r lie `stride` apart. The fewer the
 * vectors, the more sums, so that no addition waits for the one before. */
ALWAYS void add_rows(const long count, const long n, const REAL *restrict x,
                     const REAL *restrict r, const long stride, Vector *restrict y) {
    const long sums = count > 4 ? 1 : count > 2 ? 2 : 4;
    Vector s[MOST_VECTORS] = {{0}};
    long i = 0;
    for (; i + sums <= n; i += sums) {
        UNROLLED for (long m = 0; m < sums; m++) {
            const REAL *row = r + (i + m) * stride;
            UNROLLED for (long v = 0; v < count; v++)
                s[m * count + v] += x[i + m] * load(row + v * LANES);
        }
    }
    for (; i < n; i++)
        UNROLLED for (long v = 0; v < count; v++) s[v] += x[i] * load(r + i * stride + v * LANES);
    UNROLLED for (long v = 0; v < count; v++) {
        Vector sum = s[v];
        UNROLLED for (long m = 1; m < sums; m++) sum += s[m * count + v];
        y[v] = sum;
    }
}

ALWAYS void multiply(const long size, const long n, const REAL *x, const REAL *r, Vector *y) {
    const long count = vectors_of(n), stride = count * LANES;
    if (size) {
        add_rows(count, n, x, r, stride, y);
        return;
    }
    for (long v = 0; v < count; v += MOST_VECTORS) {
        switch (MIN(count - v, MOST_VECTORS)) {
#define CASE(k) case k: add_rows(k, n, x, r + v * LANES, stride, y + v); break;
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
        }
    }
}

/* the sum of the entries: of halves first, as far as each of them is a register */
ALWAYS REAL total(Vector a) {
    typedef REAL Part __attribute__((vector_size(16)));
    enum { PARTS = BYTES / 16, N = 16 / sizeof(REAL) };
    Part part[PARTS];
    memcpy(part, &a, sizeof a);
    UNROLLED for (long half = PARTS / 2; half; half /= 2)
        UNROLLED for (long i = 0; i < half; i++) part[i] += part[i + half];
    const Part p = part[0];
    return N == 2 ? p[0] + p[1] : (p[0] + p[2 % N]) + (p[1] + p[3 % N]);
}

/* v · u, where u is filled up with zeros (with NaN only if one of its entries is not finite) */
ALWAYS REAL dot(const long n, const REAL *v, const Vector *u) {
    const long whole = n / LANES, rest = n % LANES;
    Vector s0 = {0}, s1 = {0};
    for (long i = 0; i + 1 < whole; i += 2, v += 2 * LANES, u += 2) {
        s0 += load(v) * u[0];
        s1 += load(v + LANES) * u[1];
    }
    if (whole % 2) s0 += load(v) * u[0], v += LANES, u++;
    if (rest) s1 += load_some(v, rest) * u[0];
    return total(s0 + s1);
}

/* u += scale v */
ALWAYS void add_scaled(const long n, REAL scale, const REAL *v, Vector *u) {
    for (long i = 0; i < vectors_of(n); i++)
        u[i] += scale * load_some(v + i * LANES, n - i * LANES);
}

/* y = M(x) h, or Mᵀ h for the adjoint */
ALWAYS void transit(const long size, const Pass *pass, long x, const REAL *h, Vector *y,
                    REAL *scratch) {
    const Call *c = pass->call;
    const long n = size ? size : c->hidden, k = c->reflections;
    if (!k) {
        multiply(size, n, h, factor_of(pass, n, x, scratch), y);
        return;
    }
    for (long i = 0; i < vectors_of(n); i++) y[i] = load_some(h + i * LANES, n - i * LANES);
    for (long j = 0; j < k; j++) {
        const REAL *v = c->weight + (x * k + (pass->adjoint ? k - 1 - j : j)) * n;
        add_scaled(n, -2 * dot(n, v, y), v, y);
    }
}
