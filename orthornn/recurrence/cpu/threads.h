/* Work shared out among threads. */

#include <pthread.h>

typedef struct {
    const void *work;
    long index, first, last; /* of the parts that this thread does */
    int failed;
} Share;

/* `count` parts in whole units of them, each thread's in one row; 1 where one of them failed */
static int share_out(const void *work, void *(*function)(void *), long count, long unit,
                     long threads) {
    const long units = (count + unit - 1) / unit, used = threads < units ? threads : units;
    Share shares[used + 1];
    pthread_t others[used + 1];
    int started[used + 1], failed = 0;
    for (long i = 0; i < used; i++) {
        const long first = units * i / used * unit, last = units * (i + 1) / used * unit;
        shares[i] = (Share){work, i, first, last < count ? last : count, 0};
        started[i] = i > 0 && !pthread_create(&others[i], NULL, function, &shares[i]);
    }
    for (long i = 0; i < used; i++)
        if (!started[i]) function(&shares[i]);
    for (long i = 0; i < used; i++) {
        if (started[i]) pthread_join(others[i], NULL);
        failed |= shares[i].failed;
    }
    return failed;
}
