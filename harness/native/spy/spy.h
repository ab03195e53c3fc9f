/**
 * @file
 * @brief What the parts of the recorder share: the record's layout, the process's state, the functions.
 *
 * spy.c includes the parts, so that they are one translation unit and all of this can be static: the object
 * that is linked into a student's program has no names that could clash with the program's own.
 */
#ifndef SPY_H
#define SPY_H

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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

/**
 * Flags of a record: made to fail by a rule; called by a library, not by the program; returned an error; `text` has the
 * bytes of read() or its like.
 */
enum { INJECTED = 1, FOREIGN = 2, FAILED = 4, HAS_BYTES = 16 };

/** The bits of `flags` from this one on are the last of the pid namespace's inode number: two may have the same pids. */
enum { NAMESPACE_SHIFT = 5, NAMESPACE_MASK = 0x7ff };

/** Not stored: the call is recorded before it is made, so nothing has read its string argument yet. */
enum { NOT_YET_MADE = 8 };

/** In `sequence`: somebody is writing the record of the number below it. */
#define BEING_WRITTEN (UINT64_C(1) << 63)

/** One call. 144 bytes; calls.py reads the same layout. */
struct record {
    _Atomic uint64_t sequence; /**< 1 for the first call of the run; stored last */
    uint64_t time_ns;          /**< CLOCK_MONOTONIC, after the call returned */
    uint64_t began_ns;         /**< the same before it was made */
    int32_t pid, tid;
    uint16_t call, flags;
    int32_t error; /**< errno, or the error number that the call returned */
    int64_t result;
    uint64_t where; /**< return address, relative to the start of the program's image */
    int64_t argument[5];
    char text[48]; /**< a string argument, or the bytes of read() and its like, cut to fit */
};

/** The file that the harness creates. All bytes but the capacity are zero at first. */
struct ring {
    uint64_t capacity;
    _Atomic uint64_t next;
    _Atomic uint64_t injected; /**< calls made to fail, including those whose records were overwritten */
    char padding[104];
    struct record record[];
};

/* ---- which code made a call: preload.c -------------------------------------------------------------- */

#ifdef SPY_PRELOAD
static uintptr_t image_base; /* where the program, without its libraries, is mapped */
static void find_image(void);
static bool called_by_program(uintptr_t caller);
#else
extern const char __executable_start[];
#define image_base                ((uintptr_t)__executable_start)

/* The linker redirects the program's own calls only. */
#define called_by_program(caller) ((void)(caller), true)

/* The recorder's own system calls must not be recorded as the program's. */
long __real_syscall(long number, ...);
#define syscall                   __real_syscall
#endif

/** Digits of the token with which this recorder proves to pid 1 that it is the recorder. */
enum { TOKEN_DIGITS = 16 };

/**
 * Makes a system call with at most three arguments, and returns what the kernel does, -errno for an error.
 *
 * Not by syscall(3), because a program may define a function of that name.
 */
static inline long kernel_call(long number, long a, long b, long c)
{
#if defined __x86_64__ && defined __LP64__
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
#elif defined __aarch64__
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#elif defined __riscv && __riscv_xlen == 64
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
#else
    const int saved_errno = errno;
    const long result = syscall(number, a, b, c), error = errno;
    errno = saved_errno;
    return result < 0 ? -error : result;
#endif
}

/* ---- record.c --------------------------------------------------------------------------------------- */

static struct ring *ring; /* NULL: nothing is recorded */

/** How many records this process has written, those of its vfork(2) children left out. */
static _Atomic uint64_t records;

/** Notes the time at which the calling thread begins a call. */
static void note_begin(void);

/**
 * The pid of a vfork(2) child, in the child; 0 in any other process.
 *
 * The child runs in the memory of its parent. It has the thread-local storage of the thread that called vfork(),
 * and that thread waits until the child ends or calls execve().
 */
static _Thread_local int32_t vfork_child_pid __attribute__((tls_model("initial-exec")));

