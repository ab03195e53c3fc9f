/**
 * @file
 * @brief Records a program's shared-memory calls, stops it after one, or makes one fail.
 *
 * One file, built in two ways:
 *
 *     cc -c spy.c -o spy.o            linked into a lab's program with -Wl,--wrap=mmap,--wrap=shmget…:
 *                                     sees exactly the calls that the program itself makes
 *     ld -r --wrap=mmap --wrap=shmget… program.o spy.o -o spied.o; cc -static spied.o
 *                                     the same for a static program, where -Wl,--wrap would also catch
 *                                     the calls that the C library makes inside itself
 *     cc -shared -fPIC -DSPY_PRELOAD spy.c -o spy.so -ldl
 *                                     LD_PRELOAD for any dynamic program; calls from its libraries are
 *                                     recorded too, and marked
 *
 * The environment says what to do; without SHMLAB_RING the spy only passes the calls on.
 *
 *     SHMLAB_RING   file that holds the ring, see struct ring
 *     SHMLAB_HOLDS  datagram socket that hears of a hold before it happens
 *     SHMLAB_RULES  `hold CALL N WHO` and `fail CALL N ERRNO WHO`, separated by `;`, where N is a count from 1 (0: every
 *                   time) in the process itself, and WHO is `p` (the program), `c` (what it forks) or `a` (all).
 *                   CALL `end` is the process's last moment, however it ends, short of a signal; where it fails, ERRNO is
 *                   the exit status. CALL `store` is the first store in a shared mapping, which stops before it is
 *                   made: a load that belongs to it and is not the same instruction has been made by then. An ERRNO of -K is no failure: write() takes at most K bytes.
 *
 * The rules are wiped out first of all: a program that knew which call is made to fail could act as if it had
 * noticed. One that searches the spy's own memory still finds them. They end with execve(2).
 *
 * All processes of a run append to one ring in shared memory, with one atomic addition; the oldest record gives
 * way to the newest. A record is in the ring before the call returns. Records explain, they prove nothing: a
 * program can write to the ring.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#ifdef SPY_PRELOAD
#include <dlfcn.h>
#include <link.h>
#endif

/** Index of each call: its line in calls.def. */
enum call {
#define CALL(name, arguments) CALL_##name,
#include "calls.def"
#undef CALL
    CALLS
};

static const char *const names[] = {
#define CALL(name, arguments) #name,
#include "calls.def"
#undef CALL
};

enum { INJECTED = 1, FOREIGN = 2, FAILED = 4 };

/** One call. 128 bytes; calls.py reads the same layout. */
struct record {
    _Atomic uint64_t sequence; /**< 1 for the first call of the run; stored last */
    uint64_t time_ns;          /**< CLOCK_MONOTONIC, when the call had returned */
    int32_t pid;
    uint16_t call, flags;
    int32_t error; /**< errno, or the error number that the call gave */
    int32_t unused;
    int64_t result;
    uint64_t where; /**< return address, counted from the start of the program's image */
    int64_t argument[5];
    char text[40]; /**< a string among the arguments, cut to fit */
};

/** The file that the harness has made, zeroed but for the capacity. */
struct ring {
    uint64_t capacity;
    _Atomic uint64_t next;
    _Atomic uint64_t injected; /**< calls made to fail, whose records later ones may have displaced */
    char padding[104];
    struct record record[];
};

#ifndef SPY_PRELOAD
/* What the spy itself asks of the kernel is no call of the program. */
long __real_syscall(long number, ...);
#define syscall __real_syscall
#endif

struct rule {
    enum call call;
    unsigned nth; /**< 0: every time */
    int error;    /**< 0: hold; below 0: a limit */
    char who;
};

static struct ring *ring;
static struct rule rules[16];
static int rule_count;
static _Atomic unsigned counts[CALLS];
static int32_t self;
static bool forked; /**< this process was forked by the program, it is not the program itself */
static struct sockaddr_un holds = {.sun_family = AF_UNIX};

/* ---- is it the program's own call? ------------------------------------------------------------------- */

#ifdef SPY_PRELOAD
static uintptr_t image, image_end;

