/**
 * @file
 * @brief Measures the ring of lab 18 against a pipe, sockets and a System V queue.
 *
 * Usage: `ring_bench [-r ROUNDS] [-m MESSAGES] [-s SIZE]`
 *
 * Two processes, pinned to two processors: one sends, one receives. (The pipe is also measured with both on
 * one processor, where no byte has to move between caches.) Each round measures every mechanism at every
 * size, starting with a different one each time. It also measures the lower bounds: the round trip of one
 * cache line, and one memcpy() of the message. Figures are compared only within a round, as ratios; the
 * output has their median, minimum and maximum.
 *
 * A message has SIZE bytes. The sender fills it with new words and sums them, and the receiver sums them
 * again. If the sums differ, the run is void. One message is one write and one read, or one publication in
 * the ring; messages are never sent in batches. The clock runs from filling the first message to summing the
 * last. Each mechanism can buffer about 1 MiB, if its limits allow that.
 *
 * Output: a JSON object on each line, whose "kind" is machine, turn, floor or ratio. Exit status 0; 1 if the
 * run is void; 2 for wrong arguments; 3 if there are not two processors.
 */
#define _GNU_SOURCE

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE = 64,
    RING_BYTES = 1 << 20, /**< the ring's capacity; the pipe and the sockets get the same */
    LARGEST = 1 << 16,    /**< bytes in the largest message */
    LEAST_ROUNDS = 11,
    MOST_ROUNDS = 199,
    TRIPS = 100000,   /**< round trips of a cache line in one turn */
    PATIENCE_S = 120, /**< seconds after which a turn counts as stuck */
    FUTEX_WAIT_ = 0,
    FUTEX_WAKE_ = 1,
};

static const size_t sizes[] = {8, 64, 1024, 8192, LARGEST};
enum { SIZES = sizeof sizes / sizeof *sizes };

/** The mechanisms that pass messages. */
enum way {
    RING_SPIN,
    RING_BLOCK,
    PIPE,
    PIPE_SAME_CPU,
    STREAM,
    SEQPACKET,
    QUEUE,
    RING_NO_CACHE,
    RING_ONE_LINE,
    WAYS
};

static const char *const names[WAYS] = {
    "ring_spin",     "ring_block",         "pipe",
    "pipe_same_cpu", "socket_stream",      "socket_seqpacket",
    "sysv_queue",    "ring_spin_uncached", "ring_spin_one_line",
};

/** The memory that both processes share. */
struct shared {
    _Alignas(LINE) _Atomic uint32_t ready; /**< the sender has started */
    _Alignas(LINE) _Atomic uint32_t go;    /**< set by the receiver when the clock starts */
    _Alignas(LINE) uint64_t begin_ns,
        sender_cpu_ns, sum;               /**< written by the sender, read after it has ended */
    _Alignas(LINE) _Atomic uint32_t ball; /**< passed back and forth for the round trip */

    _Alignas(LINE) _Atomic uint32_t sent, empty_at,
        taken_beside; /**< taken_beside: `taken` on the same line */
    _Alignas(LINE) _Atomic uint32_t taken, full_at;
    _Alignas(LINE) unsigned char bytes[RING_BYTES];
};

/** One side's view of the mechanism that is being measured. */
struct side {
    enum way way;
    int descriptor, queue;
    struct shared *shared;
    _Atomic uint32_t *taken; /**< the one that is in use */
    uint32_t mine, theirs;   /**< own count; the other side's count when last read */
    unsigned char *message;  /**< LARGEST bytes, and room for a queue's type before them */
};

/** The result of a turn. */
struct turn {
    double wall_ns, cpu_ns; /**< per message; processor time is the sum of both sides */
};

static int cpus[2];
static volatile sig_atomic_t queue_in_use = -1; /**< the queue to remove if this process is interrupted */

