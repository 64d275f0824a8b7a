/* Memory for a pass. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* memory for `count` parts of the given sizes, zeros, or NULL; all of it begins at the first */
static int take(int count, const size_t *sizes, void **parts) {
    size_t total = 64;
    for (int i = 0; i < count; i++) total += ROUND_UP(sizes[i], 64);
    char *memory = aligned_alloc(64, total);
    if (!memory) return 0;
    memset(memory, 0, total);
    for (int i = 0; i < count; memory += ROUND_UP(sizes[i], 64), i++) parts[i] = memory;
    return 1;
}

/* the states are fresh memory: large pages spare a fault for every 4 kB of them */
static void use_large_pages(REAL *a, long count) {
#ifdef MADV_HUGEPAGE
    const uintptr_t page = 1 << 21, from = ((uintptr_t)a + page - 1) / page * page;
    const uintptr_t to = (uintptr_t)(a + count) / page * page;
    if (to > from) madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)a, (void)count;
#endif
}
