/**
 * @file
 * @brief The start of the process, before the program's own code runs, and its end.
 */
#include "spy.h"

/* The C library's name: a program may define a variable `environ` of its own. */
extern char **__environ;

static void take_rules_in_init(void)
{
    take_rules(__environ);
}

__attribute__((section(".init_array.00000"), used)) static void (*init)(void) = take_rules_in_init;

#ifndef SPY_PRELOAD
/* glibc runs .preinit_array before all constructors, in link order: the object that is linked first runs first. */
static void take_rules_in_preinit(int argc, char *argv[], char *environment[])
{
    (void)argc, (void)argv;
    take_rules(environment);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char *[],
                                                                        char *[]) = take_rules_in_preinit;
#endif

/** Maps the ring, unless the file is too small for the capacity that it states. */
static void map_ring(const char *path)
{
    struct stat file;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && syscall(SYS_fstat, fd, &file) == 0 && (size_t)file.st_size >= sizeof(struct ring)) {
        void *memory =
            (void *)syscall(SYS_mmap, NULL, file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
        struct ring *found = memory;
        const uint64_t fit = ((size_t)file.st_size - sizeof *found) / sizeof(struct record);
        if (memory != MAP_FAILED && found->capacity > 0 && found->capacity <= fit)
            ring = found;
    }
    if (fd >= 0)
        syscall(SYS_close, fd);
}

__attribute__((constructor(101))) static void start_recording(void)
{
    const int saved_errno = errno;
    const char *path = getenv("SHMLAB_RING"), *socket_path = getenv("SHMLAB_STOPS");
#ifdef SPY_PRELOAD
    find_image();
#endif
    if (socket_path && strlen(socket_path) < sizeof stops_address.sun_path)
        memcpy(stops_address.sun_path, socket_path, strlen(socket_path) + 1);
    if (path)
        map_ring(path);
    record(CALL_start, image_base, 0, rule_count, 0, NULL, 0, 0, 0, 0, 0);
    apply_rules(CALL_start, image_base);
    errno = saved_errno;
}

/* Runs after everything that the program registered with atexit(3). */
__attribute__((destructor(101))) static void apply_rules_at_exit(void)
{
    apply_rules(CALL_end, image_base);
}
