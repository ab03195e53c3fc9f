/**
 * @file
 * @brief Lab 16: stores a text in a file through a shared mapping, or previews it in a private one.
 *
 * Usage: `mapped_file FILE OFFSET TEXT [preview]`
 *
 * TEXT, without its terminating zero byte, is stored at byte OFFSET of FILE, which is enlarged if it is too
 * small. With `preview` the pages that would change go to standard output, and FILE does not change.
 *
 * See open(2), ftruncate(2), posix_fallocate(3), mmap(2), msync(2); POSIX.1-2024.
 */
#define _POSIX_C_SOURCE 200809L

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/** The largest OFFSET: all sums with it here fit in an off_t. */
static const uintmax_t LAST_OFFSET = UINTMAX_C(1) << 62;
_Static_assert(sizeof(off_t) >= sizeof(int64_t), "build with -D_FILE_OFFSET_BITS=64");

/**
 * Parses an offset, a decimal number: digits alone, no sign, no space.
 *
 * @param digits  the number as text
 * @return        the number, or -1 if it is not a number from 0 to LAST_OFFSET
 */
static off_t parse_offset(const char *digits)
{
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return -1;

    /* A number too large for uintmax_t becomes UINTMAX_MAX: too large for us as well. */
    const uintmax_t number = strtoumax(digits, NULL, 10);
    return number > LAST_OFFSET ? -1 : (off_t)number;
}

/**
 * Reports which call failed, restores the file's old size, and ends the program with exit status 1.
 *
 * @param file        the file
 * @param descriptor  the open file
 * @param old_size    its old size; -1: nothing was added, or it contains TEXT by now and stays so
 * @param call        the call that failed; errno has the reason
 */
static _Noreturn void give_up(const char *file, int descriptor, off_t old_size, const char *call)
{
    const int reason = errno;
    /* TODO 8: Restore the file's old size, unless that is -1. */
    if (old_size != -1 && ftruncate(descriptor, old_size) == -1)
        warn("ftruncate: %s", file);
    /* TODO 8 ends. */
    errno = reason;
    err(EXIT_FAILURE, "%s: %s", call, file);
}

int main(int argc, char *argv[])
{
    const bool preview = argc == 5 && strcmp(argv[4], "preview") == 0;
    const off_t offset = argc == 4 || preview ? parse_offset(argv[2]) : -1;
    const size_t length = offset != -1 ? strlen(argv[3]) : 0;
    if (length == 0) {
        fprintf(stderr, "usage: %s FILE OFFSET TEXT [preview] (TEXT is not empty)\n", argv[0]);
        return 2;
    }
    const char *file = argv[1];
    const char *text = argv[3];
    const off_t end = offset + (off_t)length;

    int descriptor = -1;
    /* TODO 1: Open the file: for reading and writing, or read-only if this is a preview. Do not create it. */
    descriptor = open(file, preview ? O_RDONLY : O_RDWR);
    if (descriptor == -1)
        err(EXIT_FAILURE, "open: %s", file);
    /* TODO 1 ends. */

    struct stat status;
    if (fstat(descriptor, &status) == -1)
        err(EXIT_FAILURE, "fstat: %s", file);
    off_t size = status.st_size;
    off_t old_size = -1;
    /* TODO 2: If the file ends before TEXT would, a preview fails: a private mapping cannot enlarge it.
       Otherwise make it just as large as TEXT needs; set size to its new size, old_size to its old. */
    if (end > size) {
        if (preview)
            errx(EXIT_FAILURE, "%s: TEXT would end at byte %jd, past the end", file, (intmax_t)end);
        if (ftruncate(descriptor, end) == -1)
            give_up(file, descriptor, old_size, "ftruncate");
        old_size = size;
        size = end;
    }
    /* TODO 2 ends. */

    if (!preview) {
        /* TODO 3: Reserve room for the bytes of TEXT, which may lie in a hole, and for no others. */
        errno = posix_fallocate(descriptor, offset, (off_t)length);
        if (errno != 0)
            give_up(file, descriptor, old_size, "posix_fallocate");
        /* TODO 3 ends. */
    }

    const long page = sysconf(_SC_PAGESIZE);
    if (page == -1)
        give_up(file, descriptor, old_size, "sysconf");
    off_t start = 0;
    size_t window = 0;
    /* TODO 4: Set start to the offset in the file at which TEXT's first page begins, and window to the number
       of bytes from there to the end of TEXT's last page, or to the end of the file if that comes first. */
    start = offset / page * page;
    const off_t stop = (end + page - 1) / page * page;
    window = (size_t)((stop < size ? stop : size) - start);
    /* TODO 4 ends. */

    char *memory = NULL;
    /* TODO 5: Map these bytes for reading and writing: private if this is a preview, otherwise shared. */
    const int flags = preview ? MAP_PRIVATE : MAP_SHARED;
    memory = mmap(NULL, window, PROT_READ | PROT_WRITE, flags, descriptor, start);
    if (memory == MAP_FAILED)
        give_up(file, descriptor, old_size, "mmap");
    /* TODO 5 ends. */

    /* TODO 6: Copy TEXT to its place in the mapping, without its terminating zero byte. */
    memcpy(memory + (offset - start), text, length);
    /* TODO 6 ends. */
    old_size = -1; /* From here on every process that reads the file finds TEXT. */

    if (preview) {
        if (fwrite(memory, 1, window, stdout) != window || fflush(stdout) == EOF)
            give_up(file, descriptor, old_size, "standard output");
    } else {
        /* TODO 7: Wait until the mapped bytes are on the file's device. */
        if (msync(memory, window, MS_SYNC) == -1)
            give_up(file, descriptor, old_size, "msync");
        /* TODO 7 ends. */
    }

    if (munmap(memory, window) == -1)
        give_up(file, descriptor, old_size, "munmap");
    if (close(descriptor) == -1)
        give_up(file, descriptor, old_size, "close");
    return EXIT_SUCCESS;
}