static int find_image(struct dl_phdr_info *info, size_t size, void *closure)
{
    (void)size, (void)closure;
    image = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && info->dlpi_addr + part->p_vaddr + part->p_memsz > image_end)
            image_end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
        if (part->p_type == PT_PHDR && !info->dlpi_addr)
            image = (part->p_vaddr - part->p_offset) & ~(uintptr_t)4095;
    }
    return 1; /* the first is the program itself */
}

static bool is_own(uintptr_t where)
{
    return where >= image && where < image_end;
}
#else
extern const char __executable_start[];
#define image ((uintptr_t)__executable_start)

static bool is_own(uintptr_t where)
{
    (void)where;
    return true; /* the linker has wrapped no other */
}
#endif

/* ---- recording --------------------------------------------------------------------------------------- */

static void record(enum call call, uintptr_t where, int flags, int64_t result, int error, const char *text,
                   int64_t a, int64_t b, int64_t c, int64_t d, int64_t e)
{
    if (!ring)
        return;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (flags & INJECTED)
        atomic_fetch_add_explicit(&ring->injected, 1, memory_order_relaxed);
    uint64_t number = atomic_fetch_add_explicit(&ring->next, 1, memory_order_relaxed);
    struct record *r = &ring->record[number % ring->capacity];
    atomic_store_explicit(&r->sequence, 0, memory_order_relaxed);
    r->time_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    r->pid = self;
    r->call = (uint16_t)call;
    r->flags = (uint16_t)(flags | (is_own(where) ? 0 : FOREIGN));
    r->error = error;
    r->result = result;
    r->where = where - image;
    r->argument[0] = a;
    r->argument[1] = b;
    r->argument[2] = c;
    r->argument[3] = d;
    r->argument[4] = e;
    r->text[0] = '\0';
    if (text) {
        size_t i = 0;
        for (; i < sizeof r->text - 1 && text[i]; i++)
            r->text[i] = text[i];
        r->text[i] = '\0';
    }
    atomic_store_explicit(&r->sequence, number + 1, memory_order_release);
}

/* ---- holding and failing ------------------------------------------------------------------------------ */

/** Announces the stop and stops, until somebody sends SIGCONT. Uses no call that is wrapped. */
static void hold(void)
{
    const int reason = errno;
    long s = syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s >= 0) {
        syscall(SYS_sendto, s, "h", 1L, MSG_NOSIGNAL, &holds, sizeof holds);
        syscall(SYS_close, s);
    }
    syscall(SYS_tgkill, (long)syscall(SYS_getpid), (long)syscall(SYS_gettid), (long)SIGSTOP);
    errno = reason;
}

static bool applies(const struct rule *rule, enum call call, unsigned nth)
{
    return rule->call == call && (rule->nth == nth || rule->nth == 0) &&
           (rule->who == 'a' || (rule->who == 'c') == forked);
}

/** Counts a call that is about to be made. Gives the errno that it shall fail with, or 0. */
static int before(enum call call, uintptr_t where)
{
    if (!rule_count || !is_own(where))
        return 0;
    unsigned nth = atomic_fetch_add_explicit(&counts[call], 1, memory_order_relaxed) + 1;
    for (int i = 0; i < rule_count; i++)
        if (rules[i].error && applies(&rules[i], call, nth))
            return rules[i].error;
    return 0;
}

/** Stops the process if it shall be held after this call. */
static void after(enum call call, uintptr_t where)
{
    if (!rule_count || !is_own(where))
        return;
    for (int i = 0; i < rule_count; i++)
        if (!rules[i].error &&
            applies(&rules[i], call, atomic_load_explicit(&counts[call], memory_order_relaxed))) {
            hold();
            return;
        }
}

/** The beginning and the end of a program are no calls, but it can be held there. */
static void pass(enum call call, uintptr_t where)
{
    const int status = before(call, where);
    after(call, where);
    if (status)
        syscall(SYS_exit_group, status);
}

/* ---- stopping before a store ---------------------------------------------------------------------------- */

/** Shared mappings that are read-only until the first store, which so comes to on_store(). */
static struct {
    char *begin;
    size_t size;
} guarded[8];
static struct sigaction usual_fault;

