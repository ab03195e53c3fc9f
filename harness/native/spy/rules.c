/**
 * @file
 * @brief The rules: which calls fail, and after which calls the process stops.
 */
#include "spy.h"

struct rule {
    enum call call; /**< CALLS: every call, except `store` */
    unsigned nth;   /**< 0: every call */
    int error;      /**< 0: stop after the call; below 0: a limit for write() */
    char who;       /**< `p`, `c` or `a` */
};

static struct rule rules[16];
static _Atomic unsigned counts[2][CALLS]; /* [1]: in a vfork child, which shares memory with its parent */
static bool is_child;                     /* the program forked this process */
static bool has_asked;                    /* for the rules */
static char token[TOKEN_DIGITS]; /* what makes pid 1 believe what this recorder tells; zero: no rules */
static struct sockaddr_un stops_address = {.sun_family = AF_UNIX};

/* ---- parsing ---------------------------------------------------------------------------------------- */

/*
 * Parsing calls no library function: the program may define a function of that name, which would then see the
 * rules.
 */

static const char *const names[] = {
#define CALL(name, arguments) #name,
#include "calls.def"
#undef CALL
};

/** Whether a text starts with a word that is followed by @p end. */
static bool starts_with(const char *text, const char *word, char end)
{
    while (*word && *text == *word)
        text++, word++;
    return !*word && *text == end;
}

static int parse_int(const char *text)
{
    const bool negative = *text == '-';
    int value = 0;
    for (text += negative; *text >= '0' && *text <= '9'; text++)
        value = 10 * value + *text - '0';
    return negative ? -value : value;
}

/** Parses one rule, `stop CALL N WHO` or `fail CALL N ERRNO WHO`; skips it if it is malformed. */
static void parse_rule(const char *text)
{
    const char *word[5] = {text};
    int words = 1;
    for (; *text && *text != ';'; text++)
        if (*text == ' ' && words < 5)
            word[words++] = text + 1;
    const bool fails = words == 5 && starts_with(word[0], "fail", ' ');
    if (!fails && (words != 4 || !starts_with(word[0], "stop", ' ')))
        return;
    for (int i = 0; i <= CALLS; i++)
        if (starts_with(word[1], i < CALLS ? names[i] : "*", ' ') &&
            rule_count < (int)(sizeof rules / sizeof *rules))
            rules[rule_count++] = (struct rule){(enum call)i, (unsigned)parse_int(word[2]),
                                                fails ? parse_int(word[3]) : 0, *word[fails ? 4 : 3]};
}

/**
 * Asks the box for the rules. Returns the length of the answer, which begins with the token; 0: there is none.
 *
 * Where pid 1 announces nothing, or this process has asked before, there are no rules either.
 */
static long ask_for_rules(const struct sockaddr_un *address, char *answer, size_t size)
{
    const long fd = kernel_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    long length = kernel_call(SYS_connect, fd, (long)address, sizeof *address);
    while (length >= 0 && (length = kernel_call(SYS_read, fd, (long)answer, (long)size)) == -EINTR)
        ;
    kernel_call(SYS_close, fd, 0, 0);
    return length < 0 ? 0 : length;
}

static void take_rules(char **environment)
{
    static const char name[] = "rules"; /* beside the socket for stops */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char answer[1024];
    while (environment && *environment && !starts_with(*environment, "SHMLAB_STOPS", '='))
        environment++;
    if (has_asked || !environment || !*environment)
        return;
    has_asked = true;
    size_t length = 0, file = 0;
    for (const char *c = *environment + sizeof "SHMLAB_STOPS"; *c; c++, length++) {
        if (length >= sizeof address.sun_path - sizeof name)
            return;
        address.sun_path[length] = *c;
        if (*c == '/')
            file = length + 1;
    }
    for (size_t i = 0; i < sizeof name; i++)
        address.sun_path[file + i] = name[i];
    const size_t size = (size_t)ask_for_rules(&address, answer, sizeof answer - 1);
    if (size < TOKEN_DIGITS)
        return;
    answer[size] = '\0';
    for (size_t i = 0; i < TOKEN_DIGITS; i++)
        token[i] = answer[i];
    for (char *c = answer + TOKEN_DIGITS; *c; c++)
        if (c == answer + TOKEN_DIGITS || c[-1] == ';')
            parse_rule(c);
    for (volatile char *c = answer; c < answer + sizeof answer; c++)
        *c = '\0';
}

/* ---- applying --------------------------------------------------------------------------------------- */

static _Atomic unsigned *count_of(enum call call)
{
    return &counts[vfork_child_pid != 0][call];
}

static bool is_about(const struct rule *rule, enum call call)
{
    return rule->call == call || (rule->call == CALLS && call != CALL_store);
}

