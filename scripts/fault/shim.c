/* Loaded before libc: the n-th write to a file whose path has a given text in it fails with EIO. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char text[4096], done[4096];
static atomic_long number, seen;

/* done: a file that is made when the write has failed. */
void fault_arm(const char *wanted, long n, const char *file) {
  strncpy(text, wanted, sizeof text - 1);
  strncpy(done, file, sizeof done - 1);
  number = n;
}

static int fails(int file) {
  char link[64], path[4096];
  if (!*text) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  if (!strstr(path, text)) return 0;
  if (atomic_fetch_add(&seen, 1) + 1 != number) return 0;
  close(creat(done, 0600));
  errno = EIO;
  return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAILING(type, name, declared, file, given) \
  type name declared { REAL(name); return fails(file) ? (type)-1 : real given; }

FAILING(ssize_t, write, (int f, const void *d, size_t n), f, (f, d, n))
FAILING(ssize_t, pwrite, (int f, const void *d, size_t n, off_t at), f, (f, d, n, at))
FAILING(ssize_t, pwrite64, (int f, const void *d, size_t n, off64_t at), f, (f, d, n, at))
FAILING(ssize_t, writev, (int f, const struct iovec *v, int n), f, (f, v, n))
FAILING(int, fsync, (int f), f, (f))
FAILING(int, fdatasync, (int f), f, (f))
FAILING(int, ftruncate, (int f, off_t n), f, (f, n))
FAILING(int, ftruncate64, (int f, off64_t n), f, (f, n))

size_t fwrite(const void *d, size_t size, size_t n, FILE *f) {
  REAL(fwrite);
  return fails(fileno(f)) ? 0 : real(d, size, n, f);
}
