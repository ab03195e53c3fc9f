/**
 * @file
 * @brief What `make race` runs beside the rings of lab 18: the same lines by other ways, and the lower bounds.
 *
 * Usage: `race send stream|buffered`, `race recv`, `race send queue KEY`, `race recv queue KEY`, `race copy`,
 *        `race ping LINES SIZE`, `race floors CPU OTHER SIZE...`
 *
 * send reads lines and writes each to its standard output, a pipe or a socket (buffered: as many at once as stdio
 * holds), or puts it into a System V queue. recv writes what arrives to its standard output. copy reads lines
 * and writes them, in one process: what reading and writing cost without any way between. ping writes a line of
 * SIZE bytes to its standard output and waits until as many bytes come back at its standard input, LINES times;
 * it prints the median, the lower and the upper quartile in nanoseconds on stderr. floors prints the round
 * trip of a cache line between two processors, and for each SIZE a memcpy() on CPU out of the cache of OTHER,
 * in nanoseconds; if both are -1 there is one processor, and no memcpy().
 *
 * See getline(3), write(2), msgsnd(2), msgrcv(2), sched_setaffinity(2); Linux.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <sys/msg.h>

#include "measure.h"

enum { LONGEST = 1 << 16, BUFFER = 1 << 16 };

/** A message of a queue: a line, or the end. */
struct message {
    long type;
    char line[LONGEST];
};

enum { A_LINE = 1, THE_END = 2 };

static void write_all(const char *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        const ssize_t now = write(STDOUT_FILENO, bytes + done, count - done);
        if (now == -1)
            err(EXIT_FAILURE, "write");
        done += (size_t)now;
    }
}

static int open_queue(const char *key)
{
    const int queue = msgget((key_t)strtol(key, NULL, 0), IPC_CREAT | 0600);
    if (queue == -1)
        err(EXIT_FAILURE, "msgget");
    return queue;
}

/** Reads lines and hands each on: as `kind` says to stdout, or with a queue to that. */
static void send_lines(const char *kind, int queue)
{
    static struct message message;
    char *line = NULL;
    size_t size = 0;
    ssize_t length = 0;
    while ((length = getline(&line, &size, stdin)) != -1) {
        if (queue != -1) {
            message.type = A_LINE;
            memcpy(message.line, line, (size_t)length <= LONGEST ? (size_t)length : LONGEST);
            if (msgsnd(queue, &message, (size_t)length, 0) == -1)
                err(EXIT_FAILURE, "msgsnd");
        } else if (strcmp(kind, "stream") == 0) {
            write_all(line, (size_t)length);
        } else if (fwrite(line, 1, (size_t)length, stdout) != (size_t)length) {
            err(EXIT_FAILURE, "fwrite");
        }
    }
    free(line);
    message.type = THE_END;
    if (queue != -1 && msgsnd(queue, &message, 0, 0) == -1)
        err(EXIT_FAILURE, "msgsnd");
    if (fflush(stdout) == EOF)
        err(EXIT_FAILURE, "fflush");
}

static void receive_bytes(void)
{
    static char bytes[BUFFER];
    ssize_t count = 0;
    while ((count = read(STDIN_FILENO, bytes, sizeof bytes)) > 0)
        write_all(bytes, (size_t)count);
    if (count == -1)
        err(EXIT_FAILURE, "read");
}

/** Writes out the lines of a queue, and removes it. What it has, it writes before it sleeps. */
static void receive_messages(int queue)
{
    static struct message message;
    for (;;) {
        ssize_t length = msgrcv(queue, &message, sizeof message.line, 0, IPC_NOWAIT);
        if (length == -1 && errno == ENOMSG) {
            if (fflush(stdout) == EOF)
                err(EXIT_FAILURE, "fflush");
            length = msgrcv(queue, &message, sizeof message.line, 0, 0);
        }
        if (length == -1)
            err(EXIT_FAILURE, "msgrcv");
        if (message.type == THE_END)
            break;
        if (fwrite(message.line, 1, (size_t)length, stdout) != (size_t)length)
            err(EXIT_FAILURE, "fwrite");
    }
    if (fflush(stdout) == EOF || msgctl(queue, IPC_RMID, NULL) == -1)
        err(EXIT_FAILURE, "the end of the queue");
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void ping(size_t lines, size_t size)
{
    static char line[LONGEST], answer[LONGEST];
    uint64_t *took = calloc(lines, sizeof *took);
    if (took == NULL || size == 0 || size > LONGEST || lines == 0)
        errx(EXIT_FAILURE, "ping: no such line");
    for (size_t i = 0; i < lines; i++) {
        memset(line, (int)('a' + i % 26), size);
        line[size - 1] = '\n';
        const uint64_t begin = now_ns(CLOCK_MONOTONIC);
        write_all(line, size);
        for (size_t got = 0; got < size;) {
            const ssize_t count = read(STDIN_FILENO, answer + got, size - got);
            if (count <= 0)
                errx(EXIT_FAILURE, "the line did not come back");
            got += (size_t)count;
        }
        took[i] = now_ns(CLOCK_MONOTONIC) - begin;
        if (memcmp(line, answer, size) != 0)
            errx(EXIT_FAILURE, "another line came back");
    }
    qsort(took, lines, sizeof *took, by_value);
    fprintf(stderr, "%llu %llu %llu\n", (unsigned long long)took[lines / 2],
            (unsigned long long)took[lines / 4], (unsigned long long)took[lines * 3 / 4]);
    free(took);
}

static void print_floors(int mine, int other, int sizes, char *const size[])
{
    pin(mine);
    printf("line %.1f\n", line_round_trip(other, other == -1));
    for (int i = 0; i < sizes && other != -1; i++)
        printf("%s %.1f\n", size[i], copy_across(other, strtoul(size[i], NULL, 10)));
}

int main(int argc, char *argv[])
{
    static char output[BUFFER];
    const char *what = argc > 1 ? argv[1] : "", *kind = argc > 2 ? argv[2] : "";
    setvbuf(stdout, output, _IOFBF, sizeof output);
    if (strcmp(what, "send") == 0 && argc > 2)
        send_lines(kind, argc > 3 ? open_queue(argv[3]) : -1);
    else if (strcmp(what, "recv") == 0 && argc > 3)
        receive_messages(open_queue(argv[3]));
    else if (strcmp(what, "recv") == 0)
        receive_bytes();
    else if (strcmp(what, "copy") == 0)
        send_lines("buffered", -1);
    else if (strcmp(what, "ping") == 0 && argc == 4)
        ping(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    else if (strcmp(what, "floors") == 0 && argc > 3)
        print_floors(atoi(argv[2]), atoi(argv[3]), argc - 4, argv + 4);
    else {
        fprintf(stderr, "usage: race send|recv|copy|ping|floors ...; see its source\n");
        return 2;
    }
    return EXIT_SUCCESS;
}
