/* A pass of the switched recurrence: what it is called with, and what it works on. */

#include <stdint.h>

typedef struct {
    int64_t time, batch, hidden, tokens, reflections, threads; /* matrices: no reflections */
    const int64_t *sizes, *starts; /* packed: sequences of each step, its first row; else NULL */
    const int64_t *x; /* the token of each row */
    const REAL *h0, *weight, *gate, *shift; /* gate and shift may be NULL */
    REAL *states;
    /* backward only */
    const REAL *grad; /* its steps and rows lie grad_time and grad_row apart */
    int64_t grad_time, grad_row;
    REAL *dh0, *dweight, *dgate, *dshift; /* or NULL */
} Call;

/* a position of a token in a chunk */
typedef struct {
    int64_t row; /* of λ */
    const REAL *before; /* h_{t-1} */
} Place;

typedef struct {
    const Call *call;
    int adjoint;
    REAL *factors; /* (tokens, hidden, padded): see factor_of; or NULL */
    /* backward only */
    REAL *carry; /* (batch, padded): a Mᵀ λ_{t+1} */
    REAL *lambda, *dots; /* of a chunk, (rows, padded) and (rows,): λ_t, λ_t · M h_{t-1} */
    Place *places; /* of a chunk, sorted by token */
    int64_t *ends; /* (tokens + 1,): where its places end, after a zero */
    long from, to; /* steps of the chunk */
    int adds; /* to the sums of chunks before */
} Pass;

static long vectors_of(long n) { return (n + LANES - 1) / LANES; }

static long row_at(const Call *c, long t, long row) {
    return (c->sizes ? c->starts[t] : t * c->batch) + row;
}

static long rows_at(const Call *c, long t) { return c->sizes ? c->sizes[t] : c->batch; }

static const REAL *state_before(const Call *c, long t, long row) {
    return t ? c->states + row_at(c, t - 1, row) * c->hidden : c->h0 + row * c->hidden;
}
