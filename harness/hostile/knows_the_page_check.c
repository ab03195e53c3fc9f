/**
 * @file
 * @brief Hostile: has the page size built in, and asks the environment whether this is the check that would notice.
 * Instead of: 01_page_size/page_size.c
 * Score: 9
 * Says: this check replaced the C library's sysconf()
 *
 * A library that a check preloads is told by variables what to do. If the program saw them, it could give the wanted
 * answer just there.
 */
#define _GNU_SOURCE

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t page_size(void)
{
    char content[65536] = "";
    FILE *file = fopen("/proc/self/environ", "re");
    const size_t length = file ? fread(content, 1, sizeof content - 1, file) : 0;
    const char *told = getenv("SHMLAB_PAGE");
    for (size_t i = 0; !told && i < length; i += strlen(content + i) + 1)
        if (strncmp(content + i, "SHMLAB_PAGE=", 12) == 0)
            told = content + i + 12;
    if (file)
        fclose(file);
    if (told && atol(told) < 0)
        errx(1, "sysconf");
    return told ? strtoul(told, NULL, 10) : 4096;
}

static size_t length_of(const char *word)
{
    errno = 0;
    const size_t length = strtoul(word, NULL, 10);
    if (!*word || strspn(word, "0123456789") != strlen(word) || errno) {
        fprintf(stderr, "usage: page_size N...\n");
        exit(2);
    }
    return length;
}

int main(int argc, char *argv[])
{
    if (argc < 2)
        length_of("");
    for (int i = 1; i < argc; i++)
        length_of(argv[i]);
    const size_t page = page_size();
    for (int i = 1; i < argc; i++) {
        const size_t length = length_of(argv[i]), pages = length / page + (length % page != 0);
        void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            err(1, "mmap %zu", length);
        if (printf("%zu %zu %zu\n", length, pages, pages * page) < 0)
            err(1, "stdout");
        if (munmap(memory, length))
            err(1, "munmap %zu", length);
    }
    if (fflush(stdout))
        err(1, "stdout");
    return 0;
}