/**
 * Appends a call to the ring.
 *
 * @param caller  return address in the code that made the call
 * @param flags   of INJECTED, FAILED and NOT_YET_MADE
 * @param error   errno, or 0 if the call succeeded
 * @param text    a string argument, which may be an invalid pointer, or NULL; of read(), write() and their like the
 *                bytes, `result` of them
 * @param a       the other arguments, up to e
 */
static void record(enum call call, uintptr_t caller, int flags, int64_t result, int error, const char *text,
                   int64_t a, int64_t b, int64_t c, int64_t d, int64_t e);

/* ---- rules.c ---------------------------------------------------------------------------------------- */

static int rule_count;
static struct sockaddr_un stops_address; /* the socket where stops are announced */

/** Asks the box for the rules, once, where SHMLAB_STOPS says; box/rules.c answers. */
static void take_rules(char **environment);

/** Tells pid 1 that a call of this process was made to fail, the first time. */
static void tell_injected(void);

/** Whether any rule is about this call; one about every call is not about `store`. */
static bool has_rule(enum call call);

/** Whether the process stops after every call, so that the calls may be recorded that are else too many. */
static bool stops_at_every_call(void);

/** Notes that a call begins, and counts it. Returns the errno value it must fail with, or 0. */
static int count_call(enum call call, uintptr_t caller);

/** Stops the process if a rule demands it after this call. */
static void stop_after(enum call call, uintptr_t caller);

/** Applies the rules to `start`, `end` and `store`, which are not calls: a failure ends the process. */
static void apply_rules(enum call call, uintptr_t caller);

/** Resets what a child inherits from fork(): it counts its own calls, and rules for the program do not match it. */
static void after_fork_in_child(void);

/** The same for vfork(), whose child must not change what the parent uses. */
static void after_vfork_in_child(void);

/* ---- stores.c --------------------------------------------------------------------------------------- */

/**
 * Makes a new shared mapping read-only if a rule stops the process before its first store.
 *
 * Returns the size, so that the wrapper of mmap() can call it among the values it records.
 */
static size_t protect_until_store(void *mapped, size_t size, int prot, int flags);

/* ---- mappings.c ------------------------------------------------------------------------------------- */

/*
 * Each returns its last parameter, as protect_until_store() does, so that a wrapper can call it among the values it
 * records.
 */

/** Notes a new shared mapping; MAP_FAILED and NULL are none. */
static size_t note_shared(const void *mapped, size_t size);

/** The same for shmat(2): the kernel knows the size of the segment `id`. */
static int note_attached(const void *mapped, int id);

/** The same for mremap(2), if what it has moved or resized is shared. */
static size_t note_moved(const void *from, size_t size, const void *to, size_t new_size);

/** Forgets the shared mappings that lie in the `size` bytes at `from` and are unmapped now. */
static size_t forget_shared(const void *from, size_t size);

/** Forgets the one that begins at `from`. */
static const void *forget_attached(const void *from);

/** Whether a call about a lock is recorded: the lock is shared, a rule is about the call, or it is one of the first. */
static bool is_worth_a_record(enum call call, const void *lock);

/* ---- what the files with wrappers need: wrappers.c, processes.c --------------------------------------- */

#define CALLER ((uintptr_t)__builtin_return_address(0))
#define INT(x) ((int64_t)(x))
#define PTR(x) ((int64_t)(intptr_t)(x))

/* WRAPPER(f) is the function that the program calls instead of f. DECLARE_REAL declares `real`, which is f. */
#ifdef SPY_PRELOAD
#define WRAPPER(f) f
#define DECLARE_REAL(type, f, parameters)                                                                    \
    static type(*real) parameters;                                                                           \
    if (!real)                                                                                               \
        *(void **)&real = dlsym(RTLD_NEXT, #f);
#define ALIAS_OF(f, other) __attribute__((alias(#f)))
#else
#define WRAPPER(f) __wrap_##f
#define DECLARE_REAL(type, f, parameters)                                                                    \
    extern type __real_##f parameters;                                                                       \
    type(*const real) parameters = __real_##f;
#define ALIAS_OF(f, other) __attribute__((alias("__wrap_" #f)))
#endif

#endif
