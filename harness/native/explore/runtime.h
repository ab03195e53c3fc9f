/**
 * @file
 * @brief What the parts of the run-time share. It is linked into the student's program; see control.h.
 */
#ifndef EXPLORE_RUNTIME_H
#define EXPLORE_RUNTIME_H

#define _GNU_SOURCE

#include "control.h"

/* From linux/futex.h, which is not where every C library looks. See futex(2). */
#ifndef FUTEX_WAIT
enum {
    FUTEX_WAIT = 0,
    FUTEX_WAKE = 1,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10,
    FUTEX_PRIVATE_FLAG = 128,
    FUTEX_CMD_MASK = ~(128 | 256)
};
#endif

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef EXPLORE_RUNTIME
/* What the run-time itself asks of the kernel is no call of the program: the linker wraps `syscall`. */
long __real_syscall(long number, ...);
#define raw_syscall __real_syscall
#else
#include <unistd.h>
#define raw_syscall syscall
#endif

/* ---- turn.c ---- */

extern struct control *control; /**< NULL: the program is not explored */
extern int self;                /**< index of this process; -1: explorer or template */

uint64_t mix(uint64_t a, uint64_t b);
struct thing *find_thing(uint64_t id);

/** Decides who is next, and hands over the turn. Returns when this process has the turn again; others return at once. */
void decide(int current, enum cause cause);

/** Chooses one of a set: of processes, as a signal does that wakes one of several, or of words that get out first. */
int choose_one(uint32_t set);

/** Ends the schedule. Processes then wait here until they are killed. */
void finish(enum verdict verdict);

/** The explorer cannot follow this program. */
void unsupported(const char *what);

/** Starts to describe the next step of this process. */
struct step *begin_step(enum call call, const void *where);

/** The next step looks at a thing, or changes it. */
void touch(uint64_t thing, bool changes);

/** Now that it has the turn, the step turns out to change what it touches, or not to. @param nth  of its things */
void set_changes(uint32_t nth, bool changes);

/** Waits for the turn; then the step can be made. */
void enter_step(void);

/** The step has been made. Its result is written down unless it is followed by another step. */
void leave_step(int64_t result, int error);

/** The same for a call that returns -1 and sets errno when it fails. Returns its result, and leaves errno as it is. */
static inline int leave(int result)
{
    const int error = errno;
    leave_step(result, result < 0 ? error : 0);
    errno = error;
    return result;
}

/** Both, for a step that is made right after this function returns. */
void switch_point(void);

/** How a process waits. */
struct waiting {
    uint64_t thing;
    bool timed;
    bool asleep; /**< until it is woken: no change of the thing is enough */
    int private; /**< nobody in another process can wake it; 2: as it is all zero bytes, it was never set up */
    int64_t deadline_ns; /**< of a timed wait, on the virtual clock */
};

/** The first 8 bytes at an address. */
uint64_t peek(const volatile void *at, size_t size);

/** The step that has the turn stores here: what it has stored is looked at when the next one begins. */
void expect_store(const volatile void *at);

/** The step has been tried in vain. Returns when it can be tried again; false: because the time is over. */
bool wait_for(struct waiting waiting);

/** The process sleeps, or looks in vain: others may go on. */
void pause_step(void);

/** Steps of this process so far, for names that are the same in each schedule. */
uint32_t steps_of_self(void);

/** A process has ended, which is a step that changes something for those who look whether it is there. */
void note_change(uint64_t thing, int process);

void futex_wait(uint32_t *word, uint32_t value);
void futex_wake(uint32_t *word);

/* ---- access.c ---- */

struct mapping {
    char *start; /**< as the program sees it: the object, or in weak.c a copy of it */
    size_t size;
    char *object, *last; /**< weak.c: the object itself, and what the copy was when it was last compared */
    int fd;              /**< weak.c: of the object, -1: an anonymous one */
    uint64_t id;         /**< of the file */
    uint64_t offset;     /**< of the mapping in it */
    int32_t file;
};

void add_mapping(const struct mapping *mapping);
int all_mappings(const struct mapping **first);
void remove_mapping(void *start, size_t size);
const struct mapping *find_mapping(const volatile void *at);

/** Steps that load or store a range of memory, if it is shared. */
void load_range(const void *at, size_t size, const void *where);
void store_range(void *at, size_t size, const void *where);

/** Describes an access to memory; returns false if it is nobody else's business. */
bool begin_access(enum call call, const volatile void *at, size_t size, const void *where);

/** The thing that a semaphore, mutex … at this address is. Touches it, too. */
uint64_t touch_object(struct step *step, const volatile void *at, size_t size, bool changes);

/* ---- weak.c ---- */

/** Makes the copy on which the program works. Returns where it is; MAP_FAILED: there is no memory for it. */
void *weak_map(void *object, size_t size, int fd, struct mapping *mapping);
void weak_unmap(const struct mapping *mapping);

/** The object's own memory at an address that the program uses. */
void *object_of(const volatile void *at);

/** The step that begins lets others see what this process has stored (release), or sees what they have (acquire). */
void weak_begin(bool release, bool acquire);

/** The same step, now that it has the turn: others see the stores. */
void weak_release(void);

/** The same without the stores that are delayed: a fence that is not seq_cst does not wait for those. */
void weak_publish(void);

/** And this process sees theirs. */
void weak_acquire(void);

/** A store that may become visible later than the loads that follow. */
void weak_delay(volatile void *to, uint64_t value, size_t size);

/** The value of a delayed store to this place. Returns false if there is none. */
bool weak_delayed(const volatile void *at, uint64_t *value);

/** If stores are delayed: the step in which others come to see them. */
void weak_drain(const void *where);

/** Stores get out in any order: before a release, the first or the last of several, in a step of its own. */
void weak_split(const void *where);

/** Lets the own copy have a value that an atomic operation has found or stored. */
void weak_mirror(const volatile void *at, uint64_t value, size_t size);

/** A plain load: after many of them, what others have stored gets here after all. */
void weak_plain_load(const void *where);

static inline bool is_release(int order)
{
    return order >= __ATOMIC_RELEASE;
} /* also acq_rel and seq_cst */
static inline bool is_acquire(int order)
{
    return order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE;
}

/* ---- memory.c ---- */

/**
 * Finds out which memory is to be kept. Returns NULL if that cannot be done.
 *
 * @param except  an address in the mapping that is not
 */
struct kept *keep_memory(const char *except);

/** Keeps what is there now. */
void fill_kept(struct kept *kept);

/** Makes the memory what it was. Returns false if the program has replaced a part of it. */
bool restore_memory(struct kept *kept);

/* ---- calls.c ---- */

/** Whether this process has started a timer, and handles its signal: that ends a wait, and no schedule has it. */
bool timer_interrupts(void);

/* ---- template.c ---- */

/** A process forked by the template or by the program starts: it waits for its first turn. */
void start_process(int index);

/* ---- files.c ---- */

enum {
    KIND_NAME = 1,
    KIND_SIZE,
    KIND_LOCK,
    KIND_MEMORY,
    KIND_PRIVATE,
    KIND_CHILD,
    KIND_CHILDREN,
    KIND_OBJECT,
    KIND_KEY
};

/** Index in control::file of what a descriptor refers to; -1: nothing that others can see. */
int32_t file_of(int fd, const char *name);
uint64_t name_thing(const char *path, char shown[TEXT]);

/* ---- sysv.c ---- */

/** The step changes how many are attached to the segments that this process has attached. */
void touch_attached(void);

/** The step looks at the list of all segments, if it uses this path. */
void touch_segments(const char *path);

#endif