/** Ends a run that is stuck or interrupted, and removes the queue. */
static void on_signal(int number)
{
    static const char reason[] = "{\"kind\":\"void\",\"reason\":\"ended by a signal\"}\n";
    if (queue_in_use != -1)
        msgctl(queue_in_use, IPC_RMID, NULL);
    if (write(STDOUT_FILENO, reason, sizeof reason - 1) == -1)
        _exit(128 + number);
    _exit(EXIT_FAILURE);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) == -1)
        err(EXIT_FAILURE, "clock_gettime");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void void_run(const char *reason)
{
    printf("{\"kind\":\"void\",\"reason\":\"%s\"}\n", reason);
    exit(EXIT_FAILURE);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) == -1)
        err(EXIT_FAILURE, "sched_setaffinity");
}

/** Starts the other process, on its own processor or on this one. Returns 0 there and its pid here. */
static pid_t start_child(int cpu)
{
    fflush(stdout);
    alarm(PATIENCE_S);
    const pid_t parent = getpid(), child = fork();
    if (child == -1)
        err(EXIT_FAILURE, "fork");
    if (child == 0) {
        queue_in_use = -1; /* The parent removes it. */
        alarm(PATIENCE_S);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
            err(EXIT_FAILURE, "prctl");
        if (getppid() != parent) /* The parent ended before prctl(). */
            _exit(EXIT_FAILURE);
        pin(cpu);
    }
    return child;
}

/** Waits for the end of the other process. Returns its wait status. */
static int end_child(pid_t child)
{
    int status = 0;
    if (waitpid(child, &status, 0) == -1)
        err(EXIT_FAILURE, "waitpid");
    alarm(0);
    return status;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- the payload ----------------------------------------------------------------------------------------- */

/** Fills a message with words that no other message has. Returns their sum. */
static uint64_t fill(unsigned char *message, size_t size, uint64_t number)
{
    uint64_t sum = 0, word = number * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < size; i += sizeof word, word += 0x100000001b3u) {
        memcpy(message + i, &word, sizeof word);
        sum += word;
    }
    return sum;
}

static uint64_t sum_of(const unsigned char *message, size_t size)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i < size; i += sizeof word) {
        memcpy(&word, message + i, sizeof word);
        sum += word;
    }
    return sum;
}

/* ---- the ring, as in lab 18 -------------------------------------------------------------------------------- */

/** Waits until the other side's count differs from the last known value. */
static void wait_for(struct side *self, _Atomic uint32_t *count, _Atomic uint32_t *note)
{
    if (self->way != RING_BLOCK) {
        relax();
        return;
    }
    const struct timespec slice = {.tv_nsec = 100000000};
    atomic_store_explicit(note, self->theirs, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (syscall(SYS_futex, count, FUTEX_WAIT_, self->theirs, &slice, NULL, 0) == -1 && errno != EAGAIN &&
        errno != ETIMEDOUT && errno != EINTR)
        err(EXIT_FAILURE, "futex");
}

/** Publishes this side's count, and wakes the other side if it may be waiting. */
static void publish(struct side *self, _Atomic uint32_t *count, _Atomic uint32_t *note)
{
    const uint32_t before = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, self->mine, memory_order_release);
    if (self->way != RING_BLOCK)
        return;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(note, memory_order_relaxed) == before &&
        syscall(SYS_futex, count, FUTEX_WAKE_, 1, NULL, NULL, 0) == -1)
        err(EXIT_FAILURE, "futex");
}

static void put(struct side *self, const void *from, uint32_t length)
{
    struct shared *ring = self->shared;
    if (self->way == RING_NO_CACHE)
        self->theirs = atomic_load_explicit(self->taken, memory_order_acquire);
    while (RING_BYTES - (self->mine - self->theirs) < length) {
        const uint32_t known = self->theirs;
        self->theirs = atomic_load_explicit(self->taken, memory_order_acquire);
        if (self->theirs == known)
            wait_for(self, self->taken, &ring->full_at);
    }
    const uint32_t at = self->mine % RING_BYTES;
    const uint32_t first = length < RING_BYTES - at ? length : RING_BYTES - at;
    memcpy(ring->bytes + at, from, first);
    memcpy(ring->bytes, (const unsigned char *)from + first, length - first);
    self->mine += length;
}

