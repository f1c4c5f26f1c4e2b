/* The first program of a kernel of another architecture: tries system calls in processes of their
 * own that lock themselves first, and says on the console what became of each.
 *
 * Shape: /trials holds one `struct trial` after another, /filter the filter's instructions and
 * /ruleset what Landlock is asked for, all as tests/property/test_media_elsewhere.py writes them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECCOMP = 1, LANDLOCK = 2, WORK = 4 };
enum { FAILED = 255, BYTES_MAX = 1 << 16 };

struct trial {
    int64_t number;
    uint64_t what, argument[6];
};

/* Stand for addresses. */
static const uint64_t PAGE = 1ull << 62, PATH = 1ull << 61, INSIDE = 1ull << 60;
static char page[4096] __attribute__((aligned(4096)));
static const char path[] = "/made", inside[] = "/made/one";
static uint8_t filter[BYTES_MAX], ruleset[64];
static struct sock_fprog program = {0, (struct sock_filter *)filter};
static size_t ruleset_size;

static size_t load(const char *name, void *to, size_t room) {
    FILE *file = fopen(name, "rb");
    if (!file) exit(FAILED);
    const size_t size = fread(to, 1, room, file);
    fclose(file);
    return size;
}

static void *thread(void *given) { return memset(malloc(1 << 20), 1, 1 << 20) ? given : NULL; }

/* What a codec does: memory, a thread of its own, a clock, random bytes. */
static int work(void) {
    struct timespec now;
    pthread_t id;
    void *back = NULL;
    if (pthread_create(&id, NULL, thread, page) || pthread_join(id, &back) || back != page) return 1;
    char *large = malloc(64 << 20);
    if (!large || !memset(large, 1, 64 << 20)) return 2;
    free(large);
    const struct timespec moment = {0, 1000};
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) || nanosleep(&moment, NULL)) return 3;
    return syscall(SYS_getrandom, page, 16, 0) == 16 ? 0 : 4;
}

static void give_up(uint64_t what) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) _exit(FAILED);
    if (what & LANDLOCK) {
        const long rules = syscall(SYS_landlock_create_ruleset, ruleset, ruleset_size, 0);
        if (rules < 0 || syscall(SYS_landlock_restrict_self, rules, 0)) _exit(FAILED);
    }
    if ((what & SECCOMP) && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                    SECCOMP_FILTER_FLAG_TSYNC, &program))
        _exit(FAILED);
}

static void attempt(const struct trial *trial) {
    uint64_t a[6];
    for (int i = 0; i < 6; i++) {
        a[i] = trial->argument[i];
        if (a[i] == PAGE) a[i] = (uint64_t)(uintptr_t)page;
        if (a[i] == PATH) a[i] = (uint64_t)(uintptr_t)path;
        if (a[i] == INSIDE) a[i] = (uint64_t)(uintptr_t)inside;
    }
    give_up(trial->what);
    if (trial->what & WORK) _exit(work());
    const long answer = syscall(trial->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    _exit(answer == -1 ? errno : 0);
}

int main(void) {
    struct trial trial;
    pthread_t id; /* A first thread sets a handler, as a worker's does before it is locked. */
    if (pthread_create(&id, NULL, thread, page) || pthread_join(id, NULL)) return FAILED;
    program.len = (unsigned short)(load("/filter", filter, sizeof filter) / sizeof(struct sock_filter));
    ruleset_size = load("/ruleset", ruleset, sizeof ruleset);
    printf("landlock %ld\n", syscall(SYS_landlock_create_ruleset, NULL, 0, 1));
    FILE *trials = fopen("/trials", "rb");
    for (unsigned at = 0; trials && fread(&trial, sizeof trial, 1, trials) == 1; at++) {
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) attempt(&trial);
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) printf("%u signal %d\n", at, WTERMSIG(status));
        else printf("%u answer %d\n", at, WEXITSTATUS(status));
    }
    puts("done");
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    return 0;
}
