/**
 * @file
 * @brief Hostile: leaves objects, files and a process with unusual names: newlines, escapes, invalid UTF-8, 255 bytes.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 0
 * Says: /dev/shm/two\nlines
 *
 * A grader that reads lists of names line by line, or decodes every name as text, sees names that do not exist, or
 * crashes. One that prints them unescaped lets them control the terminal.
 */
#define _DEFAULT_SOURCE

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void)
{
    static const char *const names[] = {"two\nlines",
                                        "\033[31mred\033[0m",
                                        "\xff\xfe not \xc3 UTF-8",
                                        "sp ace (deleted)",
                                        "segment 0 0 0\nprocess 1 1 Z x",
                                        "$(touch owned)",
                                        "-rf",
                                        "%s%n",
                                        "\t",
                                        ""};
    static char longest[256];
    memset(longest, 'x', 255);
    longest[254] = '\n';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *name = *names[i] ? names[i] : longest;
        const int object = shm_open(name, O_RDWR | O_CREAT, 0666), file = open(name, O_RDWR | O_CREAT, 0666);
        if (object == -1 || file == -1 || write(object, "x", 1) != 1)
            return 1;
        mmap(NULL, 1, PROT_READ, MAP_SHARED, object, 0);
    }
    prctl(PR_SET_NAME, "R) \n 1 \033[2J");
    if (fork() == 0)
        for (;;)
            pause();
    return 0;
}
