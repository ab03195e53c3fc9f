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

static void take_rules(char **environment)
{
    char **entry = environment;
    while (entry && *entry && !starts_with(*entry, "SHMLAB_RULES", '='))
        entry++;
    if (!entry || !*entry)
        return;
    char *rule = *entry;
    while (*rule++ != '=')
        ;
    for (char *c = rule; *c; c++)
        if (c == rule || c[-1] == ';')
            parse_rule(c);
    for (volatile char *c = *entry; *c; c++)
        *c = '\0';
    for (; *entry; entry++)
        entry[0] = entry[1];
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

/** Announces the stop and stops until another process sends SIGCONT. Makes no call that is wrapped. */
static void announce_and_stop(void)
{
    const int saved_errno = errno;
    long s = syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s >= 0) {
        syscall(SYS_sendto, s, "h", 1L, MSG_NOSIGNAL, &stops_address, sizeof stops_address);
        syscall(SYS_close, s);
    }
    syscall(SYS_tgkill, (long)syscall(SYS_getpid), (long)syscall(SYS_gettid), (long)SIGSTOP);
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
    reset_counts(CALL_fork);
}

static void after_vfork_in_child(void)
{
    vfork_child_pid = (int32_t)syscall(SYS_getpid);
    reset_counts(CALL_vfork);
}
