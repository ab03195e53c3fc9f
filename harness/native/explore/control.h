/**
 * @file
 * @brief What the explorer and the programs it runs share: one page of control, one log of steps.
 *
 * The explorer runs a student's programs under every order of their steps, up to a bound. A *step* is one access to
 * shared memory or one call that other processes can notice; the place right before it is a *point*. Of all
 * processes only one runs at a time: it has the *turn*. At each point the process that has the turn decides by
 * itself, with the functions of turn.c, who makes the next step: it follows the schedule, or goes on without a
 * switch where the schedule says nothing. So a point without a switch costs no system call.
 *
 * | file       | contents                                                                              |
 * |------------|---------------------------------------------------------------------------------------|
 * | turn.c     | who may run, who waits for what, handing over the turn (in programs and explorer)      |
 * | template.c | the program's first process, stopped before main(): makes a process for each schedule  |
 * | memory.c   | puts that process's memory back                                                       |
 * | access.c   | what the compiler calls for each load and store, with -fsanitize=thread               |
 * | weak.c     | memory as weak as C11 allows                                                          |
 * | calls.c    | calls that other processes can notice, and calls that wait                             |
 * | files.c    | names, files and descriptors                                                          |
 * | sysv.c     | System V segments                                                                      |
 * | search.c   | the explorer: restores the objects, runs a schedule, looks at its end, plans others    |
 *
 * Programs can write to all of this. They can thereby hide a schedule, as they can by noticing that they are
 * explored; then they are judged by the checks that use their plain build. They cannot harm the explorer: it checks
 * every index it takes from here.
 */
#ifndef EXPLORE_CONTROL_H
#define EXPLORE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

enum {
    MAX_PROCESSES = 8,
    MAX_STEPS = 8192,
    MAX_CHOICES = 48,     /**< deviations from the default in one schedule */
    MAX_DECISIONS = 8192, /**< decisions of one schedule that have alternatives */
    MAX_WORDS = 512,      /**< of memory that one step can touch */
    MAX_TOUCHED = MAX_WORDS + 4,
    MAX_BARRIERS = 4,
    MAX_FILES = 64,   /**< files and objects met in one schedule */
    THINGS = 1 << 14, /**< size of the table of things; a power of two */
    SEEN = 1 << 17,   /**< size of the table of states; a power of two */
    TEXT = 64,
    VAIN_LOOKS = 16,   /**< looks at one place in which nothing has changed, before others get the turn */
    VAIN_ROUNDS = 200, /**< rounds in which all processes only look or time out, before the run is given up */
    CONTROL_FD = 250,  /**< a program finds the control page here when it starts */
};

/** What a process is doing, seen by the others. */
enum state {
    ABSENT,  /**< not started, or a free slot */
    READY,   /**< stands before its next step */
    BLOCKED, /**< has tried its step in vain; tries again when a thing that it waits for changes */
    ASLEEP,  /**< waits to be woken: for a condition variable, a futex, a private semaphore */
    IDLE,    /**< looks or sleeps in vain: goes on when anything changes, or when nobody else can go on */
    ENDED,
};

/** Why somebody has to decide who is next. */
enum cause { AT_POINT, AT_WAIT, AT_END, AT_PAUSE, AT_WAKE, AT_LATER_PAUSE };

/** After so many pauses of a process, to let go on another than the usual one counts as a preemption: it polls. */
enum { FREE_PAUSES = 1 };

/** How a schedule ended. */
enum verdict {
    RUNNING,
    AGAIN, /**< run it again: a program forks, so processes cannot share the memory of their template */
    ALL_ENDED,
    DEADLOCK,    /**< processes wait, and nobody is left who could wake them */
    LIVELOCK,    /**< processes only look, or time out, again and again, and nothing changes */
    CUT,         /**< from here on it is the same as an earlier schedule */
    TOO_LONG,    /**< more than MAX_STEPS steps */
    DIVERGED,    /**< the schedule could not be followed: the program does not behave the same each time */
    HUNG,        /**< no step for a long time, outside of everything that is a point */
    UNSUPPORTED, /**< the program does something that the explorer cannot follow, such as a second thread */
};

/** A decision: a process, and what becomes of it. Where a signal wakes one of several: which one. */
enum { CHOICE_PROCESS = 0x1f, CHOICE_TIMEOUT = 0x20, CHOICE_KILL = 0x40 };

struct choice {
    uint32_t decision; /**< counted from the start of the schedule */
    uint32_t choice;
};

