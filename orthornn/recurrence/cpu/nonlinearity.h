/* The nonlinearities and their derivatives, on vectors; LEAKY_SLOPE is that of leaky ReLU. */

enum { IDENTITY, RELU, LEAKY_RELU, MODRELU, TANH };

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