static void get(struct side *self, void *to, uint32_t length)
{
    struct shared *ring = self->shared;
    if (self->way == RING_NO_CACHE)
        self->theirs = atomic_load_explicit(&ring->sent, memory_order_acquire);
    while (self->theirs - self->mine < length) {
        const uint32_t known = self->theirs;
        self->theirs = atomic_load_explicit(&ring->sent, memory_order_acquire);
        if (self->theirs == known)
            wait_for(self, &ring->sent, &ring->empty_at);
    }
    const uint32_t at = self->mine % RING_BYTES;
    const uint32_t first = length < RING_BYTES - at ? length : RING_BYTES - at;
    memcpy(to, ring->bytes + at, first);
    memcpy((unsigned char *)to + first, ring->bytes, length - first);
    self->mine += length;
}

/* ---- one message, by each way ------------------------------------------------------------------------------ */

static bool is_ring(enum way way)
{
    return way == RING_SPIN || way == RING_BLOCK || way == RING_NO_CACHE || way == RING_ONE_LINE;
}

static void send_message(struct side *self, uint32_t size)
{
    if (is_ring(self->way)) {
        put(self, &size, sizeof size);
        put(self, self->message, size);
        publish(self, &self->shared->sent, &self->shared->empty_at);
        return;
    }
    if (self->way == QUEUE) {
        const long type = 1;
        memcpy(self->message - sizeof type, &type, sizeof type);
        if (msgsnd(self->queue, self->message - sizeof type, size, 0) == -1)
            err(EXIT_FAILURE, "msgsnd");
        return;
    }
    for (size_t done = 0; done < size;) {
        const ssize_t count = write(self->descriptor, self->message + done, size - done);
        if (count == -1)
            err(EXIT_FAILURE, "write");
        done += (size_t)count;
    }
}

static void receive_message(struct side *self, uint32_t size)
{
    if (is_ring(self->way)) {
        uint32_t length = 0;
        get(self, &length, sizeof length);
        if (length != size)
            void_run("a length is wrong");
        get(self, self->message, length);
        publish(self, self->taken, &self->shared->full_at);
        return;
    }
    if (self->way == QUEUE) {
        if (msgrcv(self->queue, self->message - sizeof(long), size, 0, 0) != (ssize_t)size)
            void_run("msgrcv gave something else");
        return;
    }
    for (size_t done = 0; done < size;) {
        const ssize_t count = read(self->descriptor, self->message + done, size - done);
        if (count == -1)
            err(EXIT_FAILURE, "read");
        if (count == 0)
            void_run("the sender has gone");
        done += (size_t)count;
    }
}

/* ---- one turn ---------------------------------------------------------------------------------------------- */

