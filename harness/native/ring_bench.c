/**
 * @file
 * @brief Measures the ring of lab 18, trick by trick, against a pipe, sockets and a System V queue.
 *
 * Usage: `ring_bench [-r ROUNDS] [-m MESSAGES] [-s SIZE] [-f]`
 *
 * Two processes, pinned to two processors: one sends, one receives. (The pipe is also measured with both on
 * one processor, where no byte has to move between caches.) Each round measures every mechanism at every
 * size, starting with a different one each time. It also measures the lower bounds: the round trip of one
 * cache line and of a futex, and one memcpy() of the message out of the other processor's cache. Figures are
 * compared only within a round, as ratios; the output has their median, minimum and maximum. With -f only false
 * sharing and pages are measured: two counters at several distances, and one load from each of many pages.
 *
 * A message has SIZE bytes. The sender fills it with new words and sums them, and the receiver sums them
 * again. If the sums differ, the run is void. RINGS says how the rings differ; in those that do not batch, and
 * in the other mechanisms, one message is one publication, or one write and one read. The clock runs from
 * filling the first message to summing the last. Each mechanism can buffer RING_BYTES, if its limits allow it.
 *
 * Output: a JSON object on each line, whose "kind" is machine, turn, floor, way, ratio or counters. Exit status
 * 0; 1 if the run is void; 2 for wrong arguments; 3 if there are not two processors.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "measure.h"

enum {
    RING_BYTES = 1 << 18, /**< the ring's capacity; the pipe and the sockets get the same */
    LARGEST = 1 << 16,    /**< bytes in the largest message */
    BATCH = 1 << 12,      /**< bytes after which a ring that batches publishes */
    SPINS = 200,          /**< looks before a sleep */
    FOR_EVER = -1,        /**< instead of SPINS: it never sleeps */
    LEAST_ROUNDS = 11,
    MOST_ROUNDS = 199,
    FUTEX_WAIT_ = 0,
    FUTEX_WAKE_ = 1,
};

static const size_t sizes[] = {8, 64, 1024, 8192, LARGEST};
enum { SIZES = sizeof sizes / sizeof *sizes };

/**
 * The rings: a name, and which tricks it has. Each of the first six has one trick more than the one before it.
 *
 * mask:      `& (capacity - 1)` in place of `% capacity`
 * one_copy:  a message and its length are one copy; the receiver uses them where they lie if they are in one piece
 * cached:    the other side's count is read only if by its last known value there is nothing to do
 * batched:   the sender publishes after BATCH bytes, the receiver after a quarter of the ring, or before they wait
 * spins:     looks before a sleep
 * one_line:  both counts are on one line
 */
#define RINGS(RING)                                                                                          \
    RING(PLAIN, "ring_plain", .spins = 0)                                                                    \
    RING(MASK, "ring_mask", .mask = true)                                                                    \
    RING(ONE_COPY, "ring_one_copy", .mask = true, .one_copy = true)                                          \
    RING(CACHED, "ring_cached", .mask = true, .one_copy = true, .cached = true)                              \
    RING(BATCHED, "ring_batched", .mask = true, .one_copy = true, .cached = true, .batched = true)           \
    RING(FAST, "ring_fast", .mask = true, .one_copy = true, .cached = true, .batched = true, .spins = SPINS) \
    RING(UNBATCHED, "ring_unbatched", .mask = true, .one_copy = true, .cached = true, .spins = SPINS)        \
    RING(ONE_LINE, "ring_one_line", .mask = true, .one_copy = true, .cached = true, .spins = SPINS,          \
         .one_line = true)

/** The mechanisms that pass messages. */
enum way {
#define RING(way, ...) way,
    RINGS(RING)
#undef RING
        PIPE,
    PIPE_SAME_CPU,
    STREAM,
    SEQPACKET,
    QUEUE,
    WAYS
};

