/* A clock of another time, for a process of Java: preloaded, it adds LAB_CLOCK seconds to the time of day and leaves the
 * monotonic clock alone.
 *
 * libfaketime does it for more programs, but under it every timed wait of Java 17 returns at once: a node then does little else
 * than wait. Java waits by the monotonic clock, except until a moment of the day; those moments are after 2001 and a machine's
 * uptime is not, so which is meant can be told from the number. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long ahead;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("LAB_CLOCK");
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    /* Without its version this would be the one of 2002, whose conditions look otherwise. */
    real_wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    ahead = text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!real_gettime)
        begin();
    int status = real_gettime(clock, at);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += ahead;
    return status;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    struct timespec real = *until;
    if (real.tv_sec > 1000000000)
        real.tv_sec -= ahead;
    return real_wait(condition, mutex, &real);
}
