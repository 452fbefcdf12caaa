#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, CPU_ISSET */
#endif
#include "base/threads.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The lowest-numbered hardware thread of the core that cpu belongs to; cpu itself if unknown. */
static int core_leader(int cpu)
{
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *file = fopen(path, "r");
    int leader = cpu;
    if (file != NULL) {
        if (fscanf(file, "%d", &leader) != 1) {
            leader = cpu;
        }
        (void)fclose(file);
    }
    return leader;
}

/* The cgroup's CPU quota, rounded up; 0 when there is none. */
static int cgroup_cpus(void)
{
    long long quota = 0;
    long long period = 0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (file != NULL) {
        int n = fscanf(file, "%lld %lld", &quota, &period);
        (void)fclose(file);
        if (n == 2 && quota > 0 && period > 0) {
            return (int)((quota + period - 1) / period);
        }
    }
    return 0;
}

int vlorpi_threads_physical(void)
{
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return 1;
    }
    cpu_set_t leaders;
    CPU_ZERO(&leaders);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &allowed)) {
            int leader = core_leader(cpu);
            CPU_SET((size_t)(leader >= 0 && leader < CPU_SETSIZE ? leader : cpu), &leaders);
        }
    }
    int n = CPU_COUNT(&leaders);
    int quota = cgroup_cpus();
    if (quota > 0 && quota < n) {
        n = quota;
    }
    return n > 0 ? n : 1;
}

void vlorpi_threads_bound_spinning(char **argv)
{
    char path[4096];
    if (getenv("GOMP_SPINCOUNT") != NULL || getenv("OMP_WAIT_POLICY") != NULL) {
        return;
    }
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n > 0 && setenv("GOMP_SPINCOUNT", "2000", 1) == 0) {
        path[n] = '\0';
        (void)execv(path, argv);
    }
}

static void omp_for_each(void *ctx, int64_t n_items, vlorp_task *task, void *arg)
{
    (void)ctx;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < n_items; i++) {
        task(arg, i, omp_get_thread_num());
    }
}

vlorp_exec vlorpi_threads_exec(int n_threads)
{
    omp_set_dynamic(0);
    omp_set_num_threads(n_threads);
    return (vlorp_exec){.for_each = omp_for_each, .ctx = NULL, .n_threads = n_threads};
}
