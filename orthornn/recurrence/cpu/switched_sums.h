/* The gradients of the tables: sums over a chunk's positions, token by token.
 *
 * A thread has tokens of its own, so a sum is made in one order, whatever the number of threads, in
 * registers, and no thread needs a table to itself.
 */

#define POSITIONS 128 /* of a token whose λ and h stay in cache while its sum is made */

/* the positions of a chunk, sorted by token: those of a token in the order of time */
static void sort_positions(const Pass *pass) {
    const Call *c = pass->call;
    const long base = row_at(c, pass->from, 0);
    int64_t *next = pass->ends + 1;
    memset(pass->ends, 0, (size_t)(c->tokens + 2) * sizeof(int64_t));
    for (long at = base; at < row_at(c, pass->to, 0); at++) next[c->x[at] + 1]++;
    for (long x = 0; x < c->tokens; x++) next[x + 1] += next[x];
    for (long t = pass->from; t < pass->to; t++)
        for (long row = 0; row < rows_at(c, t); row++) {
            const long at = row_at(c, t, row);
            pass->places[next[c->x[at]]++] = (Place){at - base, state_before(c, t, row)};
        }
}

/* a tile of dW: `rows` from row i on by `count` vectors from column j on */
ALWAYS void add_outer(const long rows, const long count, const Pass *pass, const Place *first,
                      const Place *last, long n, long i, long j, REAL scale, int adds, REAL *dw) {
    const REAL *lambda = pass->lambda + i;
    const long stride = ROUND_UP(n, LANES);
    Vector s[8][2] = {{{0}}};
    for (const Place *p = first; p < last; p++) {
        const REAL *left = lambda + p->row * stride;
        Vector h[2];
        UNROLLED for (long v = 0; v < count; v++)
            h[v] = load_some(p->before + j + v * LANES, n - j - v * LANES);
        UNROLLED for (long r = 0; r < rows; r++)
            UNROLLED for (long v = 0; v < count; v++) s[r][v] += left[r] * h[v];
    }
    UNROLLED for (long r = 0; r < rows; r++)
        UNROLLED for (long v = 0; v < count; v++) {
            const long column = j + v * LANES;
            REAL *to = dw + (i + r) * n + column;
            Vector sum = scale * s[r][v];
            if (adds) sum += load_some(to, n - column);
            store_some(to, sum, n - column);
        }
}

static void sum_matrix(const Pass *pass, const Place *first, const Place *last, REAL scale,
                       REAL *dw) {
    const long n = pass->call->hidden;
    int adds = pass->adds;
    do {
        const Place *until = last - first > POSITIONS ? first + POSITIONS : last;
        for (long j = 0; j < n; j += 2 * LANES) {
            const long wide = n - j > LANES, tile = wide ? 6 : 8, blocks = (n + tile - 1) / tile;
            for (long block = 0; block < blocks; block++) {
                const long i = n * block / blocks, rows = n * (block + 1) / blocks - i;
#define TILE(rows, count)                                                                          \
    case 2 * rows + count - 1:                                                                     \
        add_outer(rows, count, pass, first, until, n, i, j, scale, adds, dw);                      \
        break;
                switch (2 * rows + wide) {
                    TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1)
                    TILE(5, 1) TILE(6, 1) TILE(7, 1) TILE(8, 1)
                    TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
                }
            }
        }
        first = until, adds = 1;
    } while (first < last);
}

/* With u_0 = h_{t-1}, u_j = H(v_j) u_{j-1}, μ_k = a λ_t, μ_{j-1} = H(v_j) μ_j:
 *     dv_j = -2 Σ [(v_j · u_{j-1}) μ_j + (v_j · μ_j) u_{j-1}]. */
