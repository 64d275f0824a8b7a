/* h_t = a[x] M(x) h_{t-1} + b[x] with x = x_t, and its adjoint.
 *
 * Compiled with REAL (float or double) and INTEGER (as wide). M(x) is a matrix W[x], or a product
 * of reflections H(v_k) ... H(v_1), H(v) = I - 2 v vᵀ. The sequences of a batch do not depend on
 * each other: a thread runs its own through all of time, a product of a matrix and a vector a step.
 *
 * With g_t the gradient that reaches h_t from outside, the adjoint is
 *     λ_t = g_t + a M(x_{t+1})ᵀ λ_{t+1},   dW[x] = a Σ λ_t h_{t-1}ᵀ,   da[x] = Σ λ_t · M h_{t-1},
 *     db[x] = Σ λ_t,   dh_0 = a M(x_1)ᵀ λ_1,   sums over the steps t at which x_t = x.
 * It goes through time in chunks: first all λ of a chunk, then its sums (switched_sums.h).
 */

#include "vectors.h"
#include "memory.h"
#include "threads.h"
#include "switched_call.h"
#include "switched_transition.h"
#include "switched_sums.h"

#define CHUNK_BYTES (1 << 20) /* of λ, in a core's cache; more if the tokens are many */
#define STEPS_PER_TOKEN 16 /* in a chunk at the least, to make up for reading its sum */

/* the states; y has room for one, and scratch for a matrix */
ALWAYS void run_forward(const long size, const Pass *pass, const Share *share, Vector *y,
                        REAL *scratch) {
    const Call *c = pass->call;
    const long n = size ? size : c->hidden;
    Vector few[MOST_VECTORS];
    if (size) y = few;
    for (long t = 0; t < c->time; t++) {
        const long last = MIN(share->last, rows_at(c, t));
        for (long row = share->first; row < last; row++) {
            const long at = row_at(c, t, row), x = c->x[at];
            transit(size, pass, x, state_before(c, t, row), y, scratch);
            REAL *to = c->states + at * n;
            for (long i = 0; i < vectors_of(n); i++) {
                const long j = i * LANES;
                Vector h = y[i];
                if (c->gate) h *= c->gate[x];
                if (c->shift) h += load_some(c->shift + x * n + j, n - j);
                store_some(to + j, h, n - j);
            }
        }
    }
}

/* λ of a chunk's steps, from the last to the first */
ALWAYS void run_backward(const long size, const Pass *pass, const Share *share, Vector *y,
                         REAL *scratch) {
    const Call *c = pass->call;
    const long n = size ? size : c->hidden, stride = ROUND_UP(n, LANES);
    const long base = row_at(c, pass->from, 0);
    Vector few[MOST_VECTORS];
    if (size) y = few;
    for (long t = pass->to - 1; t >= pass->from; t--) {
        const long last = MIN(share->last, rows_at(c, t));
        for (long row = share->first; row < last; row++) {
            const long at = row_at(c, t, row), x = c->x[at];
            const REAL *grad = c->grad + (c->sizes ? at : row) * c->grad_row;
            if (!c->sizes) grad += t * c->grad_time;
            REAL *lambda = pass->lambda + (at - base) * stride, *carry = pass->carry + row * stride;
            for (long j = 0; j < n; j += LANES)
                store(lambda + j, load_some(grad + j, n - j) + load(carry + j));
            transit(size, pass, x, lambda, y, scratch);
            if (c->dgate) pass->dots[at - base] = dot(n, state_before(c, t, row), y);
            const REAL scale = c->gate ? c->gate[x] : 1;
            for (long i = 0; i < vectors_of(n); i++) store(carry + i * LANES, scale * y[i]);
        }
    }
}

static void *run_rows(void *argument) {
    Share *share = argument;
    const Pass *pass = share->work;
    const Call *c = pass->call;
    const size_t state = (size_t)ROUND_UP(c->hidden, LANES) * sizeof(REAL);
    const size_t sizes[] = {state, pass->factors || c->reflections ? 0 : (size_t)c->hidden * state};
    void *parts[2];
    if (!take(2, sizes, parts)) return share->failed = 1, NULL;
#define RUN(size)                                                                                  \
    if (pass->adjoint) run_backward(size, pass, share, parts[0], parts[1]);                        \
    else run_forward(size, pass, share, parts[0], parts[1])
    FOR_EACH_SIZE(c->hidden, RUN)
    free(parts[0]);
    return NULL;
}

/* before a pass: 0, or 1 without memory */
static int begin(Pass *pass) {
    const Call *c = pass->call;
    const long n = c->hidden, stride = ROUND_UP(n, LANES), rows = row_at(c, c->time, 0);
    if (c->reflections || c->tokens > rows || (pass->adjoint && n == stride)) return 0;
    const size_t size = (size_t)(c->tokens * n * stride) * sizeof(REAL);
    pass->factors = aligned_alloc(64, ROUND_UP(size, 64));
    return !pass->factors || share_out(pass, lay_out_tokens, c->tokens, 1, c->threads);
}

/* 0, or 1 where memory was refused */
int forward(const Call *c) {
    Pass pass = {.call = c};
    int failed = begin(&pass);
    use_large_pages(c->states, row_at(c, c->time, 0) * c->hidden);
    if (!failed) failed = share_out(&pass, run_rows, c->batch, 1, c->threads);
    free(pass.factors);
    return failed;
}

/* the step at which the chunk that ends at step `to` begins */
static long chunk_start(const Call *c, long to, long rows) {
    long from = to - 1;
    while (from > 0 && row_at(c, to, 0) - row_at(c, from - 1, 0) <= rows) from--;
    return from;
}

int backward(const Call *c) {
    Pass pass = {.call = c, .adjoint = 1};
    int failed = begin(&pass);
    const long n = c->hidden, stride = ROUND_UP(n, LANES), all = row_at(c, c->time, 0);
    const long in_cache = CHUNK_BYTES / (stride * (long)sizeof(REAL));
    long rows = in_cache > STEPS_PER_TOKEN * c->tokens ? in_cache : STEPS_PER_TOKEN * c->tokens;
    rows = rows < c->batch ? c->batch : MIN(rows, all);
    const size_t sizes[] = {(size_t)(c->batch * stride) * sizeof(REAL),
                            (size_t)(c->tokens + 2) * sizeof(int64_t)};
    void *parts[2] = {NULL};
    failed = failed || !take(2, sizes, parts);
    pass.carry = parts[0], pass.ends = parts[1];
    pass.lambda = aligned_alloc(64, ROUND_UP((size_t)(rows * stride) * sizeof(REAL), 64));
    pass.dots = malloc((size_t)rows * sizeof(REAL));
    pass.places = malloc((size_t)rows * sizeof(Place));
    failed = failed || !pass.lambda || !pass.dots || !pass.places;
    for (pass.to = c->time; pass.to > 0 && !failed; pass.to = pass.from, pass.adds = 1) {
        pass.from = chunk_start(c, pass.to, rows);
        failed = share_out(&pass, run_rows, c->batch, 1, c->threads);
        if (failed || !(c->dweight || c->dgate || c->dshift)) continue;
        sort_positions(&pass);
        failed = share_out(&pass, sum_tokens, c->threads, 1, c->threads);
    }
    if (!failed && c->dh0)
        for (long row = 0; row < c->batch; row++)
            memcpy(c->dh0 + row * n, pass.carry + row * stride, (size_t)n * sizeof(REAL));
    free(pass.places), free(pass.dots), free(pass.lambda), free(parts[0]), free(pass.factors);
    return failed;
}
