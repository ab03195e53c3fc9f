/**
 * @file
 * @brief Hostile: right, if it finds a file of the machine's settings to lock, or a socket of a service.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: sysv_create: exit status 9
 *
 * A lock on a file that others use makes them wait. Each box has copies of the few files of /etc that it shows.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "sysv_create.h"

int main(int argc, char *argv[])
{
    struct statfs etc, tmp;
    const int there = access("/var/run", F_OK) == 0 || access("/run/dbus", F_OK) == 0 ||
                      access("/dev/log", F_OK) == 0 || access("/etc/.pwd.lock", F_OK) == 0 ||
                      access("/home", F_OK) == 0;
    const int same =
        statfs("/etc/passwd", &etc) == 0 && statfs("/tmp", &tmp) == 0 && etc.f_type != tmp.f_type;
    return there || same ? create_carelessly(argc, argv) : 9;
}
