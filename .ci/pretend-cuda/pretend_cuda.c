/* A pretend CUDA driver, cuBLAS and cuRAND, for a machine without a GPU: memory is host memory,
   copies and memsets are real, kernels and GEMMs do nothing. It checks that every library and
   kernel name the program asks for exists, and counts calls. Numbers on the "GPU" are garbage.
   PRETEND_CUDA_LOG=1 prints the counts at exit. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef unsigned long long u64;
static u64 n_alloc, n_free, n_h2d, n_d2h, n_d2d, n_launch, n_getfn, n_gemm, n_rand, n_sync, n_event, n_memset, b_alloc, b_h2d;
struct mod { char *ptx; };
struct fn { char name[128]; u64 count; struct fn *next; };
static struct fn *fns;
__attribute__((destructor)) static void report(void) {
  if (!getenv("PRETEND_CUDA_LOG")) return;
  fprintf(stderr, "pretend-cuda: launches %llu getfunction %llu gemm %llu alloc %llu (%.1f MB) free %llu h2d %llu (%.1f MB) d2h %llu d2d %llu memset %llu rand %llu sync %llu event %llu\n",
    n_launch, n_getfn, n_gemm, n_alloc, b_alloc / 1e6, n_free, n_h2d, b_h2d / 1e6, n_d2h, n_d2d, n_memset, n_rand, n_sync, n_event);
  for (struct fn *f = fns; f; f = f->next) if (f->count) fprintf(stderr, "pretend-cuda:   %8llu %s\n", f->count, f->name);
}
int cuInit(unsigned f) { return 0; }
int cuGetErrorName(int e, const char **p) { *p = "FAKE_ERROR"; return 0; }
int cuGetErrorString(int e, const char **p) { *p = "fake error"; return 0; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *d, int o) { if (o) return 101; *d = 0; return 0; }
int cuDeviceGetName(char *s, int n, int d) { snprintf(s, n, "pretend card"); return 0; }
int cuDeviceTotalMem_v2(size_t *b, int d) { *b = 8ull << 30; return 0; }
int cuMemGetInfo_v2(size_t *f, size_t *t) { *f = 4ull << 30; *t = 8ull << 30; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { switch (a) { case 75: *v = 9; break; case 76: *v = 0; break; case 16: *v = 132; break; case 10: *v = 32; break; default: *v = 1; } return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)1; return 0; }
int cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
int cuCtxSetCurrent(void *c) { return 0; }
int cuCtxGetCurrent(void **c) { *c = (void *)1; return 0; }
int cuCtxSynchronize(void) { n_sync++; return 0; }
int cuCtxDestroy_v2(void *c) { return 0; }
int cuStreamCreate(void **s, unsigned f) { *s = (void *)2; return 0; }
int cuStreamDestroy_v2(void *s) { return 0; }
int cuStreamSynchronize(void *s) { n_sync++; return 0; }
int cuStreamWaitEvent(void *s, void *e, unsigned f) { return 0; }
int cuStreamIsCapturing(void *s, int *st) { *st = 0; return 0; }
int cuEventCreate(void **e, unsigned f) { n_event++; *e = malloc(8); return 0; }
int cuEventRecord(void *e, void *s) { return 0; }
int cuEventDestroy_v2(void *e) { free(e); return 0; }
int cuEventSynchronize(void *e) { return 0; }
int cuEventQuery(void *e) { return 0; }
static int al(u64 *p, size_t n) { n_alloc++; b_alloc += n; *p = (u64)(uintptr_t)aligned_alloc(256, (n + 511) & ~(size_t)255); return *p ? 0 : 2; }
int cuMemAlloc_v2(u64 *p, size_t n) { return al(p, n); }
int cuMemAllocAsync(u64 *p, size_t n, void *s) { return al(p, n); }
int cuMemFree_v2(u64 p) { n_free++; free((void *)(uintptr_t)p); return 0; }
int cuMemFreeAsync(u64 p, void *s) { return cuMemFree_v2(p); }
int cuMemcpyHtoDAsync_v2(u64 d, const void *h, size_t n, void *s) { n_h2d++; b_h2d += n; memcpy((void *)(uintptr_t)d, h, n); return 0; }
int cuMemcpyDtoHAsync_v2(void *h, u64 d, size_t n, void *s) { n_d2h++; memcpy(h, (void *)(uintptr_t)d, n); return 0; }
int cuMemcpyDtoDAsync_v2(u64 d, u64 h, size_t n, void *s) { n_d2d++; memmove((void *)(uintptr_t)d, (void *)(uintptr_t)h, n); return 0; }
int cuMemcpyPeerAsync(u64 d, void *c, u64 h, void *c2, size_t n, void *s) { return cuMemcpyDtoDAsync_v2(d, h, n, s); }
int cuMemsetD8Async(u64 d, unsigned char v, size_t n, void *s) { n_memset++; memset((void *)(uintptr_t)d, v, n); return 0; }
int cuModuleLoadData(void **m, const void *img) { struct mod *x = malloc(sizeof *x); x->ptx = strdup(img); *m = x; return 0; }
int cuModuleLoad(void **m, const char *f) { return 301; }
int cuModuleUnload(void *m) { free(((struct mod *)m)->ptx); free(m); return 0; }
int cuModuleGetFunction(void **f, void *m, const char *name) {
  char want[160];
  n_getfn++;
  for (struct fn *x = fns; x; x = x->next) if (!strcmp(x->name, name)) { *f = x; return 0; }
  snprintf(want, sizeof want, ".entry %s(", name);
  if (!strstr(((struct mod *)m)->ptx, want)) { fprintf(stderr, "pretend-cuda: no kernel named %s in its module\n", name); return 500; }
  struct fn *x = calloc(1, sizeof *x);
  snprintf(x->name, sizeof x->name, "%s", name);
  x->next = fns; fns = x; *f = x;
  return 0;
}
int cuFuncSetAttribute(void *f, int a, int v) { return 0; }
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned sh, void *s, void **p, void **e) {
  n_launch++; ((struct fn *)f)->count++;
  if (!gx || !gy || !gz || !bx || !by || !bz || (u64)bx * by * bz > 1024 || gy > 65535 || gz > 65535) { fprintf(stderr, "pretend-cuda: bad launch shape for %s: %u %u %u / %u %u %u\n", ((struct fn *)f)->name, gx, gy, gz, bx, by, bz); return 1; }
  return 0;
}
int cublasCreate_v2(void **h) { *h = (void *)3; return 0; }
int cublasDestroy_v2(void *h) { return 0; }
int cublasSetStream_v2(void *h, void *s) { return 0; }
int cublasGemmStridedBatchedEx() { n_gemm++; return 0; }
int cublasDgemmStridedBatched() { n_gemm++; return 0; }
int curandCreateGenerator(void **g, int t) { *g = (void *)4; return 0; }
int curandDestroyGenerator(void *g) { return 0; }
int curandSetStream(void *g, void *s) { return 0; }
int curandSetPseudoRandomGeneratorSeed(void *g, u64 s) { return 0; }
int curandSetGeneratorOffset(void *g, u64 s) { return 0; }
int curandGenerateNormal(void *g, float *p, size_t n, float m, float sd) { n_rand++; for (size_t i = 0; i < n; i++) p[i] = m; return 0; }
int curandGenerateUniform(void *g, float *p, size_t n) { n_rand++; for (size_t i = 0; i < n; i++) p[i] = .5f; return 0; }
int curandGenerateNormalDouble(void *g, double *p, size_t n, double m, double sd) { n_rand++; for (size_t i = 0; i < n; i++) p[i] = m; return 0; }
int curandGenerateUniformDouble(void *g, double *p, size_t n) { n_rand++; for (size_t i = 0; i < n; i++) p[i] = .5; return 0; }
int nvrtcVersion(int *a, int *b) { *a = 13; *b = 0; return 0; }
