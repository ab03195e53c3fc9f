/**
 * @file
 * @brief What the parts of the box share. See main.c for what the box is.
 *
 * | file         | contents                                                          |
 * |--------------|-------------------------------------------------------------------|
 * | main.c       | options; the keeper, which stays outside                          |
 * | inside.c     | pid 1: set-up and event loop                                      |
 * | namespaces.c | id maps, sysctls, the user namespaces of the programs             |
 * | mounts.c     | the root: what programs can read, and where they can write        |
 * | confine.c    | resource limits, credentials                                      |
 * | seccomp.c    | the system calls that programs may make                           |
 * | landlock.c   | host tier: which files, ports and processes programs can reach     |
 * | start.c      | starting a program                                                |
 * | watch.c      | reaping, time limits, killing                                     |
 * | memory.c     | the memory limit                                                  |
 * | rules.c      | the rules of a program, for its recorder                           |
 * | stops.c      | programs that stop themselves and wait for the harness            |
 * | messages.c   | sending to and receiving from the harness                         |
 * | commands.c   | the harness's commands                                            |
 * | report.c     | what is left: processes, segments, objects                        |
 * | process.c    | reading /proc                                                     |
 */
#ifndef BOX_H
#define BOX_H

#define _GNU_SOURCE

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

enum {
    EXIT_SETUP = 125,   /**< exit status: the box could not be set up */
    EXIT_EXEC = 127,    /**< exit status of a child that could not execute its program, as in a shell */
    MAX_PATHS = 32,     /**< paths that can be hidden, and shown */
    MAX_PROGRAMS = 256, /**< programs started and not yet reaped */
    MAX_FIELDS = 1024,  /**< fields of one message */
    MAX_FDS = 4,        /**< descriptors sent with one message */
    MESSAGE_SIZE = 256 * 1024,
    WATCH_MS = 50, /**< how often the memory of all programs together is checked */
    CHILD_STACK_SIZE = 256 * 1024,
};

/* ---- main.c ---- */

struct options {
    bool namespaces;
    int control; /**< descriptor of the harness's socket, or -1 */
    long slot;   /**< programs run as uid and gid 60000 + slot; -1: as the user who started the box */
    long shm_mb, work_mb;          /**< sizes of /dev/shm and of the work directory */
    long memory_mb;                /**< limit for all programs together */
    const char *work;              /**< the work directory */
    const char *run;               /**< directory of the spy's ring and of the socket for stops */
    bool list_promises;            /**< by hand: print what the box promises, and start nothing */
    bool executes;                 /**< programs may execute others */
    int group_procs, group_events; /**< of the programs' control group, see memory.c; -1: there is none */
    const char *hide[MAX_PATHS], *show[MAX_PATHS]; /**< directories, besides those of mounts.c */
    int hidden, shown;
    cpu_set_t processors; /**< those that programs may use; empty: all that the box itself may use */
};

extern struct options options;
extern uid_t program_uid;
extern gid_t program_gid;

/* ---- inside.c ---- */

/** Whether pid 1 leads a session. Its programs are in it: the kernel gives each session an equal share of the
 *  processors, see sched(7), so that many programs that spin do not keep the harness from running. By hand, the
 *  session is the terminal's. */
extern bool leads_session;

/** Runs the first process inside. Returns the exit status of the box. */
int box_inside(char *const argv[], char *const environment[]);

/* ---- namespaces.c ---- */

/** User namespaces: [0] of the programs, [1] of the harness's own executables. */
extern int program_userns[2];

/** Writes the id maps of pid 1's user namespace. Called by the keeper, which has the privilege to do so. */
void setup_id_maps(pid_t child, uid_t uid, gid_t gid);

/** Sets up mounts, host name and IPC limits. Called by pid 1 in its new namespaces. */
void setup_namespaces(void);

/** Creates both namespaces of #program_userns. */
void setup_program_userns(void);

/** Whether set_sysctl() can set limits of System V shared memory: some kernels refuse. */
bool can_set_limits(void);

