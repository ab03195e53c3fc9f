/**
 * @file
 * @brief Lab 19: a process whose name, field 2 of /proc/PID/stat, contains spaces, parentheses, numbers and a newline.
 *
 * Preloaded with LD_PRELOAD. The name is the only field that a program can set to anything, and a user by the name of a
 * file. A program that counts the fields from the first one counts wrong.
 */
#include "settings.h"

#include <sys/prctl.h>

__attribute__((constructor)) static void change_name(void)
{
    prctl(PR_SET_NAME, "a) R 7\n(7 7");
}
