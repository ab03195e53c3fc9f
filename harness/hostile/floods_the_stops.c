/**
 * @file
 * @brief Hostile: announces stops that never happen, thousands of times, on the socket that the spy uses.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 0
 * Says: exit status 0
 *
 * A grader that trusts an announcement waits for the stop. One that stores each announcement runs out of memory.
 */
#define _DEFAULT_SOURCE

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_un holds = {.sun_family = AF_UNIX};
    const char *path = getenv("SHMLAB_STOPS");
    const int s = socket(AF_UNIX, SOCK_DGRAM, 0);
    static char large[100000];
    if (!path || strlen(path) >= sizeof holds.sun_path)
        return 1;
    strcpy(holds.sun_path, path);
    for (int i = 0; i < 3000; i++)
        if (sendto(s, large, i % 2 ? 1 : sizeof large, MSG_DONTWAIT, (struct sockaddr *)&holds,
                   sizeof holds) < 0)
            usleep(10);
    unlink(path);
    return 0;
}