static const char *const names[WAYS] = {
#define RING(way, name, ...) name,
    RINGS(RING)
#undef RING
        "pipe",
    "pipe_same_cpu",
    "socket_stream",
    "socket_seqpacket",
    "sysv_queue",
};

/** Which tricks a ring has, see RINGS. It is a constant wherever it is used, so that what it lacks costs nothing. */
struct tricks {
    bool mask, one_copy, cached, batched, one_line;
    int spins;
};

/** The memory that both processes share; the ring's words are on lines as in lab 18. */
struct shared {
    _Alignas(LINE) _Atomic uint32_t ready; /**< the sender has started */
    _Alignas(LINE) _Atomic uint32_t go;    /**< set by the receiver when the clock starts */
    _Alignas(LINE) uint64_t begin_ns,
        sender_cpu_ns, sum; /**< written by the sender, read after it has ended */

    _Alignas(LINE) uint32_t capacity;
    _Alignas(LINE) _Atomic uint32_t sent, full_at,
        taken_beside; /**< taken_beside: `taken` on the same line */
    _Alignas(LINE) _Atomic uint32_t taken, empty_at;
    _Alignas(LINE) unsigned char bytes[RING_BYTES];
};

/** One side's view of the mechanism that is being measured. */
struct side {
    enum way way;
    int descriptor, queue;
    struct shared *shared;
    uint32_t mine, told;    /**< own count; what of it the other side knows */
    uint32_t theirs;        /**< the other side's count when last read */
    unsigned char *message; /**< LARGEST bytes, and room for a length or a queue's type before them */
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

static _Noreturn void void_run(const char *reason)
{
    printf("{\"kind\":\"void\",\"reason\":\"%s\"}\n", reason);
    exit(EXIT_FAILURE);
}

/* ---- the payload ----------------------------------------------------------------------------------------- */

/** The words of one line: compilers make few instructions of them, so that they cost little beside the copies. */
typedef uint64_t words_of_line __attribute__((vector_size(LINE)));

static uint64_t sum_of_line(const words_of_line *words)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < LINE / sizeof sum; i++)
        sum += (*words)[i];
    return sum;
}

/** Fills a message with words that no other message has. Returns their sum. */
static uint64_t fill(unsigned char *message, size_t size, uint64_t number)
{
    uint64_t word = number * 0x9e3779b97f4a7c15u + 1, sum = 0;
    if (size >= LINE) {
        words_of_line words, sums = {0};
        for (size_t i = 0; i < LINE / sizeof word; i++)
            words[i] = word + i;
        for (size_t i = 0; i < size; i += LINE, words += 0x100000001b3u) {
            memcpy(message + i, &words, LINE);
            sums += words;
        }
        return sum_of_line(&sums);
    }
    for (size_t i = 0; i < size; i += sizeof word, word += 0x100000001b3u) {
        memcpy(message + i, &word, sizeof word);
        sum += word;
    }
    return sum;
}

static uint64_t sum_of(const unsigned char *message, size_t size)
{
    uint64_t sum = 0, word;
    if (size >= LINE) {
        words_of_line words, sums = {0};
        for (size_t i = 0; i < size; i += LINE) {
            memcpy(&words, message + i, LINE);
            sums += words;
        }
        return sum_of_line(&sums);
    }
    for (size_t i = 0; i < size; i += sizeof word) {
        memcpy(&word, message + i, sizeof word);
        sum += word;
    }
    return sum;
}

/* ---- the ring, as in lab 18 -------------------------------------------------------------------------------- */

#define INLINE static inline __attribute__((always_inline))

/** One side's words of a ring: its own count and where the other notes that it sleeps; the other's count; its own note. */
struct words {
    _Atomic uint32_t *mine, *their_note, *theirs, *my_note;
};