/** Sets a limit of the namespaces, such as "kernel/shmmni", but never of the machine. Returns 0, or -1 and errno. */
int set_sysctl(const char *name, const char *text);

/* ---- mounts.c ---- */

extern int sysctl_directory; /**< descriptor of a /proc/sys that pid 1 can still write to; -1: host tier */

/** Directories of programs, libraries and compilers. What the machine lacks of them is left out. NULL ends both lists. */
extern const char *const shown_directories[];

/** Of /etc: how the loader and the linker find libraries, which compiler `cc` is, who has which uid. */
extern const char *const shown_of_etc[];

/** Makes a root of what programs need, read-only, with small private directories that they can write to. */
void setup_mounts(void);

/** Undoes what an ordinary user's programs may have done to the permissions of the shared directories. */
void restore_permissions(void);

/* ---- confine.c ---- */

/** Limits of one program; see getrlimit(2). */
struct limits {
    long wall_ms, cpu_s, address_mb, file_mb, processes, files;
    unsigned umask;
    const char *directory; /**< where the program starts; NULL: where the box was started */
    const char *rules;     /**< for its recorder, or NULL */
};

extern const struct limits default_limits;

/** Whether the calling task has a capability, such as CAP_SYS_PTRACE, in its own user namespace. */
bool has_capability(unsigned capability);

/** Whether the calling task can start programs with a uid and gid of their own, and manage them and their files. */
bool can_switch_user(uid_t uid, gid_t gid);

/** Sets a limit of the calling task, or a lower one if its hard limit is lower. */
void set_rlimit(int resource, rlim_t soft, rlim_t hard);

/** Sets all limits of a program but that on the number of processes; see exec_program(). */
void setup_rlimits(const struct limits *limits);

/** Changes to the programs' uid and gid, and gives up every privilege. @param userns  a user namespace to enter, ignored in the host tier */
void setup_credentials(int userns);

/** Prints a message to the program's stderr and ends the child that could not become the program. */
_Noreturn void child_die(const char *what);

/* ---- seccomp.c ---- */

/** Installs the system-call filter of pid 1, which all programs inherit. */
void setup_seccomp(void);

/** The sixth argument of execve(2) and execveat(2), which the kernel ignores, by which the filter knows pid 1's own. */
extern uint64_t start_secret;

/* ---- landlock.c ---- */

/** What the box promises of its programs. In namespaces: everything. */
enum promise {
    PROMISE_FILES = 1, /**< they reach no hidden directory, and change files in their own directories only */
    PROMISE_NETWORK = 2, /**< they cannot use the network */
    PROMISE_SIGNALS = 4, /**< they cannot send a signal to a process outside the box */
};

extern unsigned promises; /**< set by the functions for the set-up */

/** Confines pid 1 and prepares what confines programs, as far as the kernel can. For the host tier. */
void setup_landlock(void);

/** Confines the calling child, which may share memory with pid 1. Does nothing if setup_landlock() could not. */
void enter_landlock(void);

/* ---- start.c ---- */

extern char child_stack[CHILD_STACK_SIZE]; /**< of children that share memory with pid 1 */

/** Decides whether a starting child may share memory with pid 1. */
void setup_start(void);

/**
 * Starts a program.
 *
 * @param io      its stdin, stdout and stderr. The fourth is its executable, or -1: look up argv[0] instead.
 * @return its pid, or -1 with errno set
 */
pid_t start_program(char *const argv[], char *const environment[], const int io[4],
                    const struct limits *limits);

/* ---- watch.c ---- */

struct program {
    pid_t pid; /**< 0: the entry is free */
    int64_t started_us, deadline_us;
    bool timed_out;
    char *rules;              /**< for its recorder; NULL: it has none, or has got them */
    char token[17];           /**< 16 hexadecimal digits that its recorder knows as well */
    unsigned long long image; /**< of the process that has got the rules, see rules.c */
    bool injected;            /**< one of its calls was made to fail */
};

extern struct program programs[MAX_PROGRAMS];
extern int last_status; /**< wait status of the last program that ended, for use by hand */