static void on_store(int signal, siginfo_t *info, void *context)
{
    const int reason = errno;
    (void)signal, (void)context;
    for (size_t i = 0; i < sizeof guarded / sizeof *guarded; i++) {
        char *begin = guarded[i].begin;
        if (!begin || info->si_code != SEGV_ACCERR || (uintptr_t)info->si_addr - (uintptr_t)begin >= guarded[i].size)
            continue;
        uintptr_t where = image;
#if defined __x86_64__
        where = (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] + 1; /* as a return address would be */
#elif defined __aarch64__
        where = (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc + 1;
#endif
        guarded[i].begin = NULL;
        syscall(SYS_mprotect, begin, guarded[i].size, (long)(PROT_READ | PROT_WRITE));
        record(CALL_store, where, 0, 0, 0, NULL, (int64_t)(intptr_t)info->si_addr, 0, 0, 0, 0);
        pass(CALL_store, image);
        errno = reason;
        return; /* and so the instruction is carried out again, from its beginning */
    }
    sigaction(SIGSEGV, &usual_fault, NULL); /* none of ours: it comes again */
    errno = reason;
}

/** Guards a new mapping if the process shall be held at its first store. Gives the size, for the record of mmap(). */
static size_t guard(void *mapped, size_t size, int prot, int flags)
{
    bool wanted = mapped != MAP_FAILED && (flags & MAP_TYPE) != MAP_PRIVATE && (prot & PROT_WRITE);
    for (int i = 0; i < rule_count && wanted; i++)
        if (rules[i].call == CALL_store) {
            size_t free = 0;
            while (free < sizeof guarded / sizeof *guarded && guarded[free].begin && guarded[free].begin != mapped)
                free++;
            if (free == sizeof guarded / sizeof *guarded)
                break;
            const struct sigaction ours = {.sa_sigaction = on_store, .sa_flags = SA_SIGINFO};
            struct sigaction older;
            if (sigaction(SIGSEGV, &ours, &older) == 0 && older.sa_sigaction != on_store)
                usual_fault = older;
            guarded[free].begin = mapped;
            guarded[free].size = size;
            syscall(SYS_mprotect, mapped, size, (long)PROT_READ);
            wanted = false;
        }
    return size;
}

/** What a forked child must do first: it counts its own calls, and is not the program any more. */
static void begin_child(void)
{
    for (int i = 0; i < CALLS; i++)
        atomic_store_explicit(&counts[i], i == CALL_fork, memory_order_relaxed);
    self = (int32_t)syscall(SYS_getpid);
    forked = true;
}

/* ---- beginning and end -------------------------------------------------------------------------------- */

/* What follows calls nothing that the program could have a function of its own for, and so be told the rules. */

/** Whether a text begins with a word, and goes on with @p end. */
static bool begins(const char *text, const char *word, char end)
{
    while (*word && *text == *word)
        text++, word++;
    return !*word && *text == end;
}

static int number(const char *text)
{
    const bool negative = *text == '-';
    int value = 0;
    for (text += negative; *text >= '0' && *text <= '9'; text++)
        value = 10 * value + *text - '0';
    return negative ? -value : value;
}

/** Reads one rule, `hold CALL N WHO` or `fail CALL N ERRNO WHO`; a rule that makes no sense is passed over. */
static void read_rule(const char *text)
{
    const char *word[5] = {text};
    int words = 1;
    for (; *text && *text != ';'; text++)
        if (*text == ' ' && words < 5)
            word[words++] = text + 1;
    const bool fails = words == 5 && begins(word[0], "fail", ' ');
    if (!fails && (words != 4 || !begins(word[0], "hold", ' ')))
        return;
    for (int i = 0; i < CALLS; i++)
        if (begins(word[1], names[i], ' ') && rule_count < (int)(sizeof rules / sizeof *rules))
            rules[rule_count++] = (struct rule){(enum call)i, (unsigned)number(word[2]), fails ? number(word[3]) : 0,
                                                *word[fails ? 4 : 3]};
}

/** Reads the rules of the environment and takes them away, from its list and from where the string lies. */
static void read_rules(char **entry)
{
    while (entry && *entry && !begins(*entry, "SHMLAB_RULES", '='))
        entry++;
    if (!entry || !*entry)
        return;
    char *rule = *entry;
    while (*rule++ != '=')
        ;
    for (char *c = rule; *c; c++)
        if (c == rule || c[-1] == ';')
            read_rule(c);
    for (volatile char *c = *entry; *c; c++)
        *c = '\0';
    for (; *entry; entry++)
        entry[0] = entry[1];
}

/* A program may have a variable `environ` of its own; the C library's is this. */
extern char **__environ;

static void read_rules_first(void)
{
    read_rules(__environ);
}

__attribute__((section(".init_array.00000"), used)) static void (*initialise)(void) = read_rules_first;

#ifndef SPY_PRELOAD
/* What glibc runs even before: if the spy is the first to be linked, it is the first to run. */
static void read_rules_at_once(int argc, char *argv[], char *environment[])
{
    (void)argc, (void)argv;
    read_rules(environment);
}

__attribute__((section(".preinit_array"), used)) static void (*initialise_at_once)(int, char *[], char *[]) =
    read_rules_at_once;
#endif

__attribute__((constructor(101))) static void begin(void)
{
    const int reason = errno;
    const char *path = getenv("SHMLAB_RING"), *socket_path = getenv("SHMLAB_HOLDS");
    self = (int32_t)syscall(SYS_getpid);
#ifdef SPY_PRELOAD
    dl_iterate_phdr(find_image, NULL);
#endif
    if (socket_path && strlen(socket_path) < sizeof holds.sun_path)
        memcpy(holds.sun_path, socket_path, strlen(socket_path) + 1);
    if (path) {
        struct stat file;
        long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && syscall(SYS_fstat, fd, &file) == 0 && (size_t)file.st_size >= sizeof(struct ring)) {
            void *memory =
                (void *)syscall(SYS_mmap, NULL, file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
            struct ring *found = memory;
            const uint64_t fit = ((size_t)file.st_size - sizeof *found) / sizeof(struct record);
            if (memory != MAP_FAILED && found->capacity > 0 && found->capacity <= fit)
                ring = found;
        }
        if (fd >= 0)
            syscall(SYS_close, fd);
    }
    record(CALL_start, image, 0, rule_count, 0, NULL, 0, 0, 0, 0, 0);
    pass(CALL_start, image);
    errno = reason;
}

/* Runs after everything that the program has registered with atexit(3). */
__attribute__((destructor(101))) static void end(void)
{
    pass(CALL_end, image);
}

/* ---- the calls ----------------------------------------------------------------------------------------- */

#define WHERE ((uintptr_t)__builtin_return_address(0))
#define N(x) ((int64_t)(x))
#define PTR(x) ((int64_t)(intptr_t)(x))

/* NAME(f) is what the program calls in place of f, and REAL makes `real` the one it meant. */
#ifdef SPY_PRELOAD
#define NAME(f) f
#define REAL(type, f, parameters)                                                                              \
    static type(*real) parameters;                                                                             \
    if (!real)                                                                                                 \
        *(void **)&real = dlsym(RTLD_NEXT, #f);
#else
#define NAME(f) __wrap_##f
#define REAL(type, f, parameters)                                                                              \
    extern type __real_##f parameters;                                                                         \
    type(*const real) parameters = __real_##f;
#endif

/**
 * Defines the stand-in for a call that sets errno.
 *
 * @param type        of the result
 * @param f           its name
 * @param failure     the result that means failure
 * @param parameters  in parentheses, and
 * @param arguments   their names, in parentheses
 * @param text        a string among them, or NULL
 * @param ...         up to five numbers to record
 */
#define SPY(type, f, failure, parameters, arguments, text, ...)                                                 \
    type NAME(f) parameters                                                                                    \
    {                                                                                                          \
        REAL(type, f, parameters)                                                                              \
        const int reason = errno;                                                                              \
        const int injected = before(CALL_##f, WHERE);                                                          \
        type result = (type)failure;                                                                           \
        if (injected)                                                                                          \
            errno = injected;                                                                                  \
        else                                                                                                   \
            result = real arguments;                                                                           \
        const int outcome = errno;                                                                             \
        const bool failed = result == (type)failure;                                                           \
        SPY_RECORD(f, injected, failed, N(result), failed ? outcome : 0, text, __VA_ARGS__, 0, 0, 0, 0, 0)      \
        after(CALL_##f, WHERE);                                                                                \
        errno = failed ? outcome : reason;                                                                     \
        return result;                                                                                         \
    }

/** The same for a call that returns 0 or an error number. */
#define SPY_CODE(f, parameters, arguments, ...)                                                                 \
    int NAME(f) parameters                                                                                     \
    {                                                                                                          \
        REAL(int, f, parameters)                                                                               \
        const int reason = errno;                                                                              \
        const int injected = before(CALL_##f, WHERE);                                                          \
        const int result = injected ? injected : real arguments;                                               \
        SPY_RECORD(f, injected, result != 0, N(result), result, NULL, __VA_ARGS__, 0, 0, 0, 0, 0)               \
        after(CALL_##f, WHERE);                                                                                \
        errno = reason;                                                                                        \
        return result;                                                                                         \
    }

#define SPY_RECORD(f, injected, failed, result, error, text, a, b, c, d, e, ...)                                \
    record(CALL_##f, WHERE, (injected ? INJECTED : 0) | (failed ? FAILED : 0), result, error, text, N(a), N(b), \
           N(c), N(d), N(e));

#define FAILED_AT ((intptr_t)-1)

SPY(key_t, ftok, -1, (const char *path, int id), (path, id), path, id)
SPY(int, shmget, -1, (key_t key, size_t size, int flags), (key, size, flags), NULL, key, size, flags)
SPY(void *, shmat, FAILED_AT, (int id, const void *at, int flags), (id, at, flags), NULL, id, PTR(at), flags)
SPY(int, shmdt, -1, (const void *at), (at), NULL, PTR(at))
SPY(int, shmctl, -1, (int id, int command, struct shmid_ds *data), (id, command, data), NULL, id, command, PTR(data))
SPY(int, shm_open, -1, (const char *name, int flags, mode_t mode), (name, flags, mode), name, flags, mode)
SPY(int, shm_unlink, -1, (const char *name), (name), name, 0)
SPY(int, memfd_create, -1, (const char *name, unsigned flags), (name, flags), name, flags)
SPY(int, ftruncate, -1, (int fd, off_t size), (fd, size), NULL, fd, size)
SPY(void *, mmap, FAILED_AT, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
    (at, size, prot, flags, fd, offset), NULL, guard(result, size, prot, flags), prot, flags, fd, offset)
SPY(int, munmap, -1, (void *at, size_t size), (at, size), NULL, PTR(at), size)
SPY(int, mprotect, -1, (void *at, size_t size, int prot), (at, size, prot), NULL, PTR(at), size, prot)
SPY(int, msync, -1, (void *at, size_t size, int flags), (at, size, flags), NULL, PTR(at), size, flags)
SPY(int, sem_close, -1, (sem_t * sem), (sem), NULL, PTR(sem))
SPY(int, sem_unlink, -1, (const char *name), (name), name, 0)
SPY(int, sem_init, -1, (sem_t * sem, int shared, unsigned value), (sem, shared, value), NULL, PTR(sem), shared, value)
SPY(int, sem_destroy, -1, (sem_t * sem), (sem), NULL, PTR(sem))
SPY(int, sem_wait, -1, (sem_t * sem), (sem), NULL, PTR(sem))
SPY(int, sem_trywait, -1, (sem_t * sem), (sem), NULL, PTR(sem))
SPY(int, sem_timedwait, -1, (sem_t *restrict sem, const struct timespec *restrict until), (sem, until), NULL, PTR(sem),
    PTR(until))
SPY(int, sem_post, -1, (sem_t * sem), (sem), NULL, PTR(sem))
SPY(int, close, -1, (int fd), (fd), NULL, fd)
SPY(int, fstat, -1, (int fd, struct stat *data), (fd, data), NULL, fd, PTR(data))
SPY(int, kill, -1, (pid_t pid, int number), (pid, number), NULL, pid, number)
SPY(int, flock, -1, (int fd, int operation), (fd, operation), NULL, fd, operation)
SPY(int, link, -1, (const char *from, const char *to), (from, to), to, 0)
SPY(int, linkat, -1, (int fd, const char *from, int tofd, const char *to, int flags), (fd, from, tofd, to, flags), to, 0)
SPY(int, rename, -1, (const char *from, const char *to), (from, to), to, 0)
SPY(int, unlink, -1, (const char *path), (path), path, 0)
SPY(int, socket, -1, (int family, int type, int protocol), (family, type, protocol), NULL, family, type, protocol)
SPY(int, bind, -1, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), NULL, fd, PTR(address),
    size)
SPY(int, listen, -1, (int fd, int queue), (fd, queue), NULL, fd, queue)
SPY(int, accept, -1, (int fd, struct sockaddr *restrict address, socklen_t *restrict size), (fd, address, size), NULL, fd,
    PTR(address), PTR(size))
SPY(int, connect, -1, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), NULL, fd,
    PTR(address), size)
SPY(ssize_t, sendmsg, -1, (int fd, const struct msghdr *message, int flags), (fd, message, flags), NULL, fd,
    PTR(message), flags)
SPY(ssize_t, recvmsg, -1, (int fd, struct msghdr *message, int flags), (fd, message, flags), NULL, fd, PTR(message), flags)
SPY(pid_t, wait, -1, (int *status), (status), NULL, PTR(status))
SPY(pid_t, waitpid, -1, (pid_t pid, int *status, int flags), (pid, status, flags), NULL, pid, PTR(status), flags)
SPY(int, waitid, -1, (idtype_t type, id_t id, siginfo_t *info, int flags), (type, id, info, flags), NULL, type, id,
    PTR(info), flags)

SPY_CODE(posix_fallocate, (int fd, off_t offset, off_t size), (fd, offset, size), fd, offset, size)
SPY_CODE(pthread_mutexattr_init, (pthread_mutexattr_t * attr), (attr), PTR(attr))
SPY_CODE(pthread_mutexattr_setpshared, (pthread_mutexattr_t * attr, int shared), (attr, shared), PTR(attr), shared)
SPY_CODE(pthread_mutexattr_setrobust, (pthread_mutexattr_t * attr, int robust), (attr, robust), PTR(attr), robust)
SPY_CODE(pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *attr), (mutex, attr), PTR(mutex),
         PTR(attr))
SPY_CODE(pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex), PTR(mutex))
SPY_CODE(pthread_mutex_trylock, (pthread_mutex_t * mutex), (mutex), PTR(mutex))
SPY_CODE(pthread_mutex_timedlock, (pthread_mutex_t *restrict mutex, const struct timespec *restrict until), (mutex, until),
         PTR(mutex), PTR(until))
SPY_CODE(pthread_mutex_unlock, (pthread_mutex_t * mutex), (mutex), PTR(mutex))
SPY_CODE(pthread_mutex_consistent, (pthread_mutex_t * mutex), (mutex), PTR(mutex))
SPY_CODE(pthread_mutex_destroy, (pthread_mutex_t * mutex), (mutex), PTR(mutex))
SPY_CODE(pthread_condattr_init, (pthread_condattr_t * attr), (attr), PTR(attr))
SPY_CODE(pthread_condattr_setpshared, (pthread_condattr_t * attr, int shared), (attr, shared), PTR(attr), shared)
SPY_CODE(pthread_condattr_setclock, (pthread_condattr_t * attr, clockid_t clock), (attr, clock), PTR(attr), clock)
SPY_CODE(pthread_cond_init, (pthread_cond_t *restrict cond, const pthread_condattr_t *restrict attr), (cond, attr),
         PTR(cond), PTR(attr))
SPY_CODE(pthread_cond_wait, (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex), (cond, mutex), PTR(cond),
         PTR(mutex))
SPY_CODE(pthread_cond_timedwait,
         (pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict until),
         (cond, mutex, until), PTR(cond), PTR(mutex), PTR(until))
SPY_CODE(pthread_cond_signal, (pthread_cond_t * cond), (cond), PTR(cond))
SPY_CODE(pthread_cond_broadcast, (pthread_cond_t * cond), (cond), PTR(cond))
SPY_CODE(pthread_cond_destroy, (pthread_cond_t * cond), (cond), PTR(cond))
SPY_CODE(pthread_create,
         (pthread_t *restrict thread, const pthread_attr_t *restrict attr, void *(*run)(void *), void *restrict closure),
         (thread, attr, run, closure), PTR(thread), PTR(attr), 0, PTR(closure))

/* Programs built for large files call these names; on 64-bit systems they are the same calls. */
#ifdef SPY_PRELOAD
#define ALSO(f, other) __attribute__((alias(#f)))
#else
#define ALSO(f, other) __attribute__((alias("__wrap_" #f)))
#endif
void *NAME(mmap64)(void *at, size_t size, int prot, int flags, int fd, off_t offset) ALSO(mmap, mmap64);
int NAME(ftruncate64)(int fd, off_t size) ALSO(ftruncate, ftruncate64);
int NAME(posix_fallocate64)(int fd, off_t offset, off_t size) ALSO(posix_fallocate, posix_fallocate64);

/* Calls with arguments that may be left out. */

sem_t *NAME(sem_open)(const char *name, int flags, ...)
{
    REAL(sem_t *, sem_open, (const char *, int, ...))
    mode_t mode = 0;
    unsigned value = 0;
    if (flags & O_CREAT) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        value = va_arg(args, unsigned);
        va_end(args);
    }
    const int injected = before(CALL_sem_open, WHERE);
    sem_t *result = SEM_FAILED;
    if (injected)
        errno = injected;
    else
        result = real(name, flags, mode, value);
    const int outcome = errno;
    const bool failed = result == SEM_FAILED;
    record(CALL_sem_open, WHERE, (injected ? INJECTED : 0) | (failed ? FAILED : 0), PTR(result), failed ? outcome : 0,
           name, flags, mode, value, 0, 0);
    after(CALL_sem_open, WHERE);
    errno = outcome;
    return result;
}

int NAME(open)(const char *path, int flags, ...)
{
    REAL(int, open, (const char *, int, ...))
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    const int injected = before(CALL_open, WHERE);
    int result = -1;
    if (injected)
        errno = injected;
    else
        result = real(path, flags, mode);
    const int outcome = errno;
    record(CALL_open, WHERE, (injected ? INJECTED : 0) | (result < 0 ? FAILED : 0), result, result < 0 ? outcome : 0, path,
           flags, mode, 0, 0, 0);
    after(CALL_open, WHERE);
    errno = outcome;
    return result;
}
int NAME(open64)(const char *path, int flags, ...) ALSO(open, open64);

ssize_t NAME(write)(int fd, const void *bytes, size_t size)
{
    REAL(ssize_t, write, (int, const void *, size_t))
    const int reason = errno;
    const int injected = before(CALL_write, WHERE);
    const bool cut = injected < 0 && size > (size_t)-injected;
    ssize_t result = -1;
    if (injected > 0)
        errno = injected;
    else
        result = real(fd, bytes, cut ? (size_t)-injected : size);
    const int outcome = errno;
    /* A program may write thousands of times, which would push all else out of the ring. */
    if (injected > 0 || cut)
        record(CALL_write, WHERE, INJECTED | (result < 0 ? FAILED : 0), result, result < 0 ? outcome : 0, NULL, fd,
               PTR(bytes), N(size), 0, 0);
    after(CALL_write, WHERE);
    errno = result < 0 ? outcome : reason;
    return result;
}

#ifndef SPY_PRELOAD /* where the name is the C library's, which all of this file calls */
long __wrap_syscall(long number, ...)
{
    va_list args;
    long a[6];
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long); /* more than there are, perhaps: then the kernel does not look at them */
    va_end(args);
    const int injected = before(CALL_syscall, WHERE);
    long result = -1;
    if (injected)
        errno = injected;
    else
        result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    const int outcome = errno;
    /* As with write(): only where a rule asks for them, for a ring may take thousands. */
    for (int i = 0; i < rule_count; i++)
        if (rules[i].call == CALL_syscall) {
            record(CALL_syscall, WHERE, (injected ? INJECTED : 0) | (result < 0 ? FAILED : 0), result,
                   result < 0 ? outcome : 0, NULL, number, a[0], a[1], (int32_t)a[2], 0);
            break;
        }
    after(CALL_syscall, WHERE);
    errno = outcome;
    return result;
}
#endif