/** Something that steps of different processes can touch: a name, a file's size, eight bytes of an object. */
struct thing {
    uint64_t id;
    uint32_t epoch;            /**< the schedule in which the values below were last reset */
    uint32_t writes;           /**< how often it was changed in this schedule */
    uint64_t write;            /**< hash of the last step that changed it */
    uint64_t reads;            /**< sum of the hashes of the steps that looked at it since */
    uint32_t readers, writers; /**< sets of processes, in any schedule: bit n for process n */
};

struct touch {
    uint64_t id;
    bool changes;
};

/** Two records for one call: what is called, and with what. Python prints them. */
struct step {
    uint8_t process, call, waits, atomic; /**< waits: it was tried in vain. atomic: 1 + memory order */
    int32_t error;
    uint64_t where; /**< return address, from the start of the program's image */
    int64_t result;
    uint64_t offset; /**< in the object, of an access or a semaphore … */
    uint32_t size;
    int32_t file;           /**< index in control::file, or -1 */
    uint64_t before, after; /**< the first 8 bytes accessed, before and after a store */
    char text[TEXT];
};

struct process {
    uint32_t go;   /**< futex: 1 when the turn is this process's */
    uint32_t fork; /**< futex of the template: 1 when it shall fork */
    uint32_t state;
    uint32_t timed;     /**< the wait has a limit, so it may time out */
    uint32_t timed_out; /**< told to a process that is granted the turn because of that */
    uint32_t woken;
    int32_t pid, status;
    uint32_t parent;  /**< 1 + index of the process that forked it; 0: a template has */
    uint32_t watched; /**< futex: 1 when the template watches for the end of this forked process */
    int32_t template; /**< pid of the template of this process and of all that it forks */
    uint32_t steps;
    int64_t deadline_ns;   /**< of a timed wait, on the virtual clock; 0: unknown */
    uint64_t hash;         /**< of all its steps and of all that they depend on */
    uint64_t waits_for;    /**< the thing */
    uint32_t waits_writes; /**< thing::writes when it was tried */
    uint32_t own_changes;  /**< how many of control::changes it has made */
    uint32_t idle_changes; /**< those of others when it became idle */
    uint32_t killed;       /**< by a decision of the schedule */
    uint32_t private_wait; /**< asleep where only its own process could wake it */
    uint32_t pauses;       /**< how often it has slept for a time, or looked in vain */
    struct step next;      /**< the step that it stands before, or waits in */
    struct touch touched[MAX_TOUCHED];
    uint32_t touches;
    uint32_t contended;
};

/** One decision that could have been another. */
struct decision {
    uint32_t number, cause, current, chosen;
    uint32_t ready, timeouts; /**< sets of processes */
    uint32_t killable;
};

enum { SEGMENTS = 1 << 30 }; /**< file::device of a System V segment; inode is its id */

struct file {
    uint64_t device, inode, id;
    char name[TEXT];
};

struct barrier {
    uint64_t thing;
    uint32_t count, waiting, is_private;
};

struct control {
    uint32_t processes, epoch; /**< processes: with those that were forked */
    uint32_t done;             /**< futex of the explorer */
    uint32_t verdict;
    uint32_t turn;
    uint32_t steps, decisions, logged, changes, rounds, files;
    uint32_t choices, followed;
    uint32_t barriers;
    uint32_t overslept;     /**< waits whose time was over, and nobody could have ended them before */
    uint32_t weak;          /**< memory is as weak as C11 allows: see weak.c */
    uint32_t deaths;        /**< how many more processes may be killed */
    uint32_t explore;       /**< 0: only follow the schedule, do not cut */
    uint32_t shares_memory; /**< processes share the memory of their template: see memory.c */
    uint32_t debugged; /**< the number of the process that waits for a debugger when it starts, and 1; or 0 */
    uint32_t grown;    /**< a thing has become contended that was not */
    int64_t clock_ns;  /**< virtual time */
    char trouble[TEXT]; /**< what is not supported */
    struct choice choice[MAX_CHOICES];
    struct process process[MAX_PROCESSES];
    struct file file[MAX_FILES];
    struct barrier barrier[MAX_BARRIERS];
    struct decision decision[MAX_DECISIONS];
    struct step step[MAX_STEPS];
    struct thing thing[THINGS];
    uint64_t seen[SEEN];
};

/* Index of each kind of step: its line in steps.def. */
enum call {
#define STEP(name) STEP_##name,
#define CALL(name) STEP_##name,
#define WRAP(name)
#include "steps.def"
#undef STEP
#undef CALL
#undef WRAP
    STEP_KINDS
};

#endif