/** The program with a pid; NULL: there is none. */
struct program *find_program(pid_t pid);

/** Microseconds of the monotonic clock. */
int64_t now_us(void);

/** Whether any program has been started and not yet been reaped. */
bool any_program(void);

/** Reaps every child that has ended, and reports each to the harness. */
void reap(void);

/** Kills programs past their deadline. Returns the milliseconds until the next deadline; -1: there is none. */
int check_timeouts(void);

/** Kills every program and all descendants. */
void kill_all(void);

/** The same, and reaps them, and makes the box as good as new. */
void reset_box(void);

/** Why everything was killed since the last reset_box(). */
enum over_memory { NOT_OVER_MEMORY, OVER_LIMIT, MACHINE_FULL };

extern enum over_memory over_memory;

/* ---- memory.c ---- */

/** Remembers how much shared memory the machine used before any program ran. */
void setup_memory_check(void);

/** Kills everything if all programs together use more memory than they may, or the machine has none left. */
void check_memory(void);

/** Moves the calling child into the control group of the programs, if there is one. */
void enter_group(void);

/** If the kernel has killed a program because its control group was full, notes that, and kills everything. */
void check_group(void);

/* ---- rules.c ---- */

/** Listens where recorders ask for their rules. Returns the descriptor; -1: no directory for the socket was named. */
int setup_rules_socket(void);

/** Keeps the rules of a program that was just started; NULL: its recorder gets none. */
void keep_rules(struct program *program, const char *rules);

/** Answers all who have asked. */
void answer_rules(void);

/* ---- stops.c ---- */

/** Binds the socket on which programs announce a stop. Returns its descriptor; -1: no directory for it was named. */
int setup_stop_socket(void);

/** Takes in what recorders have announced. */
void receive_announcements(void);

/** Reports announced programs that have stopped. Returns whether any has neither stopped nor ended yet. */
bool check_stops(void);

/** Forgets all announcements. */
void forget_stops(void);

/* ---- messages.c ---- */

/** A message from the harness. The fields point into a buffer that the next message overwrites. */
struct message {
    char *field[MAX_FIELDS];
    int fields;
    int fd[MAX_FDS]; /**< those that were not received are -1 */
    int fds;
};

/** Sends one message. A harness that has ended is noticed later, by poll(2). */
__attribute__((format(printf, 1, 2))) void send_message(const char *format, ...);

/** Sends one message with @p count descriptors, at most #MAX_FDS. */
__attribute__((format(printf, 3, 4))) void send_message_fds(const int *fds, size_t count, const char *format,
                                                            ...);

/** Receives one message. Returns false if the harness has closed its end. */
bool receive_message(struct message *message);

/** Reports why the set-up failed, with the reason in errno, and exits. */
__attribute__((format(printf, 1, 2))) _Noreturn void die(const char *format, ...);

/* ---- commands.c ---- */

/** Receives one command, carries it out and replies. Returns false if the harness has closed its end. */
bool serve_command(void);

/* ---- report.c ---- */

/** Writes one line for each process, segment, semaphore set and queue, and by hand also for each object. */
void report(FILE *out);

/* ---- process.c ---- */

/** A process in /proc; see proc_pid_stat(5). */
struct process {
    char state; /**< 'R', 'S', 'T', 'Z' ...; 0: there is no such process */
    pid_t parent;
    unsigned long long ticks; /**< processor time, including that of reaped children */
    char name[32];            /**< with '?' for each character that cannot be printed */
};

struct process read_process(pid_t pid);

/** The number after a word at the start of a line of a /proc file; 0: there is no such line. */
int64_t read_number(const char *path, const char *word);

/** Threads of the programs' uid on the whole machine. */
long count_user_threads(void);

/** Whether a process runs in the box: in the host tier, whether it descends from pid 1. */
bool is_in_box(pid_t pid);

/** Calls @p visit for every process in the box except pid 1. */
void for_each_process(void (*visit)(pid_t pid, void *closure), void *closure);

#endif