/** Opens both ends. Returns false if this machine's limits do not allow messages of that size. */
static bool set_up(enum way way, size_t size, int ends[2], int *queue)
{
    const int room = RING_BYTES;
    ends[0] = ends[1] = *queue = -1;
    if (way == PIPE || way == PIPE_SAME_CPU) {
        if (pipe2(ends, O_CLOEXEC) == -1)
            err(EXIT_FAILURE, "pipe2");
        if (fcntl(ends[1], F_SETPIPE_SZ, room) == -1)
            warn("F_SETPIPE_SZ"); /* The actual size is read below. */
    } else if (way == STREAM || way == SEQPACKET) {
        if (socketpair(AF_UNIX, (way == STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0, ends) == -1)
            err(EXIT_FAILURE, "socketpair");
        if (setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == -1)
            err(EXIT_FAILURE, "SO_SNDBUF");
    } else if (way == QUEUE) {
        *queue = msgget(IPC_PRIVATE, 0600);
        queue_in_use = *queue;
        struct msqid_ds data;
        struct msginfo limits;
        if (*queue == -1 || msgctl(*queue, IPC_INFO, (struct msqid_ds *)(void *)&limits) == -1 ||
            msgctl(*queue, IPC_STAT, &data) == -1)
            err(EXIT_FAILURE, "System V queue");
        data.msg_qbytes = (msglen_t)room;
        if (msgctl(*queue, IPC_SET, &data) == -1 && errno != EPERM) /* Only root may exceed the default. */
            warn("IPC_SET");
        return size <= (size_t)limits.msgmax;
    }
    return true;
}

static void tear_down(const int ends[2], int queue)
{
    for (int i = 0; i < 2; i++)
        if (ends[i] != -1 && close(ends[i]) == -1)
            err(EXIT_FAILURE, "close");
    if (queue != -1 && msgctl(queue, IPC_RMID, NULL) == -1)
        err(EXIT_FAILURE, "IPC_RMID");
    queue_in_use = -1;
}

/** Runs the sender. */
static _Noreturn void be_sender(struct side *self, uint32_t size, uint64_t messages)
{
    struct shared *shared = self->shared;
    memset(self->message, 0, size);
    atomic_store(&shared->ready, 1);
    while (!atomic_load(&shared->go))
        sched_yield(); /* The receiver may be on the same processor. */

    const uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t sum = 0;
    shared->begin_ns = now_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < messages; i++) {
        sum += fill(self->message, size, i);
        send_message(self, size);
    }
    shared->sum = sum;
    shared->sender_cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    _exit(EXIT_SUCCESS);
}

/** Sends and receives a number of messages. Returns false if the mechanism cannot carry them. */
static bool take_turn(struct shared *shared, enum way way, size_t size, uint64_t messages, struct turn *turn)
{
    static _Alignas(LINE) unsigned char space[LINE + LARGEST];
    int ends[2], queue;
    if (!set_up(way, size, ends, &queue)) {
        tear_down(ends, queue);
        return false;
    }
    memset(shared, 0, sizeof *shared); /* So that no page faults happen while the clock runs. */
    struct side self = {.way = way,
                        .descriptor = ends[0],
                        .queue = queue,
                        .shared = shared,
                        .taken = way == RING_ONE_LINE ? &shared->taken_beside : &shared->taken,
                        .message = space + LINE};
    const pid_t child = start_child(cpus[way != PIPE_SAME_CPU]);
    if (child == 0) {
        self.descriptor = ends[1];
        be_sender(&self, (uint32_t)size, messages);
    }
    while (!atomic_load(&shared->ready))
        sched_yield(); /* The new process starts on this processor. */

    const uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t sum = 0;
    atomic_store(&shared->go, 1);
    for (uint64_t i = 0; i < messages; i++) {
        receive_message(&self, (uint32_t)size);
        sum += sum_of(self.message, size);
    }
    const uint64_t end = now_ns(CLOCK_MONOTONIC), used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    const int status = end_child(child);
    tear_down(ends, queue);
    if (status != 0)
        void_run("the sender failed");
    if (sum != shared->sum)
        void_run("the sums differ");
    turn->wall_ns = (double)(end - shared->begin_ns) / (double)messages;
    turn->cpu_ns = (double)(used + shared->sender_cpu_ns) / (double)messages;
    return true;
}

/* ---- the floors -------------------------------------------------------------------------------------------- */

/** Returns the round trip time of a cache line between the processors, in nanoseconds. */
static double round_trip(struct shared *shared)
{
    memset(shared, 0, sizeof *shared);
    const pid_t child = start_child(cpus[1]);
    if (child == 0) {
        atomic_store(&shared->ready, 1);
        for (uint32_t i = 0; i < TRIPS; i++) {
            while (atomic_load_explicit(&shared->ball, memory_order_acquire) != 2 * i + 1)
                ;
            atomic_store_explicit(&shared->ball, 2 * i + 2, memory_order_release);
        }
        _exit(EXIT_SUCCESS);
    }
    while (!atomic_load(&shared->ready))
        sched_yield(); /* The new process starts on this processor. */
    const uint64_t begin = now_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < TRIPS; i++) {
        atomic_store_explicit(&shared->ball, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&shared->ball, memory_order_acquire) != 2 * i + 2)
            ;
    }
    const uint64_t end = now_ns(CLOCK_MONOTONIC);
    if (end_child(child) != 0)
        void_run("the other process of a round trip failed");
    return (double)(end - begin) / TRIPS;
}

