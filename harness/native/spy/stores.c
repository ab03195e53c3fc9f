/**
 * @file
 * @brief Stops the process before its first store to a shared mapping.
 *
 * If a rule is about `store`, new shared mappings are read-only at first. The first store then raises SIGSEGV,
 * whose handler makes the mapping writable, records the store and applies the rules.
 */
#include "spy.h"

/** The mappings that are still read-only; `begin` is NULL where an element is free. */
static struct {
    char *begin;
    size_t size;
} protected[8];
static struct sigaction previous_action; /* the program's own, for faults that are not ours */

enum { PROTECTED = sizeof protected / sizeof *protected };

/** sigaction(2) for SIGSEGV, which is not recorded as the program's. */
static int set_action(const struct sigaction *action, struct sigaction *before)
{
    DECLARE_REAL(int, sigaction, (int, const struct sigaction *, struct sigaction *))
    return real(SIGSEGV, action, before);
}

static void handle_fault(int signal, siginfo_t *info, void *context)
{
    const int saved_errno = errno;
    (void)signal, (void)context;
    for (size_t i = 0; i < PROTECTED; i++) {
        char *begin = protected[i].begin;
        const uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)begin;
        if (!begin || info->si_code != SEGV_ACCERR || offset >= protected[i].size)
            continue;
        /* One more than the address of the instruction, as return addresses point behind the call. */
        uintptr_t where = image_base;
#if defined __x86_64__
        where = (uintptr_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] + 1;
#elif defined __aarch64__
        where = (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc + 1;
#endif
        protected[i].begin = NULL;
        syscall(SYS_mprotect, begin, protected[i].size, (long)(PROT_READ | PROT_WRITE));
        record(CALL_store, where, 0, 0, 0, NULL, (int64_t)(intptr_t)info->si_addr, 0, 0, 0, 0);
        apply_rules(CALL_store, image_base);
        errno = saved_errno;
        return; /* the processor executes the instruction again, from its start */
    }
    set_action(&previous_action, NULL); /* the instruction faults again, now for the program */
    errno = saved_errno;
}

static size_t protect_until_store(void *mapped, size_t size, int prot, int flags)
{
    if (mapped == MAP_FAILED || (flags & MAP_TYPE) == MAP_PRIVATE || !(prot & PROT_WRITE) ||
        !has_rule(CALL_store))
        return size;
    size_t i = 0;
    while (i < PROTECTED && protected[i].begin && protected[i].begin != mapped)
        i++;
    if (i == PROTECTED)
        return size;
    const struct sigaction action = {.sa_sigaction = handle_fault, .sa_flags = SA_SIGINFO};
    struct sigaction previous;
    if (set_action(&action, &previous) == 0 && previous.sa_sigaction != handle_fault)
        previous_action = previous;
    protected[i].begin = mapped;
    protected[i].size = size;
    syscall(SYS_mprotect, mapped, size, (long)PROT_READ);
    return size;
}