INLINE struct words words_of(struct shared *ring, struct tricks has, bool sends)
{
    _Atomic uint32_t *taken = has.one_line ? &ring->taken_beside : &ring->taken;
    return sends ? (struct words){&ring->sent, &ring->empty_at, taken, &ring->full_at}
                 : (struct words){taken, &ring->full_at, &ring->sent, &ring->empty_at};
}

/** Lets the other side see what was put in or taken out, and wakes it up if it may be asleep. */
INLINE void publish(struct side *self, struct words words, struct tricks has)
{
    if (self->told == self->mine)
        return;
    atomic_store_explicit(words.mine, self->mine, memory_order_release);
    if (has.spins != FOR_EVER) {
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(words.their_note, memory_order_relaxed) == self->told &&
            syscall(SYS_futex, words.mine, FUTEX_WAKE_, 1, NULL, NULL, 0) == -1)
            err(EXIT_FAILURE, "futex");
    }
    self->told = self->mine;
}

/** Waits until the other side's count is not the one that was last read. */
INLINE void wait_for(struct side *self, struct words words, struct tricks has)
{
    publish(self, words, has);
    for (int i = 0; i < has.spins || has.spins == FOR_EVER; i++) {
        if (atomic_load_explicit(words.theirs, memory_order_relaxed) != self->theirs)
            return;
        relax();
    }
    const struct timespec slice = {.tv_nsec = 100000000};
    atomic_store_explicit(words.my_note, self->theirs, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (syscall(SYS_futex, words.theirs, FUTEX_WAIT_, self->theirs, &slice, NULL, 0) == -1 &&
        errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
        err(EXIT_FAILURE, "futex");
}

/** Waits until so many bytes are there, or free. */
INLINE void wait_until(struct side *self, struct words words, struct tricks has, bool sends, uint32_t length)
{
    if (!has.cached)
        self->theirs = atomic_load_explicit(words.theirs, memory_order_acquire);
    while ((sends ? RING_BYTES - (self->mine - self->theirs) : self->theirs - self->mine) < length) {
        const uint32_t known = self->theirs;
        self->theirs = atomic_load_explicit(words.theirs, memory_order_acquire);
        if (self->theirs == known)
            wait_for(self, words, has);
    }
}

/** Returns the place of this side's next byte; through `to_end`, how many places there are from it to the ring's end. */
INLINE unsigned char *place(const struct side *self, struct tricks has, uint32_t *to_end)
{
    const uint32_t capacity = self->shared->capacity; /* As in the lab, the compiler does not know it. */
    const uint32_t at = has.mask ? self->mine & (capacity - 1) : self->mine % capacity;
    *to_end = capacity - at;
    return self->shared->bytes + at;
}

INLINE void put(struct side *self, struct tricks has, const void *from, uint32_t length)
{
    uint32_t to_end = 0;
    wait_until(self, words_of(self->shared, has, true), has, true, length);
    unsigned char *to = place(self, has, &to_end);
    if (has.one_copy && length <= to_end) {
        memcpy(to, from, length);
    } else {
        const uint32_t first = length < to_end ? length : to_end;
        memcpy(to, from, first);
        memcpy(self->shared->bytes, (const unsigned char *)from + first, length - first);
    }
    self->mine += length;
}

INLINE void get(struct side *self, struct tricks has, void *to, uint32_t length)
{
    uint32_t to_end = 0;
    wait_until(self, words_of(self->shared, has, false), has, false, length);
    const unsigned char *from = place(self, has, &to_end);
    if (has.one_copy && length <= to_end) {
        memcpy(to, from, length);
    } else {
        const uint32_t first = length < to_end ? length : to_end;
        memcpy(to, from, first);
        memcpy((unsigned char *)to + first, self->shared->bytes, length - first);
    }
    self->mine += length;
}

/** Sends the message, which has room before it for its length. */
INLINE void ring_send(struct side *self, struct tricks has, uint32_t size)
{
    if (has.one_copy) {
        memcpy(self->message - sizeof size, &size, sizeof size);
        put(self, has, self->message - sizeof size, (uint32_t)sizeof size + size);
    } else {
        put(self, has, &size, sizeof size);
        put(self, has, self->message, size);
    }
    if (!has.batched || self->mine - self->told >= BATCH)
        publish(self, words_of(self->shared, has, true), has);
}

/** Receives a message. Returns its sum. */
INLINE uint64_t ring_receive(struct side *self, struct tricks has, uint32_t size)
{
    uint32_t length = 0;
    uint64_t sum;
    get(self, has, &length, sizeof length);
    if (length != size)
        void_run("a length is wrong");
    uint32_t to_end = 0;
    const unsigned char *from = place(self, has, &to_end);
    if (has.one_copy && size <= to_end) {
        wait_until(self, words_of(self->shared, has, false), has, false, size);
        sum = sum_of(from, size);
        self->mine += size;
    } else {
        get(self, has, self->message, size);
        sum = sum_of(self->message, size);
    }
    if (!has.batched || self->mine - self->told >= RING_BYTES / 4)
        publish(self, words_of(self->shared, has, false), has);
    return sum;
}

/* ---- one message, by each way ------------------------------------------------------------------------------ */

static void send_message(struct side *self, uint32_t size)
{
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
    if (self->way == QUEUE) {
        if (msgrcv(self->queue, self->message - sizeof(long), size, 0, 0) != (ssize_t)size)
            void_run("msgrcv returned something else");
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

/** Sends all messages. Returns the sum of their words. */
static uint64_t send_all(struct side *self, uint32_t size, uint64_t messages)
{
    uint64_t sum = 0;
    switch (self->way) {
#define RING(way, name, ...)                                                                                 \
    case way: {                                                                                              \
        static const struct tricks has = {__VA_ARGS__};                                                      \
        for (uint64_t i = 0; i < messages; i++) {                                                            \
            sum += fill(self->message, size, i);                                                             \
            ring_send(self, has, size);                                                                      \
        }                                                                                                    \
        publish(self, words_of(self->shared, has, true), has);                                               \
        break;                                                                                               \
    }
        RINGS(RING)
#undef RING
    default:
        for (uint64_t i = 0; i < messages; i++) {
            sum += fill(self->message, size, i);
            send_message(self, size);
        }
    }
    return sum;
}

/** Receives all messages. Returns the sum of their words. */
static uint64_t receive_all(struct side *self, uint32_t size, uint64_t messages)
{
    uint64_t sum = 0;
    switch (self->way) {
#define RING(way, name, ...)                                                                                 \
    case way: {                                                                                              \
        static const struct tricks has = {__VA_ARGS__};                                                      \
        for (uint64_t i = 0; i < messages; i++)                                                              \
            sum += ring_receive(self, has, size);                                                            \
        publish(self, words_of(self->shared, has, false), has);                                              \
        break;                                                                                               \
    }
        RINGS(RING)
#undef RING
    default:
        for (uint64_t i = 0; i < messages; i++) {
            receive_message(self, size);
            sum += sum_of(self->message, size);
        }
    }
    return sum;
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
    shared->begin_ns = now_ns(CLOCK_MONOTONIC);
    shared->sum = send_all(self, size, messages);
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
    shared->capacity = RING_BYTES;
    struct side self = {
        .way = way, .descriptor = ends[0], .queue = queue, .shared = shared, .message = space + LINE};
    const pid_t child = start_child(cpus[way != PIPE_SAME_CPU]);
    if (child == 0) {
        queue_in_use = -1; /* The parent removes it. */
        self.descriptor = ends[1];
        be_sender(&self, (uint32_t)size, messages);
    }
    while (!atomic_load(&shared->ready))
        sched_yield(); /* The new process starts on this processor. */

    const uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    atomic_store(&shared->go, 1);
    const uint64_t sum = receive_all(&self, (uint32_t)size, messages);
    const uint64_t end = now_ns(CLOCK_MONOTONIC), used = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    end_child(child);
    tear_down(ends, queue);
    if (sum != shared->sum)
        void_run("the sums differ");
    turn->wall_ns = (double)(end - shared->begin_ns) / (double)messages;
    turn->cpu_ns = (double)(used + shared->sender_cpu_ns) / (double)messages;
    return true;
}

/* ---- the floors -------------------------------------------------------------------------------------------- */

/** Round trips: of one line, of a futex, and of 8 bytes through one ring and back through another. */
enum trip { LINE_TRIP, FUTEX_TRIP, RING_TRIP, RING_ASLEEP_TRIP, KINDS };
static const char *const trip_names[KINDS] = {"line_round_trip", "futex_round_trip", "ring_round_trip",
                                              "ring_asleep_round_trip"};

/** Sends a message of 8 bytes through one ring and waits for the answer in another; or answers. */
INLINE void play(struct side *out, struct side *in, struct tricks has, bool first)
{
    for (uint64_t i = 1; i <= 2 * (uint64_t)TRIPS; i++)
        if ((i % 2 == 1) == first) {
            memcpy(out->message, &i, sizeof i);
            ring_send(out, has, sizeof i);
        } else if (ring_receive(in, has, sizeof i) != i) {
            void_run("a message of the round trip got lost");
        }
}

static void play_ring(enum trip trip, struct side *out, struct side *in, bool first)
{
    static const struct tricks asleep = {.mask = true, .one_copy = true, .cached = true},
                               spins = {.mask = true, .one_copy = true, .cached = true, .spins = 100 * SPINS};
    if (trip == RING_TRIP)
        play(out, in, spins, first);
    else
        play(out, in, asleep, first);
}

/** Counts a word up in turns; the one whose turn it is not sleeps on it. */
static void play_futex(_Atomic uint32_t *word, bool first)
{
    for (uint32_t i = 0; i < 2 * TRIPS; i++) {
        if ((i % 2 == 0) == first) {
            atomic_store(word, i + 1);
            if (syscall(SYS_futex, word, FUTEX_WAKE_, 1, NULL, NULL, 0) == -1)
                err(EXIT_FAILURE, "futex");
            continue;
        }
        while (atomic_load(word) == i)
            if (syscall(SYS_futex, word, FUTEX_WAIT_, i, NULL, NULL, 0) == -1 && errno != EAGAIN &&
                errno != EINTR)
                err(EXIT_FAILURE, "futex");
    }
}

/** Returns a round trip between the two processors, in nanoseconds. */
static double round_trip(enum trip trip, struct shared *shared, struct shared *back)
{
    if (trip == LINE_TRIP)
        return line_round_trip(cpus[1], false);
    static _Alignas(LINE) unsigned char space[2][2 * LINE];
    memset(shared, 0, sizeof *shared);
    memset(back, 0, sizeof *back);
    shared->capacity = back->capacity = RING_BYTES;
    struct side there = {.shared = shared, .message = space[0] + LINE};
    struct side here = {.shared = back, .message = space[1] + LINE};
    const pid_t child = start_child(cpus[1]);
    if (child == 0) {
        atomic_store(&shared->ready, 1);
        if (trip == FUTEX_TRIP)
            play_futex(&shared->sent, false);
        else
            play_ring(trip, &here, &there, false);
        _exit(EXIT_SUCCESS);
    }
    while (!atomic_load(&shared->ready))
        sched_yield(); /* The new process starts on this processor. */
    const uint64_t begin = now_ns(CLOCK_MONOTONIC);
    if (trip == FUTEX_TRIP)
        play_futex(&shared->sent, true);
    else
        play_ring(trip, &there, &here, true);
    const uint64_t end = now_ns(CLOCK_MONOTONIC);
    end_child(child);
    return (double)(end - begin) / TRIPS;
}

/* ---- false sharing ----------------------------------------------------------------------------------------- */

/** Returns the time of an addition to a counter while the other process adds to one `apart` bytes away, in ns. */
static double add_beside(size_t apart)
{
    enum { ADDITIONS = 1000000 };
    struct floor *floor = map_floor();
    _Atomic uint32_t *counters[] = {(void *)floor->bytes, (void *)(floor->bytes + apart)};
    const pid_t child = start_child(cpus[1]);
    if (child == 0) {
        atomic_store(&floor->ball, 1);
        while (atomic_load_explicit(&floor->ball, memory_order_relaxed) != 2)
            for (int i = 0; i < 1000; i++)
                atomic_fetch_add_explicit(counters[1], 1, memory_order_relaxed);
        _exit(EXIT_SUCCESS);
    }
    wait_for_ball(floor, 1, true);
    const uint64_t begin = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < ADDITIONS; i++)
        atomic_fetch_add_explicit(counters[0], 1, memory_order_relaxed);
    const uint64_t end = now_ns(CLOCK_MONOTONIC);
    atomic_store(&floor->ball, 2);
    end_child(child);
    unmap_floor(floor);
    return (double)(end - begin) / ADDITIONS;
}

/* ---- pages ------------------------------------------------------------------------------------------------- */

enum { MEMORY = 1 << 26, LOADS = 200000 };

/** Returns the time of a load somewhere in 64 MiB of an object, in ns; -1 if there is no object of that kind. */
static double load_anywhere(unsigned flags)
{
    const int object = memfd_create("pages", MFD_CLOEXEC | flags);
    if (object == -1)
        return -1;
    void *memory = MAP_FAILED;
    if (ftruncate(object, MEMORY) == 0)
        memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, object, 0);
    if (close(object) == -1)
        err(EXIT_FAILURE, "close");
    if (memory == MAP_FAILED)
        return -1;
    memset(memory, 1, MEMORY);
    const volatile unsigned char *bytes = memory;
    uint64_t at = 88172645463325252u;
    const uint64_t begin = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < LOADS; i++) {
        at ^= at << 13;
        at ^= at >> 7;
        at ^= at << 17;
        at += bytes[at % MEMORY]; /* So that a load waits for the one before it. */
    }
    const uint64_t end = now_ns(CLOCK_MONOTONIC);
    if (munmap(memory, MEMORY) == -1)
        err(EXIT_FAILURE, "munmap");
    return (double)(end - begin) / LOADS;
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
static double copies[SIZES][MOST_ROUNDS], trips[KINDS][MOST_ROUNDS];
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

/** Prints how the values of one thing compare with those of another, round by round. */
static void print_ratio(size_t size, const char *of, const char *to, int rounds, const double *values,
                        const double *base)
{
    double ratios[MOST_ROUNDS];
    for (int r = 0; r < rounds; r++)
        ratios[r] = values[r] / base[r];
    printf("{\"kind\":\"ratio\",\"size\":%zu,\"of\":\"%s\",\"to\":\"%s\",\"rounds\":%d,", size, of, to,
           rounds);
    print_spread(ratios, rounds, "");
    printf("}\n");
}

static void print_summary(int rounds)
{
    double values[MOST_ROUNDS];
    for (int trip = 0; trip < KINDS; trip++) {
        if (trip != LINE_TRIP)
            print_ratio(8, trip_names[trip], "line_round_trip", rounds, trips[trip], trips[LINE_TRIP]);
        if (trip != FUTEX_TRIP)
            print_ratio(8, trip_names[trip], "futex_round_trip", rounds, trips[trip], trips[FUTEX_TRIP]);
    }
    for (int trip = 0; trip < KINDS; trip++) {
        printf("{\"kind\":\"trip\",\"trip\":\"%s\",\"rounds\":%d,", trip_names[trip], rounds);
        print_spread(trips[trip], rounds, "ns_");
        printf("}\n");
    }
    for (size_t s = 0; s < SIZES; s++) {
        if (!possible[s][FAST])
            continue;
        const enum way rings[] = {FAST, UNBATCHED};
        for (int i = 0; i < 2; i++) {
            for (int r = 0; r < rounds; r++)
                values[r] = turns[s][rings[i]][r].wall_ns;
            print_ratio(sizes[s], names[rings[i]], "memcpy", rounds, values, copies[s]);
            print_ratio(sizes[s], names[rings[i]], "line_round_trip", rounds, values, trips[LINE_TRIP]);
            print_ratios(s, rings[i], rounds);
        }
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
        printf("{\"kind\":\"way\",\"size\":%zu,\"way\":\"memcpy\",\"rounds\":%d,", sizes[s], rounds);
        print_spread(copies[s], rounds, "ns_"); /* It sorts them, so this comes last. */
        printf("}\n");
    }
}

/** Measures two counters at several distances, and pages of two sizes; prints the spread of each. */
static void print_counters_and_pages(int rounds)
{
    static const size_t distances[] = {4, 32, 64, 128};
    enum { DISTANCES = sizeof distances / sizeof *distances };
    static double values[DISTANCES][MOST_ROUNDS];
    for (int r = 0; r < rounds; r++)
        for (size_t d = 0; d < DISTANCES; d++)
            values[d][r] = add_beside(distances[d]);
    static double pages[2][MOST_ROUNDS];
    static const char *const kinds[] = {"ordinary", "huge"};
    for (int r = 0; r < rounds; r++)
        for (int huge = 0; huge < 2; huge++)
            pages[huge][r] = load_anywhere(huge ? MFD_HUGETLB : 0);
    for (int huge = 0; huge < 2; huge++)
        if (pages[huge][0] >= 0 && pages[huge][rounds - 1] >= 0) {
            printf("{\"kind\":\"pages\",\"pages\":\"%s\",\"rounds\":%d,", kinds[huge], rounds);
            print_spread(pages[huge], rounds, "ns_");
            printf("}\n");
        }
    for (size_t d = 0; d < DISTANCES; d++) {
        printf("{\"kind\":\"counters\",\"apart\":%zu,\"rounds\":%d,", distances[d], rounds);
        print_spread(values[d], rounds, "ns_");
        printf("}\n");
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
    const uint64_t count = ((uint64_t)32 << 20) / size;
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
    bool right = true, counters = false;
    while ((option = getopt(argc, argv, "r:m:s:f")) != -1) {
        if (option == 'r')
            right = right && (rounds = parse(optarg, LEAST_ROUNDS, MOST_ROUNDS)) != 0;
        else if (option == 'm')
            right = right && (most = parse(optarg, 1, 1000000000)) != 0;
        else if (option == 's')
            right = right && (only = parse(optarg, 8, LARGEST)) != 0;
        else if (option == 'f')
            counters = true;
        else
            right = false;
    }
    if (!right || optind != argc) {
        fprintf(stderr, "usage: %s [-r ROUNDS, from %d to %d] [-m MESSAGES in a turn] [-s SIZE] [-f]\n",
                argv[0], LEAST_ROUNDS, MOST_ROUNDS);
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
    if (counters) {
        print_counters_and_pages((int)rounds);
        return EXIT_SUCCESS;
    }

    for (int r = 0; r < (int)rounds; r++) {
        for (int trip = 0; trip < KINDS; trip++) {
            trips[trip][r] = round_trip((enum trip)trip, shared, back);
            printf("{\"kind\":\"floor\",\"round\":%d,\"floor\":\"%s\",\"ns\":%.1f}\n", r, trip_names[trip],
                   trips[trip][r]);
        }
        for (size_t s = 0; s < SIZES; s++) {
            if (only != 0 && sizes[s] != only)
                continue;
            const uint64_t messages = messages_of(sizes[s], most);
            copies[s][r] = copy_across(cpus[1], sizes[s]);
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