/** Sends a message of 8 bytes through one ring and waits for the answer in another; or answers. */
static void play(struct side *out, struct side *in, bool first)
{
    uint64_t word = 0;
    for (uint32_t i = 0; i < TRIPS; i++)
        for (int half = 0; half < 2; half++) {
            if ((half == 0) == first) {
                put(out, &word, sizeof word);
                publish(out, &out->shared->sent, &out->shared->empty_at);
            } else {
                get(in, &word, sizeof word);
                publish(in, in->taken, &in->shared->full_at);
                word++;
            }
        }
    if (word != (first ? 2 * (uint64_t)TRIPS : 2 * (uint64_t)TRIPS - 1))
        void_run("a message of the round trip got lost");
}

/** Returns the round trip time of 8 bytes through one ring and back through another, in nanoseconds. */
static double ring_round_trip(struct shared *shared, struct shared *back)
{
    memset(shared, 0, sizeof *shared);
    memset(back, 0, sizeof *back);
    struct side there = {.way = RING_SPIN, .shared = shared, .taken = &shared->taken};
    struct side here = {.way = RING_SPIN, .shared = back, .taken = &back->taken};
    const pid_t child = start_child(cpus[1]);
    if (child == 0) {
        atomic_store(&shared->ready, 1);
        play(&here, &there, false);
        _exit(EXIT_SUCCESS);
    }
    while (!atomic_load(&shared->ready))
        sched_yield(); /* The new process starts on this processor. */
    const uint64_t begin = now_ns(CLOCK_MONOTONIC);
    play(&there, &here, true);
    const uint64_t end = now_ns(CLOCK_MONOTONIC);
    if (end_child(child) != 0)
        void_run("the other process of a round trip failed");
    return (double)(end - begin) / TRIPS;
}

/** Returns the time of one memcpy() of a message into memory as large as the ring, in nanoseconds. */
static double copy_once(struct shared *shared, size_t size, uint64_t messages)
{
    static unsigned char message[LARGEST];
    size_t at = 0;
    const uint64_t begin = now_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < messages; i++, at = at + 2 * size <= RING_BYTES ? at + size : 0) {
        memcpy(shared->bytes + at, message, size);
        __asm__ volatile("" : : "r"(shared->bytes) : "memory"); /* So that the compiler keeps the copy. */
    }
    return (double)(now_ns(CLOCK_MONOTONIC) - begin) / (double)messages;
}

/* ---- the rounds -------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/** Sorts values and prints their median and range as members of a JSON object. */
static void print_spread(double *values, int count, const char *unit)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    const double median = (values[(count - 1) / 2] + values[count / 2]) / 2;
    printf("\"%smedian\":%.4g,\"%sleast\":%.4g,\"%sgreatest\":%.4g", unit, median, unit, values[0], unit,
           values[count - 1]);
}

static struct turn turns[SIZES][WAYS][MOST_ROUNDS];
static double copies[SIZES][MOST_ROUNDS], trips[MOST_ROUNDS], ring_trips[MOST_ROUNDS];
static bool possible[SIZES][WAYS];

