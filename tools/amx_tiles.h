/* Put before every C++ file of llama.cpp by `make install`: loads Intel's AMX tile configuration as a whole.

   llama.cpp sets up the 64 bytes of a tile configuration on the stack and calls _tile_loadconfig. GCC's version of it says to the
   compiler that 8 bytes are read, so that the others may never be written: the process ends at the first batch (llama.cpp issue
   20824, pull request 26954). Where the compiler does not know AMX, nothing happens here.

   `models.llama.backend.repacks_safely` looks for the symbol: another build of llama.cpp with AMX is not trusted. */

#if defined(__cplusplus) && defined(__AMX_TILE__)
#include <immintrin.h>

static inline __attribute__((always_inline)) void safeguard_load_tile_configuration(const void *configuration) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64])configuration));
}
#define _tile_loadconfig(configuration) safeguard_load_tile_configuration(configuration)

extern "C" __attribute__((visibility("default"), weak)) int safeguard_loads_whole_tile_configuration = 1;
#endif
