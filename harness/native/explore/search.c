/**
 * @file
 * @brief The explorer: runs programs under every schedule with at most so many preemptions, and tells each end.
 *
 *     explore [--preemptions N] [--deaths N] [--weak 1] [--schedules N] [--seconds S] [--ends N] [--schedule D:C,...] [--debug INDEX] -- PROGRAM ARG... -- PROGRAM...
 *
 * PROGRAM is the file .explored-PROGRAM in the current directory; .input-0 is what the first process reads.
 *
 * Depth first, in order of preemptions: all schedules with none, then all with one, and so on; so the first schedule
 * that comes to an end has the fewest. A *preemption* takes the turn from a process that could go on; a switch from
 * one that waits, sleeps or has ended costs nothing. A time-out that comes early counts as one. See Musuvathi and
 * Qadeer, "Iterative context bounding for systematic testing of multithreaded programs", PLDI 2007.
 *
 * Two reductions, both of which lose no end within the bound:
 * - A process is preempted only before a step on a thing that another process touches, too, one of the two changing
 *   it. What two processes touch is learned on the way; if it turns out to be more, the search starts again.
 * - Where the steps so far, and the order of those that depend on each other, are those of an earlier schedule, with
 *   as many preemptions left, this one is cut: from here on they are the same.
 *
 * Standard output gets a block for each end that is different from all before, and one with the figures; see
 * explore/search.py. The objects that are in /dev/shm when the explorer starts are what each schedule starts from.
 */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_OBJECTS = 64,
    OBJECT_LIMIT = 1 << 20, /**< bytes of an object that are looked at */
    OUTPUT_LIMIT = 64 << 10,
    MAX_BOUND = 16,
    MAX_ENDS = 1024,
    HANG_MS = 2000,  /**< of processor time of the process that has the turn, without a step */
    LOST_MS = 60000, /**< the same in real time, for one that does not get the processor */
    LOOK_MS = 100,
};

/** What the caller wants. */
static struct {
    int preemptions, deaths, ends;
    uint64_t schedules;
    double seconds;
    bool weak;
    bool plain; /**< no reductions: for the test that they lose no end */
    bool replay;
    int debug; /**< the process that a debugger attaches to, or -1 */
    struct choice choice[MAX_CHOICES];
    uint32_t choices;
} wanted = {.preemptions = 2, .ends = 256, .schedules = UINT64_MAX, .seconds = 20, .debug = -1};

static char **command[MAX_PROCESSES]; /**< null-terminated */
static uint32_t commands;
static pid_t template[MAX_PROCESSES];
static int input[MAX_PROCESSES];     /**< the file .input-INDEX, or /dev/null */
static int output[MAX_PROCESSES][2]; /**< files that stdout and stderr go to */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "explore: %s: %s\n", what, strerror(errno));
    exit(125);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/** What the kernel tells of a process; all is 0 for one that is gone. See proc_pid_stat(5). */
struct status {
    char state;
    double seconds; /**< of the processor */
    double family;  /**< the same with the children that it has waited for */
};