static void print_ratios(size_t s, enum way to, int rounds)
{
    double values[MOST_ROUNDS];
    for (int way = 0; way < WAYS; way++) {
        if (way == (int)to || !possible[s][way])
            continue;
        printf("{\"kind\":\"ratio\",\"size\":%zu,\"of\":\"%s\",\"to\":\"%s\",\"rounds\":%d,", sizes[s],
               names[way], names[to], rounds);
        for (int r = 0; r < rounds; r++)
            values[r] = turns[s][way][r].wall_ns / turns[s][to][r].wall_ns;
        print_spread(values, rounds, "");
        for (int r = 0; r < rounds; r++)
            values[r] = turns[s][way][r].cpu_ns / turns[s][to][r].cpu_ns;
        printf(",");
        print_spread(values, rounds, "cpu_");
        printf("}\n");
    }
}

static void print_summary(int rounds)
{
    double headline[MOST_ROUNDS];
    for (int r = 0; r < rounds; r++)
        headline[r] = ring_trips[r] / trips[r];
    printf(
        "{\"kind\":\"ratio\",\"size\":8,\"of\":\"ring_round_trip\",\"to\":\"line_round_trip\",\"rounds\":%d,",
        rounds);
    print_spread(headline, rounds, "");
    printf("}\n");
    double values[MOST_ROUNDS];
    for (size_t s = 0; s < SIZES; s++) {
        if (!possible[s][RING_SPIN])
            continue;
        for (int way = 0; way < WAYS; way++) {
            if (!possible[s][way])
                continue;
            printf("{\"kind\":\"way\",\"size\":%zu,\"way\":\"%s\",\"rounds\":%d,", sizes[s], names[way],
                   rounds);
            for (int r = 0; r < rounds; r++)
                values[r] = turns[s][way][r].wall_ns;
            print_spread(values, rounds, "ns_");
            for (int r = 0; r < rounds; r++)
                values[r] = turns[s][way][r].cpu_ns;
            printf(",");
            print_spread(values, rounds, "cpu_ns_");
            printf("}\n");
        }
        print_ratios(s, RING_SPIN, rounds);
        print_ratios(s, RING_BLOCK, rounds);
        const enum way rings[] = {RING_SPIN, RING_BLOCK};
        for (int i = 0; i < 2; i++) {
            printf("{\"kind\":\"ratio\",\"size\":%zu,\"of\":\"%s\",\"to\":\"memcpy\",\"rounds\":%d,",
                   sizes[s], names[rings[i]], rounds);
            for (int r = 0; r < rounds; r++)
                values[r] = turns[s][rings[i]][r].wall_ns / copies[s][r];
            print_spread(values, rounds, "");
            printf(
                "}\n{\"kind\":\"ratio\",\"size\":%zu,\"of\":\"%s\",\"to\":\"line_round_trip\",\"rounds\":%d,",
                sizes[s], names[rings[i]], rounds);
            for (int r = 0; r < rounds; r++)
                values[r] = turns[s][rings[i]][r].wall_ns / trips[r];
            print_spread(values, rounds, "");
            printf("}\n");
        }
    }
}

/** Finds two processors that this process may use. */
static void choose_cpus(void)
{
    cpu_set_t set;
    int found = 0;
    if (sched_getaffinity(0, sizeof set, &set) == -1)
        err(EXIT_FAILURE, "sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
        if (CPU_ISSET((size_t)cpu, &set))
            cpus[found++] = cpu;
    if (found < 2) {
        warnx("there is one processor: two processes in turns on one are no measure of a ring");
        exit(3);
    }
}

static void print_machine(int rounds, uint64_t most)
{
    struct utsname system;
    if (uname(&system) == -1)
        err(EXIT_FAILURE, "uname");
    char model[128] = "unknown", line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "model name : %127[^\n\"\\]", model) == 1)
            break;
    if (file && fclose(file) == EOF)
        warn("fclose");
    int ends[2], queue;
    set_up(PIPE, 1, ends, &queue);
    printf("{\"kind\":\"machine\",\"processor\":\"%s\",\"kernel\":\"%s %s\",\"cpus\":[%d,%d],\"rounds\":%d,"
           "\"messages\":%" PRIu64 ",\"ring_bytes\":%d,\"pipe_bytes\":%d}\n",
           model, system.sysname, system.release, cpus[0], cpus[1], rounds, most, RING_BYTES,
           fcntl(ends[1], F_GETPIPE_SZ));
    tear_down(ends, queue);
}