ALWAYS void sum_reflections(const long size, const Pass *pass, const Place *first,
                            const Place *last, REAL scale, const REAL *v, REAL *dv, Vector *sums,
                            Vector *u, REAL *dots) {
    const Call *c = pass->call;
    const long n = size ? size : c->hidden, k = c->reflections, count = vectors_of(n);
    Vector few[MOST_VECTORS], *mu = size ? few : u + (k + 1) * count;
    memset(sums, 0, (size_t)(k * count) * sizeof(Vector));
    for (const Place *p = first; p < last; p++) {
        const REAL *lambda = pass->lambda + p->row * count * LANES;
        for (long i = 0; i < count; i++) {
            u[i] = load_some(p->before + i * LANES, n - i * LANES);
            mu[i] = scale * load(lambda + i * LANES);
        }
        for (long j = 0; j < k; j++) {
            Vector *from = u + j * count;
            dots[j] = dot(n, v + j * n, from);
            for (long i = 0; i < count; i++) from[count + i] = from[i];
            add_scaled(n, -2 * dots[j], v + j * n, from + count);
        }
        for (long j = k - 1; j >= 0; j--) {
            const REAL along = dot(n, v + j * n, mu);
            for (long i = 0; i < count; i++)
                sums[j * count + i] += dots[j] * mu[i] + along * u[j * count + i];
            add_scaled(n, -2 * along, v + j * n, mu);
        }
    }
    for (long j = 0; j < k; j++)
        for (long i = 0; i < count; i++) {
            REAL *to = dv + j * n + i * LANES;
            Vector sum = -2 * sums[j * count + i];
            if (pass->adds) sum += load_some(to, n - i * LANES);
            store_some(to, sum, n - i * LANES);
        }
}

static void sum_shift(const Pass *pass, const Place *first, const Place *last, REAL *db) {
    const long n = pass->call->hidden, stride = ROUND_UP(n, LANES);
    for (long j = 0; j < n; j += LANES) {
        Vector sum = {0};
        for (const Place *p = first; p < last; p++) sum += load(pass->lambda + p->row * stride + j);
        if (pass->adds) sum += load_some(db + j, n - j);
        store_some(db + j, sum, n - j);
    }
}

/* the tokens of a thread: about as many positions as those of the others */
static void *sum_tokens(void *argument) {
    Share *share = argument;
    const Pass *pass = share->work;
    const Call *c = pass->call;
    const long n = c->hidden, k = c->reflections, count = vectors_of(n);
    const long all = pass->ends[c->tokens], next = share->index + 1;
    const long from = all * share->index / c->threads;
    const long to = next == c->threads ? all + 1 : all * next / c->threads;
    const size_t sizes[] = {(size_t)(k * count) * sizeof(Vector),
                            (size_t)((k + 2) * count) * sizeof(Vector), (size_t)k * sizeof(REAL)};
    void *parts[3];
    if (!take(3, sizes, parts)) return share->failed = 1, NULL;
    for (long x = 0; x < c->tokens; x++) {
        const Place *first = pass->places + pass->ends[x], *last = pass->places + pass->ends[x + 1];
        const int own = from <= pass->ends[x] && pass->ends[x] < to;
        if (!own || (first == last && pass->adds)) continue;
        const REAL scale = c->gate ? c->gate[x] : 1;
        if (c->dweight && k) {
            const REAL *v = c->weight + x * k * n;
            REAL *dv = c->dweight + x * k * n;
#define REFLECTIONS(size)                                                                          \
    sum_reflections(size, pass, first, last, scale, v, dv, parts[0], parts[1], parts[2])
            FOR_EACH_SIZE(n, REFLECTIONS)
        } else if (c->dweight) {
            sum_matrix(pass, first, last, scale, c->dweight + x * n * n);
        }
        if (c->dshift) sum_shift(pass, first, last, c->dshift + x * n);
        if (c->dgate) {
            REAL sum = pass->adds ? c->dgate[x] : 0;
            for (const Place *p = first; p < last; p++) sum += pass->dots[p->row];
            c->dgate[x] = sum;
        }
    }
    free(parts[0]);
    return NULL;
}
