/* Functions of one number, without a mathematical library: the same bits everywhere. */
#include <math.h>
#include <stdint.h>

/* Cosine and sine, to the last bit of a float32, for |x| below 1e6. */
static void cos_sin_of(double x, double *c, double *s) {
    double turns = x * 0.63661977236758134308; /* 2 / pi */
    int64_t n = (int64_t)(turns + (turns < 0 ? -0.5 : 0.5));
    double r = (x - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
    double q = r * r;
    double sine = r * (1 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880 +
                  q * (-1.0 / 39916800 + q * (1.0 / 6227020800.0)))))));
    double cosine = 1 + q * (-0.5 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 +
                    q * (-1.0 / 3628800 + q * (1.0 / 479001600.0))))));
    *c = n & 1 ? (n & 2 ? sine : -sine) : (n & 2 ? -cosine : cosine);
    *s = n & 1 ? (n & 2 ? -cosine : cosine) : (n & 2 ? -sine : sine);
}

/* exp as float32; infinity and 0 where it does not fit. */
static float exponential(float x) {
    if (x > 89) return INFINITY;
    if (x < -104) return 0;
    double y = x * 1.44269504088896340736;
    int n = (int)(y + (y < 0 ? -0.5 : 0.5));
    double r = (y - n) * 0.69314718055994530942, p = 1;
    for (int i = 12; i > 0; i--) p = 1 + p * r / i;
    union { uint64_t bits; double value; } power = {(uint64_t)(1023 + n) << 52};
    return (float)(p * power.value);
}