int NAME(fcntl)(int fd, int command, ...)
{
    REAL(int, fcntl, (int, int, ...))
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *); /* an int is passed in the same register */
    va_end(args);
    const int injected = before(CALL_fcntl, WHERE);
    int result = -1;
    if (injected)
        errno = injected;
    else
        result = real(fd, command, argument);
    const int outcome = errno;
    record(CALL_fcntl, WHERE, (injected ? INJECTED : 0) | (result < 0 ? FAILED : 0), result, result < 0 ? outcome : 0, NULL,
           fd, command, PTR(argument), 0, 0);
    after(CALL_fcntl, WHERE);
    errno = outcome;
    return result;
}
int NAME(fcntl64)(int fd, int command, ...) ALSO(fcntl, fcntl64);

/* Calls that return twice, or never. */

pid_t NAME(fork)(void)
{
    REAL(pid_t, fork, (void))
    const int injected = before(CALL_fork, WHERE);
    pid_t result = -1;
    if (injected)
        errno = injected;
    else
        result = real();
    const int outcome = errno;
    if (result == 0)
        begin_child();
    record(CALL_fork, WHERE, (injected ? INJECTED : 0) | (result < 0 ? FAILED : 0), result, result < 0 ? outcome : 0, NULL,
           0, 0, 0, 0, 0);
    after(CALL_fork, WHERE);
    errno = outcome;
    return result;
}