/** Returns the number of messages in a turn; it is the same for all mechanisms. */
static uint64_t messages_of(size_t size, uint64_t most)
{
    const uint64_t count = ((uint64_t)256 << 20) / size;
    return count < most ? count : most;
}

static uintmax_t parse(const char *text, uintmax_t least, uintmax_t greatest)
{
    char *end = NULL;
    errno = 0;
    const uintmax_t value = strtoumax(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least || value > greatest)
        return 0;
    return value;
}

int main(int argc, char *argv[])
{
    uintmax_t rounds = LEAST_ROUNDS, most = 100000, only = 0;
    int option = 0;
    bool right = true;
    while ((option = getopt(argc, argv, "r:m:s:")) != -1) {
        if (option == 'r')
            right = right && (rounds = parse(optarg, LEAST_ROUNDS, MOST_ROUNDS)) != 0;
        else if (option == 'm')
            right = right && (most = parse(optarg, 1, 1000000000)) != 0;
        else if (option == 's')
            right = right && (only = parse(optarg, 8, LARGEST)) != 0;
        else
            right = false;
    }
    if (!right || optind != argc) {
        fprintf(stderr, "usage: %s [-r ROUNDS, from %d to %d] [-m MESSAGES in a turn] [-s SIZE]\n", argv[0],
                LEAST_ROUNDS, MOST_ROUNDS);
        return 2;
    }
    choose_cpus();
    pin(cpus[0]);
    const struct sigaction action = {.sa_handler = on_signal};
    const int signals[] = {SIGALRM, SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], &action, NULL) == -1)
            err(EXIT_FAILURE, "sigaction");
    struct shared *back = mmap(NULL, sizeof *back, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (back == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    print_machine((int)rounds, most);

    for (int r = 0; r < (int)rounds; r++) {
        trips[r] = round_trip(shared);
        printf("{\"kind\":\"floor\",\"round\":%d,\"floor\":\"line_round_trip\",\"ns\":%.1f}\n", r, trips[r]);
        ring_trips[r] = ring_round_trip(shared, back);
        printf("{\"kind\":\"floor\",\"round\":%d,\"floor\":\"ring_round_trip\",\"ns\":%.1f}\n", r,
               ring_trips[r]);
        for (size_t s = 0; s < SIZES; s++) {
            if (only != 0 && sizes[s] != only)
                continue;
            const uint64_t messages = messages_of(sizes[s], most);
            copies[s][r] = copy_once(shared, sizes[s], messages);
            printf("{\"kind\":\"floor\",\"round\":%d,\"floor\":\"memcpy\",\"size\":%zu,\"ns\":%.1f}\n", r,
                   sizes[s], copies[s][r]);
            for (int i = 0; i < WAYS; i++) {
                const enum way way = (enum way)((i + r) % WAYS);
                struct turn *turn = &turns[s][way][r];
                possible[s][way] = take_turn(shared, way, sizes[s], messages, turn);
                if (possible[s][way])
                    printf("{\"kind\":\"turn\",\"round\":%d,\"size\":%zu,\"way\":\"%s\",\"messages\":%" PRIu64
                           ",\"ns\":%.1f,\"cpu_ns\":%.1f}\n",
                           r, sizes[s], names[way], messages, turn->wall_ns, turn->cpu_ns);
                else if (r == 0)
                    printf("{\"kind\":\"impossible\",\"size\":%zu,\"way\":\"%s\",\"reason\":\"kernel."
                           "msgmax\"}\n",
                           sizes[s], names[way]);
            }
        }
    }
    print_summary((int)rounds);
    if (munmap(shared, sizeof *shared) == -1)
        err(EXIT_FAILURE, "munmap");
    return EXIT_SUCCESS;
}
