/* h_t = s(W h_{t-1} + V x_t + c) and its adjoint, each in one pass over time.
 *
 * Compiled with REAL (float or double), INTEGER (as wide) and PRODUCT, the header of the products.
 * The rows of a batch do not depend on each other: a thread runs its own through all of time, and
 * no step waits for another thread.
 *
 * The left factor's rows are [h, 0, x, 1, 0]: h filled up to whole vectors, and a one that meets
 * the bias. In the adjoint (Note [The adjoint] in eager.py) they are δ, and the weight gradients are
 * sums of δᵀ [h, 0, x, 1, 0] over chunks of rows that stay in cache.
 */

#include "vectors.h"
#include "memory.h"
#include "nonlinearity.h"
#include "threads.h"
#include PRODUCT

#define GROUP 128 /* rows whose sums of one panel stay in the nearest cache */

typedef struct {
    int64_t time, batch, inputs, hidden, threads, nonlinearity;
    const int64_t *sizes, *starts; /* packed: sequences of each step, its first row; else NULL */
    const REAL *x; /* its steps and rows lie x_time and x_row apart */
    int64_t x_time, x_row;
    const REAL *h0, *modrelu_bias;
    REAL *states;
    const REAL *factor; /* the right one: (depth, hidden); backward (hidden, hidden [+ inputs]) */
    const void *packed;
    /* backward only */
    const REAL *grad;
    int64_t grad_time, grad_row;
    REAL *carry; /* (batch, carried): Wᵀ δ_{t+1}, in the end dh0 */
    REAL *dx, *dw, *db; /* or NULL; for each thread dw (round hidden, depth), db (round hidden) */
    int64_t chunk; /* rows of δ between two products for the weights */
} Call;

static long padded(const Call *c) { return ROUND_UP(c->hidden, LANES); }
static long depth(const Call *c) { return ROUND_UP(padded(c) + c->inputs + 1, PANEL); }
static long carried(const Call *c) { return ROUND_UP(c->hidden + c->inputs, PANEL); }

static long rows_at(const Call *c, const Share *s, long t) {
    const long last = MIN(s->last, c->sizes ? c->sizes[t] : c->batch);
    return last > s->first ? last - s->first : 0;
}

static long row_at(const Call *c, long t, long row) {
    return (c->sizes ? c->starts[t] : t * c->batch) + row;
}

static const REAL *x_at(const Call *c, long t, long row) {
    return c->x + (c->sizes ? row_at(c, t, row) * c->x_row : t * c->x_time + row * c->x_row);
}

static void put_input(const Call *c, Left a, long row, const REAL *x) {
    for (long j = 0; j <= c->inputs; j += LANES) {
        Vector v = load_some(x + j, c->inputs - j);
        if (c->inputs - j < LANES) v[c->inputs - j] = 1;
        put(a, row, padded(c) + j, v);
    }
}

/* s of the sums of one panel: to the states and, as part of the next left factor, to `next` */
ALWAYS void apply(const int s, const Call *c, Left next, REAL *restrict states, long row, long rows,
                  long panel, const REAL *restrict z) {
    const long hidden = c->hidden;
    for (long half = 0; half < PANEL && panel * PANEL + half < hidden; half += LANES) {
        const long j = panel * PANEL + half, count = hidden - j;
        const Vector b = c->modrelu_bias ? load_some(c->modrelu_bias + j, count) : (Vector){0};
        REAL *to = states + row * hidden + j;
        for (long r = 0; r < rows; r++, to += hidden) {
            const Vector h = value(s, load(z + r * PANEL + half), b);
            store_some(to, h, count);
            put(next, row + r, j, count < LANES ? load_some(to, count) : h); /* zeros, not NaN */
        }
    }
}

/* a function of the nonlinearity as a constant, so that its loops are compiled for each */
#define FOR_EACH_NONLINEARITY(s, CALL)                                                             \
    switch (s) {                                                                                   \
    case IDENTITY: CALL(IDENTITY); break;                                                          \
    case RELU: CALL(RELU); break;                                                                  \
    case LEAKY_RELU: CALL(LEAKY_RELU); break;                                                      \
    case MODRELU: CALL(MODRELU); break;                                                            \
    case TANH: CALL(TANH); break;                                                                  \
    }

static void *forward_rows(void *argument) {
    Share *share = argument;
    const Call *c = share->work;
    const long rows = share->last - share->first, k = depth(c);
    const size_t sizes[] = {left_bytes(rows, k), left_bytes(rows, k)};
    void *parts[2] = {NULL};
    REAL z[GROUP * PANEL] __attribute__((aligned(64)));
    if (!take(2, sizes, parts) || !begin()) return free(parts[0]), share->failed = 1, NULL;
    Left a = left_at(parts[0], rows, k), next = left_at(parts[1], rows, k);
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < c->hidden; j += LANES)
            put(a, r, j, load_some(c->h0 + (share->first + r) * c->hidden + j, c->hidden - j));
    for (long t = 0; t < c->time; t++) {
        const long active = rows_at(c, share, t);
        if (!active) break;
        REAL *states = c->states + row_at(c, t, share->first) * c->hidden;
        for (long r = 0; r < active; r++) put_input(c, a, r, x_at(c, t, share->first + r));
        for (long panel = 0; panel * PANEL < c->hidden; panel++)
            for (long row = 0; row < active; row += GROUP) {
                const long count = MIN(GROUP, active - row);
                multiply(a, row, count, k, c->packed, panel, z);
#define APPLY(s) apply(s, c, next, states, row, count, panel, z)
                FOR_EACH_NONLINEARITY(c->nonlinearity, APPLY)
            }
        const Left last = a;
        a = next, next = last;
    }
    end();
    free(parts[0]);
    return NULL;
}

