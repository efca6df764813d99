/* Preloaded as if it were an allocator: it tells the C library's to give nothing back. */
#include <malloc.h>

__attribute__((constructor)) static void keep(void) {
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 1 << 28);
}