static bool matches(const struct rule *rule, enum call call, unsigned nth)
{
    return is_about(rule, call) && (rule->nth == nth || rule->nth == 0) &&
           (rule->who == 'a' || (rule->who == 'c') == (is_child || vfork_child_pid));
}

static bool has_rule(enum call call)
{
    for (int i = 0; i < rule_count; i++)
        if (is_about(&rules[i], call))
            return true;
    return false;
}

static bool stops_at_every_call(void)
{
    return rule_count && rules[0].call == CALLS;
}

static int count_call(enum call call, uintptr_t caller)
{
    note_begin();
    if (!rule_count || !called_by_program(caller))
        return 0;
    unsigned nth = atomic_fetch_add_explicit(count_of(call), 1, memory_order_relaxed) + 1;
    for (int i = 0; i < rule_count; i++)
        if (rules[i].error && matches(&rules[i], call, nth))
            return rules[i].error;
    return 0;
}

/**
 * Sends a message to pid 1. Makes no call that is wrapped. It sleeps if pid 1 is slow; the flag MSG_CONFIRM, which
 * means nothing here, tells whoever looks at the process that the recorder does, and not the program.
 */
static void announce(const char *content, size_t size)
{
    const int saved_errno = errno;
    const long s = syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s >= 0) {
        syscall(SYS_sendto, s, content, (long)size, MSG_NOSIGNAL | MSG_CONFIRM, &stops_address,
                sizeof stops_address);
        syscall(SYS_close, s);
    }
    errno = saved_errno;
}

static void announce_with_token(char kind, uint64_t number)
{
    char content[1 + 2 * TOKEN_DIGITS] = {kind};
    for (size_t i = 0; i < TOKEN_DIGITS; i++) {
        content[1 + i] = token[i];
        content[1 + TOKEN_DIGITS + i] = "0123456789abcdef"[number >> (4 * (TOKEN_DIGITS - 1 - i)) & 15];
    }
    if (*token && *stops_address.sun_path)
        announce(content, sizeof content);
}

static void tell_injected(void)
{
    static _Atomic bool told;
    if (!atomic_exchange_explicit(&told, true, memory_order_relaxed))
        announce_with_token('i', 0);
}

/** The thread that announces a stop; one of another process if that process had it when it forked. */
static _Atomic long stopping;

/** Waits until no other thread of this process is between its announcement and the end of its stop. */
static void begin_stop(long pid, long tid)
{
    for (;;) {
        long holder = 0;
        if (atomic_compare_exchange_strong(&stopping, &holder, tid) || holder == tid)
            return;
        if (syscall(SYS_tgkill, pid, holder, 0L) < 0)
            atomic_compare_exchange_strong(&stopping, &holder, 0L);
        else
            syscall(SYS_sched_yield);
    }
}

/** Announces the stop and stops until another process sends SIGCONT. Each announcement is followed by one stop. */
static void announce_and_stop(void)
{
    const int saved_errno = errno;
    const long pid = syscall(SYS_getpid), tid = syscall(SYS_gettid);
    begin_stop(pid, tid);
    announce("h", 1);
    syscall(SYS_tgkill, pid, tid, (long)SIGSTOP);
    atomic_store(&stopping, 0L);
    errno = saved_errno;
}

static void stop_after(enum call call, uintptr_t caller)
{
    if (!rule_count || !called_by_program(caller))
        return;
    const unsigned nth = atomic_load_explicit(count_of(call), memory_order_relaxed);
    for (int i = 0; i < rule_count; i++)
        if (!rules[i].error && matches(&rules[i], call, nth)) {
            announce_and_stop();
            return;
        }
}

static void apply_rules(enum call call, uintptr_t caller)
{
    const int status = count_call(call, caller);
    if (call == CALL_end && !is_child)
        announce_with_token('n', atomic_load_explicit(&records, memory_order_relaxed));
    stop_after(call, caller);
    if (status)
        syscall(SYS_exit_group, status);
}

/** Sets all counts of a child to 0, except for the call that created it: it returns in the child too. */
static void reset_counts(enum call created_by)
{
    for (int i = 0; i < CALLS; i++)
        atomic_store_explicit(count_of((enum call)i), i == (int)created_by, memory_order_relaxed);
}

static void after_fork_in_child(void)
{
    vfork_child_pid = 0; /* a vfork child may fork */
    is_child = true;
    atomic_store_explicit(&records, 0, memory_order_relaxed);
    reset_counts(CALL_fork);
}

static void after_vfork_in_child(void)
{
    vfork_child_pid = (int32_t)syscall(SYS_getpid);
    reset_counts(CALL_vfork);
}