static struct status status_of(pid_t pid)
{
    char path[64], line[512] = "", state;
    unsigned long ticks[4];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    const char *rest = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (file)
        fclose(file);
    if (!rest || sscanf(rest, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu", &state,
                        &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 5)
        return (struct status){0};
    const double second = (double)sysconf(_SC_CLK_TCK);
    const unsigned long own = ticks[0] + ticks[1];
    return (struct status){state, (double)own / second, (double)(own + ticks[2] + ticks[3]) / second};
}

/** Of the explorer, the templates and all that they have forked. Unlike real time it does not depend on other processes. */
static double processor_seconds(void)
{
    double sum = 0;
    const int who[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (int i = 0; i < 2; i++) {
        struct rusage used;
        getrusage(who[i], &used);
        sum += (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    }
    for (int i = 0; i < MAX_PROCESSES; i++)
        if (template[i] > 0)
            sum += status_of(template[i]).family;
    return sum;
}

/* ---- the objects that each schedule starts from --------------------------------------------------------- */

struct object {
    char name[256];
    mode_t mode;
    size_t size, length; /**< length: of the content that is kept */
    char *content;
};

static struct object prepared[MAX_OBJECTS];
static int prepared_count;
static int shm = -1;

/** Calls a function for each name in /dev/shm. */
static void for_each_object(void (*visit)(const char *name, void *closure), void *closure)
{
    const int fd = openat(shm, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory)
        die("/dev/shm");
    for (struct dirent *entry; (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            visit(entry->d_name, closure);
    closedir(directory);
}

/** Reads an object. One that cannot be read has no content. */
static struct object read_object(const char *name, size_t limit)
{
    struct object object = {0};
    struct stat status;
    snprintf(object.name, sizeof object.name, "%s", name);
    if (fstatat(shm, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return object;
    object.mode = status.st_mode;
    object.size = (size_t)status.st_size;
    const int fd =
        S_ISREG(status.st_mode) ? openat(shm, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    if (fd < 0)
        return object;
    const size_t most = object.size < limit ? object.size : limit;
    object.content = malloc(most + 1);
    const ssize_t got = object.content ? read(fd, object.content, most) : -1;
    object.length = got < 0 ? 0 : (size_t)got;
    close(fd);
    return object;
}

static void prepare(const char *name, void *closure)
{
    (void)closure;
    if (prepared_count < MAX_OBJECTS)
        prepared[prepared_count++] = read_object(name, OBJECT_LIMIT);
}

static void remove_object(const char *name, void *closure)
{
    (void)closure;
    if (unlinkat(shm, name, 0) < 0 && errno == EISDIR)
        unlinkat(shm, name, AT_REMOVEDIR);
}

/** Makes /dev/shm what it was at the start. */
static void restore_objects(void)
{
    for_each_object(remove_object, NULL);
    for (int i = 0; i < prepared_count; i++) {
        const struct object *object = &prepared[i];
        const int fd = openat(shm, object->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        struct stat status;
        if (fd < 0 || ftruncate(fd, (off_t)object->size) < 0 ||
            pwrite(fd, object->content, object->length, 0) != (ssize_t)object->length ||
            fchmod(fd, object->mode & 07777) < 0 || fstat(fd, &status) < 0)
            die(object->name);
        close(fd);
        struct file *file = &control->file[control->files++];
        file->device = status.st_dev;
        file->inode = status.st_ino;
        file->name[0] = '/';
        snprintf(file->name + 1, sizeof file->name - 1, "%.60s", object->name);
        file->id = mix(9, (uint64_t)i);
    }
}

/* ---- and the segments ---------------------------------------------------------------------------------- */

struct segment {
    int id;
    key_t key;
    mode_t mode;
    size_t size, length; /**< length: of the content that is kept */
    char *content;
};

enum { MAX_SEGMENTS = 16 };

static struct segment prepared_segment[MAX_SEGMENTS], found_segment[MAX_SEGMENTS];
static int prepared_segments, found_segments;

/** Calls a function for each segment. */
static void for_each_segment(void (*visit)(int id, const struct shmid_ds *status))
{
    struct shmid_ds status;
    struct shm_info info;
    const int highest = shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);
    for (int i = 0; i <= highest && info.used_ids > 0; i++) {
        const int id = shmctl(i, SHM_STAT, &status);
        if (id >= 0)
            visit(id, &status);
    }
}

static struct segment read_segment(int id, const struct shmid_ds *status, size_t limit)
{
    struct segment segment = {id, status->shm_perm.__key, status->shm_perm.mode, status->shm_segsz, 0, NULL};
    const char *memory = shmat(id, NULL, SHM_RDONLY);
    if (memory == (const char *)-1) /* one that is about to go, or may not be read */
        return segment;
    segment.length = segment.size < limit ? segment.size : limit;
    segment.content = malloc(segment.length + 1);
    if (!segment.content)
        die("malloc");
    memcpy(segment.content, memory, segment.length);
    shmdt(memory);
    return segment;
}

static void prepare_segment(int id, const struct shmid_ds *status)
{
    if (prepared_segments < MAX_SEGMENTS)
        prepared_segment[prepared_segments++] = read_segment(id, status, 1 << 20);
}

static void remove_segment(int id, const struct shmid_ds *status)
{
    (void)status;
    for (int i = 0; i < prepared_segments; i++)
        if (prepared_segment[i].id == id)
            return;
    shmctl(id, IPC_RMID, NULL);
}

/** Makes the segments what they were at the start. One that a schedule has removed gets another id. */
static void restore_segments(void)
{
    for_each_segment(remove_segment);
    for (int i = 0; i < prepared_segments; i++) {
        struct segment *segment = &prepared_segment[i];
        struct shmid_ds status;
        if (shmctl(segment->id, IPC_STAT, &status) < 0 && errno != EACCES)
            segment->id =
                shmget(segment->key, segment->size, IPC_CREAT | IPC_EXCL | (int)(segment->mode & 0777));
        char *memory = segment->content ? shmat(segment->id, NULL, 0) : (char *)-1;
        if (memory == (char *)-1)
            continue;
        memcpy(memory, segment->content, segment->length);
        shmdt(memory);
    }
}

/* ---- running one schedule ------------------------------------------------------------------------------ */

/** With which the box lets this program, and no other, execute one; see box/seccomp.c. */
static uint64_t start_secret;

/** Takes it out of the environment, which the programs get. */
static void take_start_secret(void)
{
    char *text = getenv("SHMLAB_START");
    if (!text)
        return;
    start_secret = strtoull(text, NULL, 16);
    memset(text, 0, strlen(text));
    unsetenv("SHMLAB_START");
}

static void start_template(int index)
{
    for (int i = 0; i < 2; i++)
        if ((output[index][i] = memfd_create("output", MFD_CLOEXEC)) < 0)
            die("memfd_create");
    char file[32];
    snprintf(file, sizeof file, ".input-%d", index);
    input[index] = open(file, O_RDONLY | O_CLOEXEC);
    if (input[index] < 0 && (input[index] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        die("/dev/null");
    const pid_t pid = fork();
    if (pid < 0)
        die("fork");
    template[index] = pid;
    if (pid > 0)
        return;
    char place[32];
    snprintf(place, sizeof place, "%d", index);
    setenv("SHMLAB_EXPLORE", place, 1);
    if (dup2(input[index], 0) < 0 || dup2(output[index][0], 1) < 0 || dup2(output[index][1], 2) < 0)
        _exit(126);
    personality(ADDR_NO_RANDOMIZE);
    fcntl(CONTROL_FD, F_SETFD, 0);
    char path[300];
    snprintf(path, sizeof path, "./.explored-%s",
             command[index][0]); /* beside the plain program of that name */
    syscall(SYS_execve, path, command[index], environ, 0L, 0L, start_secret);
    _exit(127);
}

static void wait_done(int milliseconds)
{
    const struct timespec limit = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    syscall(SYS_futex, &control->done, FUTEX_WAIT, 0, &limit, NULL, 0);
}

/** Kills what still runs, and waits until the templates have told the end of each. */
static void end_all(void)
{
    const double limit = now() + 10;
    for (uint32_t i = 0; i < control->processes && i < MAX_PROCESSES; i++) {
        struct process *process = &control->process[i];
        for (bool killed = false;;) {
            const uint32_t state = __atomic_load_n(&process->state, __ATOMIC_SEQ_CST);
            if (state == ENDED)
                break;
            if (now() > limit) {
                errno = ETIMEDOUT;
                die("a process cannot be killed");
            }
            const int32_t pid = __atomic_load_n(&process->pid, __ATOMIC_SEQ_CST);
            const struct timespec tick = {0, 50000000};
            if (pid <= 1) {
                syscall(SYS_futex, &process->pid, FUTEX_WAIT, pid, &tick, NULL, 0);
                continue;
            }
            if (!killed)
                kill(pid, SIGKILL);
            killed = true;
            syscall(SYS_futex, &process->state, FUTEX_WAIT, state, &tick, NULL, 0);
        }
    }
}

static void run_once(const struct choice *choices, uint32_t count)
{
    restore_segments();
    control->epoch++;
    control->done = control->verdict = control->steps = control->decisions = control->logged =
        control->changes = 0;
    control->rounds = control->files = control->barriers = control->overslept = control->followed =
        control->grown = 0;
    control->processes = commands;
    control->turn = MAX_PROCESSES;
    control->clock_ns = 0;
    control->deaths = (uint32_t)wanted.deaths;
    control->choices = count;
    memcpy(control->choice, choices, count * sizeof *choices);
    restore_objects();
    for (uint32_t i = 0; i < MAX_PROCESSES; i++)
        memset(&control->process[i], 0, offsetof(struct process, touched));
    for (uint32_t i = 0; i < commands; i++) {
        struct process *process = &control->process[i];
        for (int k = 0; k < 2; k++)
            if (ftruncate(output[i][k], 0) < 0 || lseek(output[i][k], 0, SEEK_SET) < 0)
                die("output");
        lseek(input[i], 0, SEEK_SET);
        process->state = READY;
        process->next.call = STEP_start;
        process->next.file = -1;
        process->hash = mix(i, 1);
    }
    for (uint32_t i = 0; i < commands; i++) {
        __atomic_store_n(&control->process[i].fork, 1, __ATOMIC_SEQ_CST);
        futex_wake(&control->process[i].fork);
    }
    decide(-1, AT_END);
    uint32_t steps = UINT32_MAX, looks = 0;
    double used = 0;
    for (;;) {
        wait_done(LOOK_MS);
        if (__atomic_load_n(&control->done,
                            __ATOMIC_SEQ_CST)) /* most schedules: nothing has to be looked at */
            break;
        if (wanted.debug >= 0) /* whoever looks at it takes their time */
            continue;
        const pid_t pid = control->turn < MAX_PROCESSES ? control->process[control->turn].pid : 0;
        const struct status status = status_of(pid);
        looks = control->steps == steps ? looks + 1 : 0;
        if (looks == 0)
            used = status.seconds;
        steps = control->steps;
        const bool hangs = looks >= LOST_MS / LOOK_MS || status.seconds - used >= HANG_MS / 1000.0 ||
                           (looks >= 3 && status.state == 'S'); /* it sleeps, in a call that is not a step */
        if (hangs)
            finish(HUNG);
    }
    end_all();
}

static void run_schedule(const struct choice *choices, uint32_t count)
{
    do
        run_once(choices, count);
    while (control->verdict == AGAIN);
}

/* ---- telling an end ------------------------------------------------------------------------------------ */

static struct object found[MAX_OBJECTS];
static int found_count;
static char *text[MAX_PROCESSES][2];
static size_t text_length[MAX_PROCESSES][2];

static void find_object(const char *name, void *closure)
{
    (void)closure;
    if (found_count < MAX_OBJECTS)
        found[found_count++] = read_object(name, OBJECT_LIMIT);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct object *)a)->name, ((const struct object *)b)->name);
}

static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    return mix(hash, length);
}

/** The same for a content. The owner of a mutex is a pid, and that is another one in each schedule. */
static uint64_t hash_content(uint64_t hash, const char *bytes, size_t length)
{
    bool owned = control->verdict != ALL_ENDED;
    for (uint32_t k = 0; k < control->processes; k++)
        owned |= control->process[k].killed != 0;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t word = 0;
        memcpy(&word, bytes + i, length - i < 4 ? length - i : 4);
        for (uint32_t k = 0; k < control->processes && word && owned; k++)
            if (word == (uint32_t)control->process[k].pid)
                word = 0x70696430 + k;
        hash = mix(hash, word);
    }
    return hash;
}

static void find_segment(int id, const struct shmid_ds *status)
{
    if (found_segments < MAX_SEGMENTS)
        found_segment[found_segments++] = read_segment(id, status, OBJECT_LIMIT);
}

static int by_key(const void *a, const void *b)
{
    const struct segment *one = a, *other = b;
    return one->key != other->key ? (one->key < other->key ? -1 : 1) : one->id - other->id;
}

/** Reads what there is at the end. Returns a number that is the same for equal ends. */
static uint64_t look_at_end(void)
{
    for (int i = 0; i < found_count; i++)
        free(found[i].content);
    found_count = 0;
    for_each_object(find_object, NULL);
    qsort(found, (size_t)found_count, sizeof *found, by_name);
    for (int i = 0; i < found_segments; i++)
        free(found_segment[i].content);
    found_segments = 0;
    for_each_segment(find_segment);
    qsort(found_segment, (size_t)found_segments, sizeof *found_segment, by_key);
    uint64_t hash = mix(control->verdict, control->overslept);
    for (uint32_t i = 0; i < control->processes; i++) {
        const struct process *process = &control->process[i];
        hash = mix(hash, (uint64_t)process->status << 1 | (process->killed != 0));
        for (int k = 0; k < 2 && i < commands; k++) { /* what it forks writes there, too */
            if (!text[i][k] && !(text[i][k] = malloc(OUTPUT_LIMIT)))
                die("malloc");
            const ssize_t got = pread(output[i][k], text[i][k], OUTPUT_LIMIT, 0);
            text_length[i][k] = got < 0 ? 0 : (size_t)got;
            hash = hash_bytes(hash, text[i][k], text_length[i][k]);
        }
    }
    for (int i = 0; i < found_count; i++) {
        hash = hash_bytes(mix(hash, found[i].mode), found[i].name, strlen(found[i].name));
        hash =
            hash_content(mix(hash, found[i].size), found[i].content ? found[i].content : "", found[i].length);
    }
    for (int i = 0; i < found_segments; i++) {
        const struct segment *segment = &found_segment[i];
        hash = mix(mix(mix(hash, segment->mode), (uint32_t)segment->key), segment->size);
        hash = hash_content(hash, segment->content ? segment->content : "", segment->length);
    }
    return hash;
}

static void put(const void *bytes, size_t length)
{
    if (fwrite(bytes, 1, length, stdout) != length)
        die("stdout");
}

static void put_number(uint64_t number)
{
    put(&number, sizeof number);
}

static void put_block(const char *bytes, size_t length)
{
    put_number(length);
    put(bytes, length);
}

/** Writes down an end, and how it came to it. */
static void tell_end(const struct choice *choices, uint32_t count, int cost, uint64_t schedule)
{
    const uint32_t steps = control->steps < MAX_STEPS ? control->steps : MAX_STEPS;
    const uint32_t files = control->files < MAX_FILES ? control->files : MAX_FILES;
    put_block("end", 3);
    put_number(control->verdict);
    put_number(schedule);
    put_number((uint64_t)cost);
    put_number(control->overslept);
    control->trouble[TEXT - 1] = '\0';
    put_block(control->trouble, strlen(control->trouble));
    put_block((const char *)choices, count * sizeof *choices);
    put_block((const char *)control->step, steps * sizeof *control->step);
    put_block((const char *)control->file, files * sizeof *control->file);
    put_number(control->processes);
    for (uint32_t i = 0; i < control->processes; i++) {
        const struct process *process = &control->process[i];
        put_number((uint64_t)(int64_t)process->pid);
        put_number((uint64_t)(int64_t)process->status);
        put_number(process->killed);
        put_number(process->private_wait);
        put_number(process->parent);
        put_block((const char *)&process->next, sizeof process->next);
        for (int k = 0; k < 2; k++)
            put_block(text[i][k], text_length[i][k]);
    }
    put_number((uint64_t)found_count);
    for (int i = 0; i < found_count; i++) {
        put_block(found[i].name, strlen(found[i].name));
        put_number(found[i].mode);
        put_number(found[i].size);
        put_block(found[i].content ? found[i].content : "", found[i].length);
    }
    put_number((uint64_t)found_segments);
    for (int i = 0; i < found_segments; i++) {
        put_number((uint32_t)found_segment[i].key);
        put_number(found_segment[i].mode);
        put_number(found_segment[i].size);
        put_block(found_segment[i].content ? found_segment[i].content : "", found_segment[i].length);
    }
    fflush(stdout);
}

/* ---- the search ---------------------------------------------------------------------------------------- */

/** A schedule that is still to be run. */
struct plan {
    uint32_t count;
    struct choice choice[];
};

static struct {
    struct plan **plan;
    size_t count, room;
} planned[MAX_BOUND + 1]; /**< by preemptions */

static uint64_t told[MAX_ENDS];
static int told_count;
static uint64_t run, cut, restarts, by_cost[MAX_BOUND + 1];

static void plan(const struct choice *choices, uint32_t count, struct choice last, int cost)
{
    if (cost > wanted.preemptions || count >= MAX_CHOICES)
        return;
    struct plan *plan = malloc(sizeof *plan + (count + 1) * sizeof *choices);
    if (!plan)
        die("malloc");
    plan->count = count + 1;
    memcpy(plan->choice, choices, count * sizeof *choices);
    plan->choice[count] = last;
    if (planned[cost].count == planned[cost].room) {
        planned[cost].room = planned[cost].room ? 2 * planned[cost].room : 256;
        planned[cost].plan = realloc(
            planned[cost].plan, planned[cost].room * sizeof(plan)); /* NOLINT(bugprone-sizeof-expression) */
        if (!planned[cost].plan)
            die("malloc");
    }
    planned[cost].plan[planned[cost].count++] = plan;
}

/** Plans what could have happened otherwise in the schedule that has just been run. */
static void plan_others(const struct choice *choices, uint32_t count, int cost)
{
    const uint32_t first = count ? choices[count - 1].decision + 1 : 0;
    const uint32_t logged = control->logged < MAX_DECISIONS ? control->logged : MAX_DECISIONS;
    for (uint32_t i = logged; i-- > 0;) {
        const struct decision *d = &control->decision[i];
        if (d->number < first)
            continue;
        const bool preempts = d->cause == AT_POINT || d->cause == AT_LATER_PAUSE;
        for (uint32_t q = 0; q < MAX_PROCESSES; q++) {
            const uint32_t bit = 1u << q;
            if (d->ready & bit && d->chosen != q)
                plan(choices, count, (struct choice){d->number, q}, cost + preempts);
            /* A time that is over although somebody could go on, or although another's is over before it. */
            if (d->timeouts & bit && d->chosen != (q | CHOICE_TIMEOUT))
                plan(choices, count, (struct choice){d->number, q | CHOICE_TIMEOUT}, cost + 1);
            if (d->killable & bit)
                plan(choices, count, (struct choice){d->number, q | CHOICE_KILL}, cost);
        }
    }
}

static void forget_plans(void)
{
    for (int cost = 0; cost <= MAX_BOUND; cost++)
        while (planned[cost].count)
            free(planned[cost].plan[--planned[cost].count]);
    memset(control->seen, 0, sizeof control->seen);
}

static bool is_new(uint64_t end)
{
    for (int i = 0; i < told_count; i++)
        if (told[i] == end)
            return false;
    if (told_count < MAX_ENDS)
        told[told_count++] = end;
    return true;
}

/** Runs a schedule and tells its end if it is a new one. Returns false if nothing more can be learned. */
static bool try_schedule(const struct choice *choices, uint32_t count, int cost)
{
    run_schedule(choices, count);
    run++;
    by_cost[cost]++;
    if (control->verdict == CUT) {
        cut++;
        return true;
    }
    const bool hopeless =
        control->verdict == DIVERGED || control->verdict == HUNG || control->verdict == UNSUPPORTED;
    if (is_new(look_at_end()) || hopeless)
        tell_end(choices, count, cost, run);
    return !hopeless;
}

/** Tells how far the search has come, twice a second. */
static void tell_progress(int cost)
{
    static double last;
    if (now() < last + 0.5)
        return;
    last = now();
    put_block("now", 3);
    put_number(run);
    put_number((uint64_t)cost);
    size_t left = 0;
    for (int i = 0; i <= wanted.preemptions; i++)
        left += planned[i].count;
    put_number(left);
    fflush(stdout);
}

/** Why the search has come to its end. */
enum outcome { COMPLETE, OUT_OF_TIME, TOO_MANY_SCHEDULES, TOO_MANY_ENDS, GAVE_UP };

static enum outcome search(void)
{
    const double limit = processor_seconds() + wanted.seconds;
    double looked = now();
    static const struct choice none[1];
    control->explore = !wanted.plain;
again:
    forget_plans();
    memset(by_cost, 0, sizeof by_cost);
    if (!try_schedule(none, 0, 0))
        return GAVE_UP;
    if (control->grown && wanted.preemptions > 0) {
        restarts++;
        goto again;
    }
    plan_others(none, 0, 0);
    for (int cost = 0; cost <= wanted.preemptions; cost++)
        while (planned[cost].count) {
            if (now() > looked + 0.1) {
                looked = now();
                if (processor_seconds() > limit)
                    return OUT_OF_TIME;
            }
            if (run >= wanted.schedules)
                return TOO_MANY_SCHEDULES;
            if (told_count >= wanted.ends)
                return TOO_MANY_ENDS;
            tell_progress(cost);
            struct plan *next = planned[cost].plan[--planned[cost].count];
            const bool more = try_schedule(next->choice, next->count, cost);
            if (more && (!control->grown || wanted.preemptions == 0))
                plan_others(next->choice, next->count, cost);
            free(next);
            if (!more)
                return GAVE_UP;
            if (control->grown && wanted.preemptions > 0) {
                restarts++;
                goto again;
            }
        }
    return COMPLETE;
}

/* ---- options ------------------------------------------------------------------------------------------- */

static void parse_schedule(const char *list)
{
    wanted.replay = true;
    while (*list && *list != '-' && wanted.choices < MAX_CHOICES) {
        char *end;
        struct choice *choice = &wanted.choice[wanted.choices++];
        choice->decision = (uint32_t)strtoul(list, &end, 10);
        if (*end != ':')
            break;
        choice->choice = (uint32_t)strtoul(end + 1, &end, 10);
        list = *end == ',' ? end + 1 : end;
    }
}

static int parse_options(char *argv[])
{
    int i = 1;
    for (; argv[i] && strcmp(argv[i], "--") != 0; i += 2) {
        const char *value = argv[i + 1];
        if (!value)
            break;
        if (strcmp(argv[i], "--preemptions") == 0)
            wanted.preemptions = atoi(value);
        else if (strcmp(argv[i], "--deaths") == 0)
            wanted.deaths = atoi(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            wanted.seconds = atof(value);
        else if (strcmp(argv[i], "--schedules") == 0)
            wanted.schedules = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--weak") == 0)
            wanted.weak = atoi(value) != 0;
        else if (strcmp(argv[i], "--reduce") == 0)
            wanted.plain = strcmp(value, "no") == 0;
        else if (strcmp(argv[i], "--debug") == 0)
            wanted.debug = atoi(value);
        else if (strcmp(argv[i], "--ends") == 0)
            wanted.ends = atoi(value);
        else if (strcmp(argv[i], "--schedule") == 0)
            parse_schedule(value);
    }
    if (wanted.preemptions > MAX_BOUND || wanted.ends > MAX_ENDS)
        wanted.preemptions = MAX_BOUND;
    return i;
}

int main(int argc, char *argv[])
{
    (void)argc;
    int processes = 0;
    for (int i = parse_options(argv); argv[i];) {
        argv[i++] = NULL; /* "--" ends the words before */
        if (processes == MAX_PROCESSES || !argv[i])
            break;
        command[processes++] = &argv[i];
        while (argv[i] && strcmp(argv[i], "--") != 0)
            i++;
    }
    if (processes == 0) {
        fputs("usage: explore [OPTION VALUE]... -- PROGRAM ARGUMENT... [-- PROGRAM ARGUMENT...]\n", stderr);
        return 2;
    }
    if (access("/run/shmlab", F_OK) < 0) {
        fputs("explore: this is not a box: every object in /dev/shm would be removed\n", stderr);
        return 2;
    }
    prctl(PR_SET_DUMPABLE, 0);
    take_start_secret();
    const int fd = memfd_create("control", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof *control) < 0 || dup3(fd, CONTROL_FD, O_CLOEXEC) < 0)
        die("control page");
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED || (shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        die("control page");
    for_each_object(prepare, NULL);
    for_each_segment(prepare_segment);
    control->processes = commands = (uint32_t)processes;
    control->weak = wanted.weak;
    control->shares_memory = wanted.debug < 0; /* a debugger writes its breakpoints into the memory */
    control->debugged = (uint32_t)(wanted.debug + 1);
    /* One process runs at a time, and to hand over the turn on one processor is faster. */
    cpu_set_t one;
    const int processor = sched_getcpu();
    CPU_ZERO(&one);
    if (processor >= 0 && !getenv("EXPLORE_NOPIN")) {
        CPU_SET((size_t)processor, &one);
        sched_setaffinity(0, sizeof one, &one);
    }
    for (int i = 0; i < processes; i++)
        start_template(i);
    const double began = now();
    enum outcome outcome = COMPLETE;
    if (wanted.replay) {
        try_schedule(wanted.choice, wanted.choices, 0);
    } else {
        outcome = search();
    }
    const double seconds = now() - began;
    restore_objects();
    restore_segments();
    for (int i = 0; i < processes; i++)
        kill(template[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    put_block("sum", 3);
    put_number(outcome);
    put_number(run);
    put_number(cut);
    put_number(restarts);
    put_number((uint64_t)(seconds * 1e6));
    put_number((uint64_t)(processor_seconds() * 1e6));
    put_number((uint64_t)wanted.preemptions);
    for (int cost = 0; cost <= wanted.preemptions; cost++)
        put_number(by_cost[cost]);
    fflush(stdout);
    return 0;
}