/* δ_t of the rows of a step, to `delta` and to the left factor, and sums of δ sign(h) */
ALWAYS void pull_back(const int s, const Call *c, const Share *share, long t, long rows,
                      REAL *restrict delta, long stride, Left a, REAL *restrict signs) {
    const long hidden = c->hidden, at = row_at(c, t, share->first), first = share->first;
    const long carry_row = carried(c), grad_row = c->grad_row;
    const REAL *h = c->states + at * hidden, *carry = c->carry + first * carry_row;
    const REAL *grad = c->grad + (c->sizes ? at : first) * grad_row;
    if (!c->sizes) grad += t * c->grad_time;
    for (long r = 0; r < rows; r++) {
        for (long j = 0; j < hidden; j += LANES) {
            const long count = hidden - j;
            const Vector state = load_some(h + j, count);
            const Vector g = load_some(grad + j, count) + load_some(carry + j, count);
            const Vector d = pulled_back(s, g, state);
            store(delta + j, d);
            put(a, r, j, d);
            if (signs) store(signs + j, load(signs + j) + signed_by(d, state));
        }
        h += hidden, carry += carry_row, grad += grad_row, delta += stride;
    }
}

/* rows [h_{t-1}, 0, x_t, 1, 0] */
static void gather(const Call *c, long t, long first, long rows, REAL *to) {
    for (long r = first; r < first + rows; r++, to += depth(c)) {
        const REAL *h = t ? c->states + row_at(c, t - 1, r) * c->hidden : c->h0 + r * c->hidden;
        memcpy(to, h, (size_t)c->hidden * sizeof(REAL));
        memcpy(to + padded(c), x_at(c, t, r), (size_t)c->inputs * sizeof(REAL));
        to[padded(c) + c->inputs] = 1;
    }
}

static void *backward_rows(void *argument) {
    Share *share = argument;
    const Call *c = share->work;
    const long first = share->first, rows = share->last - first, hidden = c->hidden;
    const long p = ROUND_UP(hidden, PANEL), k = depth(c), stride = carried(c);
    const long columns = hidden + (c->dx ? c->inputs : 0), chunk = MIN(c->chunk, c->time * rows);
    const long room = chunk > rows ? chunk : rows;
    const size_t sizes[] = {left_bytes(rows, hidden), (size_t)(room * p) * sizeof(REAL),
                            (size_t)(room * k) * sizeof(REAL), outer_bytes(room, p, k)};
    void *parts[4] = {NULL};
    REAL z[GROUP * PANEL] __attribute__((aligned(64)));
    if (!take(4, sizes, parts) || !begin()) return free(parts[0]), share->failed = 1, NULL;
    const Left a = left_at(parts[0], rows, hidden);
    REAL *delta = parts[1], *before = parts[2], *dw = c->dw ? c->dw + share->index * p * k : NULL;
    REAL *signs = c->db ? c->db + share->index * p : NULL;
    long filled = 0;
    for (long t = c->time - 1; t >= 0; t--) {
        const long active = rows_at(c, share, t);
        if (filled + active > room) {
            if (dw) add_outer(delta, before, filled, p, k, dw, parts[3]);
            filled = 0;
        }
#define PULL_BACK(s) pull_back(s, c, share, t, active, delta + filled * p, p, a, signs)
        FOR_EACH_NONLINEARITY(c->nonlinearity, PULL_BACK)
        if (dw) gather(c, t, first, active, before + filled * k);
        filled += active;
        for (long panel = 0; panel * PANEL < columns; panel++)
            for (long row = 0; row < active; row += GROUP) {
                const long count = MIN(GROUP, active - row);
                multiply(a, row, count, hidden, c->packed, panel, z);
                REAL *to = c->carry + (first + row) * stride + panel * PANEL;
                for (long r = 0; r < count; r++, to += stride)
                    memcpy(to, z + r * PANEL, PANEL * sizeof(REAL));
            }
        for (long r = first; c->dx && r < first + active; r++)
            memcpy(c->dx + row_at(c, t, r) * c->inputs, c->carry + r * stride + hidden,
                   (size_t)c->inputs * sizeof(REAL));
    }
    if (dw && filled) add_outer(delta, before, filled, p, k, dw, parts[3]);
    end();
    free(parts[0]);
    return NULL;
}

/* all threads' work, after the right factor (k, n) is packed */
static int run(Call *c, void *(*work)(void *), long k, long n) {
    const size_t size = right_bytes(k, n);
    void *packed = NULL;
    if (!take(1, &size, &packed)) return 1;
    pack_right(c->factor, k, n, packed);
    c->packed = packed;
    const int failed = share_out(c, work, c->batch, BLOCK_ROWS, c->threads);
    free(packed);
    return failed;
}

/* 0, or 1 where memory or the tiles were refused */
int forward(Call *c) {
    const long rows = c->sizes ? c->starts[c->time] : c->time * c->batch;
    use_large_pages(c->states, rows * c->hidden);
    return run(c, forward_rows, depth(c), c->hidden);
}

int backward(Call *c) {
    return run(c, backward_rows, c->hidden, c->hidden + (c->dx ? c->inputs : 0));
}

int lanes(void) { return LANES; }

int usable(void) {
    const int able = begin();
    if (able) end();
    return able;
}
