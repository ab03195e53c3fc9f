/**
 * @file
 * @brief Hostile: makes the assembler read endless files, and what /proc shows of the compiler's environment.
 * Instead of: 09_posix_attach/posix_attach.c
 * Score: 0
 * Says: does not compile
 *
 * The directive .incbin reads until the file ends. The environment and the mounts of the compiling process can
 * contain the grader's directories, keys and tokens, and the program could print them.
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