/* A vfork child may do almost nothing, least of all record: let it be a fork. */
pid_t NAME(vfork)(void)
{
    return NAME(fork)();
}

#define SPY_EXEC(f, parameters, arguments)                                                                      \
    int NAME(f) parameters                                                                                     \
    {                                                                                                          \
        REAL(int, f, parameters)                                                                               \
        const int injected = before(CALL_##f, WHERE);                                                          \
        record(CALL_##f, WHERE, injected ? INJECTED | FAILED : 0, injected ? -1 : 0, injected, path, 0, 0, 0, 0, 0); \
        after(CALL_##f, WHERE);                                                                                \
        if (injected)                                                                                          \
            errno = injected;                                                                                  \
        else                                                                                                   \
            real arguments;                                                                                    \
        const int outcome = errno;                                                                             \
        if (!injected)                                                                                         \
            record(CALL_##f, WHERE, FAILED, -1, outcome, path, 0, 0, 0, 0, 0);                                  \
        errno = outcome;                                                                                       \
        return -1;                                                                                             \
    }

SPY_EXEC(execve, (const char *path, char *const argv[], char *const environment[]), (path, argv, environment))
SPY_EXEC(execv, (const char *path, char *const argv[]), (path, argv))
SPY_EXEC(execvp, (const char *path, char *const argv[]), (path, argv))

#define SPY_EXEC_LIST(f, array_form)                                                                            \
    int NAME(f)(const char *path, const char *first, ...)                                                      \
    {                                                                                                          \
        REAL(int, array_form, (const char *, char *const[]))                                                    \
        char *argv[256] = {(char *)(uintptr_t)first};                                                          \
        va_list args;                                                                                          \
        va_start(args, first);                                                                                 \
        for (int i = 1; i < 255 && argv[i - 1]; i++)                                                           \
            argv[i] = va_arg(args, char *);                                                                    \
        va_end(args);                                                                                          \
        const int injected = before(CALL_##f, WHERE);                                                          \
        record(CALL_##f, WHERE, injected ? INJECTED | FAILED : 0, injected ? -1 : 0, injected, path, 0, 0, 0, 0, 0); \
        after(CALL_##f, WHERE);                                                                                \
        if (injected)                                                                                          \
            errno = injected;                                                                                  \
        else                                                                                                   \
            real(path, argv);                                                                                  \
        return -1;                                                                                             \
    }

SPY_EXEC_LIST(execl, execv)
SPY_EXEC_LIST(execlp, execvp)

#define SPY_END(f, index, status)                                                                               \
    {                                                                                                          \
        REAL(void, f, (int))                                                                                   \
        record(index, WHERE, 0, 0, 0, NULL, status, 0, 0, 0, 0);                                                \
        if (index != CALL_exit) /* exit() runs end() after the program's own handlers */                       \
            pass(CALL_end, WHERE);                                                                                     \
        real(status);                                                                                          \
        __builtin_unreachable();                                                                               \
    }

_Noreturn void NAME(_exit)(int status) SPY_END(_exit, CALL__exit, status)
_Noreturn void NAME(_Exit)(int status) SPY_END(_Exit, CALL__exit, status)
_Noreturn void NAME(exit)(int status) SPY_END(exit, CALL_exit, status)

_Noreturn void NAME(abort)(void)
{
    REAL(void, abort, (void))
    record(CALL_abort, WHERE, 0, 0, 0, NULL, 0, 0, 0, 0, 0);
    real();
    __builtin_unreachable();
}
