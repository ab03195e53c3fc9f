/**
 * @file
 * @brief Who makes the next step, and who waits for what. Runs in whoever has the turn.
 */
#include "runtime.h"

#ifndef EXPLORE_RUNTIME
/* The explorer uses this file, too, and has no memory of its own to share. */
void weak_begin(bool release, bool acquire)
{
    (void)release, (void)acquire;
}
void weak_release(void)
{
}
void weak_acquire(void)
{
}
void weak_drain(const void *where)
{
    (void)where;
}
void weak_split(const void *where)
{
    (void)where;
}
bool timer_interrupts(void)
{
    return false;
}
#endif

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct control *control;
int self = -1;

/* ---- small tools ------------------------------------------------------------------------------------- */

uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}

void futex_wait(uint32_t *word, uint32_t value)
{
    raw_syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

void futex_wake(uint32_t *word)
{
    raw_syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

struct thing *find_thing(uint64_t id)
{
    uint64_t at = id;
    struct thing *thing = &control->thing[0]; /* of all that do not fit */
    for (int tries = 0; tries < 64; tries++, at++) {
        struct thing *entry = &control->thing[1 + at % (THINGS - 1)];
        if (entry->id == id || entry->id == 0) {
            thing = entry;
            thing->id = id;
            break;
        }
    }
    if (thing->epoch != control->epoch) {
        thing->epoch = control->epoch;
        thing->writes = 0;
        thing->write = thing->reads = 0;
    }
    return thing;
}

static bool is_contended(const struct thing *thing)
{
    const uint32_t writers = thing->writers, all = thing->readers | writers;
    return writers && (all & (all - 1)) != 0;
}

/* ---- who can go on ----------------------------------------------------------------------------------- */

static uint32_t changes_of_others(const struct process *process)
{
    return control->changes - process->own_changes;
}

/** Whether a process could make a step now that it could not make in vain. */
static bool can_go_on(const struct process *process)
{
    switch (process->state) {
    case READY:
        return true;
    case BLOCKED:
        return find_thing(process->waits_for)->writes != process->waits_writes;
    case IDLE:
        return changes_of_others(process) != process->idle_changes;
    default:
        return false;
    }
}

/** What all processes have done so far, as far as anybody can tell the order of the steps. */
static uint64_t state_hash(int current, enum cause cause)
{
    uint64_t hash = mix((uint64_t)current + 1, cause);
    for (uint32_t i = 0; i < control->processes; i++) {
        const struct process *p = &control->process[i];
        const uint32_t state = p->state == BLOCKED ? (uint32_t)READY : p->state;
        hash = mix(hash, mix(p->hash, state | p->killed << 8));
    }
    return hash ? hash : 1;
}

/** Notes that this state has been reached. Returns whether an earlier schedule has come here. */
static bool seen_before(uint64_t state)
{
    for (uint64_t tries = 0, at = state; tries < 256; tries++, at++) {
        uint64_t *entry = &control->seen[at % SEEN];
        if (*entry == state)
            return true;
        if (*entry == 0) {
            *entry = state;
            return false;
        }
    }
    return false; /* the table is full here: then more is explored than need be */
}

/* ---- handing over ------------------------------------------------------------------------------------ */

void finish(enum verdict verdict)
{
    if (control->verdict == RUNNING)
        control->verdict = verdict;
    store(&control->done, 1);
    futex_wake(&control->done);
    if (self >= 0)
        for (;;)
            raw_syscall(SYS_pause);
}

void unsupported(const char *what)
{
    strncpy(control->trouble, what, sizeof control->trouble - 1);
    finish(UNSUPPORTED);
}

static void wait_for_turn(void)
{
    struct process *me = &control->process[self];
    while (load(&me->go) == 0)
        futex_wait(&me->go, 0);
    store(&me->go, 0);
    control->turn = (uint32_t)self;
}

static void grant(int chosen)
{
    if (chosen == self)
        return;
    struct process *process = &control->process[chosen];
    control->turn = (uint32_t)chosen;
    store(&process->go, 1);
    futex_wake(&process->go);
    if (self >= 0)
        wait_for_turn();
}

/** Kills a process, as the schedule says, and waits until it is no more. */
static void kill_process(int victim)
{
    struct process *process = &control->process[victim];
    process->killed = 1;
    control->deaths--;
    while (load((uint32_t *)&process->pid) == 0)
        futex_wait((uint32_t *)&process->pid, 0);
    if (process->pid > 1)
        raw_syscall(SYS_kill, process->pid, SIGKILL);
    for (uint32_t state; (state = load(&process->state)) != ENDED;)
        futex_wait(&process->state, state);
}

/* ---- decisions --------------------------------------------------------------------------------------- */

static void log_decision(const struct decision *decision)
{
    if (control->logged < MAX_DECISIONS)
        control->decision[control->logged++] = *decision;
}

/** What the schedule says about a decision; -1: nothing. */
static int prescribed(uint32_t number)
{
    if (control->followed < control->choices && control->followed < MAX_CHOICES &&
        control->choice[control->followed].decision == number)
        return (int)control->choice[control->followed++].choice;
    return -1;
}

int choose_one(uint32_t set)
{
    if ((set & (set - 1)) == 0)
        return set ? __builtin_ctz(set) : -1;
    const uint32_t number = control->decisions++;
    int chosen = prescribed(number);
    if (chosen < 0)
        chosen = __builtin_ctz(set);
    if (chosen >= MAX_PROCESSES || !(set >> chosen & 1)) {
        finish(DIVERGED);
        return -1;
    }
    log_decision(&(struct decision){number, AT_WAKE, (uint32_t)self, (uint32_t)chosen, set, 0, 0});
    return chosen;
}

/** Collects what can happen next. @p best  the set of those that do more than to look again in vain */
static void collect(int current, enum cause cause, struct decision *found, uint32_t *best)
{
    uint32_t idle = 0;
    for (uint32_t i = 0; i < control->processes; i++) {
        const struct process *p = &control->process[i];
        const uint32_t bit = 1u << i;
        if (p->state == ABSENT || p->state == ENDED)
            continue;
        if (control->deaths)
            found->killable |= bit;
        if (can_go_on(p))
            found->ready |= bit;
        else if (p->state == IDLE)
            idle |= bit;
        else if (p->timed)
            found->timeouts |= bit;
        if (p->state == READY && !((int)i == current && cause == AT_PAUSE))
            *best |= bit;
    }
    if (found->ready == 0)
        found->ready = idle;
    if (*best == 0)
        *best = found->ready;
}

/** The process that is next where the schedule says nothing: the same one, else the next that can do something. */
static int default_choice(int current, enum cause cause, uint32_t set)
{
    if (cause == AT_POINT && set >> current & 1)
        return current;
    for (uint32_t i = 1; i <= control->processes; i++) {
        const int next = (int)((uint32_t)(current + (int)i) % control->processes);
        if (set >> next & 1)
            return next;
    }
    return -1;
}

/** Of processes that can time out, the one whose time is over first: so each comes to its turn. */
static int earliest(uint32_t set)
{
    int first = __builtin_ctz(set);
    for (int i = first; i < MAX_PROCESSES; i++)
        if (set >> i & 1 && control->process[i].deadline_ns < control->process[first].deadline_ns)
            first = i;
    return first;
}

void decide(int current, enum cause cause)
{
    for (;;) {
        struct decision found = {control->decisions++, cause, (uint32_t)current, 0, 0, 0, 0};
        uint32_t best = 0;
        collect(current, cause, &found, &best);
        int choice = prescribed(found.number);
        const bool followed = choice >= 0;
        if (!followed)
            choice = default_choice(current, cause, best);
        if (choice < 0 && found.timeouts)
            choice = CHOICE_TIMEOUT | earliest(found.timeouts);
        if (choice < 0) {
            bool living = false;
            for (uint32_t i = 0; i < control->processes; i++)
                living |= control->process[i].state != ENDED && control->process[i].state != ABSENT;
            finish(living ? DEADLOCK : ALL_ENDED);
            return;
        }
        const int chosen = choice & CHOICE_PROCESS;
        const uint32_t allowed = choice & CHOICE_KILL      ? found.killable
                                 : choice & CHOICE_TIMEOUT ? found.timeouts
                                                           : found.ready;
        if (chosen >= MAX_PROCESSES || !(allowed >> chosen & 1)) {
            finish(DIVERGED);
            return;
        }
        /* Something else could happen now, and it would make a difference. */
        const bool matters =
            cause != AT_POINT || control->process[current].contended || control->deaths || !control->explore;
        const uint32_t options = (uint32_t)__builtin_popcount(found.ready) +
                                 (uint32_t)__builtin_popcount(found.timeouts) +
                                 (uint32_t)__builtin_popcount(found.killable);
        if (matters && options > 1) {
            if (control->explore && control->followed == control->choices && !followed &&
                seen_before(state_hash(current, cause))) {
                finish(CUT);
                return;
            }
            found.chosen = (uint32_t)choice;
            if (cause == AT_PAUSE && control->process[current].pauses > FREE_PAUSES)
                found.cause = AT_LATER_PAUSE;
            log_decision(&found);
        }
        struct process *next = &control->process[chosen];
        if (choice & CHOICE_KILL) {
            if (chosen == self) {
                next->killed = 1;
                control->deaths--;
                raw_syscall(SYS_kill, raw_syscall(SYS_getpid), SIGKILL);
            }
            kill_process(chosen);
            if (current == chosen)
                cause = AT_END;
            continue;
        }
        if (choice & CHOICE_TIMEOUT || (next->state == IDLE && !can_go_on(next))) {
            /* Nothing happens, or nothing in time, and so time passes: ever more, so that it is over some day. */
            const uint32_t doublings = control->rounds < 20 ? control->rounds : 20;
            control->clock_ns += (int64_t)1000000 << doublings;
            if (choice & CHOICE_TIMEOUT && control->clock_ns < next->deadline_ns)
                control->clock_ns = next->deadline_ns;
            if (++control->rounds > VAIN_ROUNDS) {
                finish(LIVELOCK);
                return;
            }
            next->timed_out = choice & CHOICE_TIMEOUT ? 1 : 0;
            control->overslept += !followed && next->timed_out;
        }
        grant(chosen);
        return;
    }
}

/* ---- steps ------------------------------------------------------------------------------------------- */

static const volatile void
    *stored_at; /**< what the last step was about to store in, to see what it has stored */
static struct step *stored, *current_step;

uint64_t peek(const volatile void *at, size_t size)
{
    uint64_t value = 0; /* no memcpy(): the linker may have made that a step */
    for (size_t i = 0; i < size && i < 8; i++)
        ((volatile unsigned char *)&value)[i] = ((const volatile unsigned char *)at)[i];
    return value;
}

uint32_t steps_of_self(void)
{
    return control->process[self].steps;
}

struct step *begin_step(enum call call, const void *where)
{
    extern const char __executable_start[] __attribute__((weak));
    if (control->weak && call > STEP_visible) {
        weak_drain(where);
        weak_split(where);
    }
    struct process *me = &control->process[self];
    if (stored) {
        stored->after = peek(stored_at, stored->size);
        stored = NULL;
    }
    me->touches = 0;
    struct step *step = &me->next;
    memset(step, 0, offsetof(struct step, text) + 1);
    step->process = (uint8_t)self;
    step->call = (uint8_t)call;
    step->file = -1;
    step->where = (uint64_t)((uintptr_t)where - (uintptr_t)__executable_start);
    return step;
}

void expect_store(const volatile void *at)
{
    stored_at = at;
    stored = current_step;
}

void touch(uint64_t thing, bool changes)
{
    struct process *me = &control->process[self];
    if (me->touches < MAX_TOUCHED)
        me->touched[me->touches++] = (struct touch){thing, changes};
}

void set_changes(uint32_t nth, bool changes)
{
    if (nth < control->process[self].touches)
        control->process[self].touched[nth].changes = changes;
}

/** Writes the step down that this process is about to make. */
static void log_step(void)
{
    if (control->steps >= MAX_STEPS)
        finish(TOO_LONG);
    struct process *me = &control->process[self];
    current_step = &control->step[control->steps++];
    *current_step = me->next;
    me->steps++;
}

/** Whether the step is a call: with weak memory that lets everything out, and everything in. */
static bool is_call(const struct step *step)
{
    return step->call > STEP_visible;
}

void enter_step(void)
{
    struct process *me = &control->process[self];
    if (is_call(&me->next))
        weak_begin(true, true);
    me->contended = 0;
    for (uint32_t i = 0; i < me->touches; i++) {
        struct thing *thing = find_thing(me->touched[i].id);
        me->contended |= is_contended(thing);
    }
    me->state = READY;
    decide(self, AT_POINT);
    log_step();
    if (is_call(&me->next))
        weak_release();
}

/** Counts the step as made: what depends on it comes after it. */
static void commit(void)
{
    struct process *me = &control->process[self];
    uint64_t hash = mix(me->hash, me->next.call);
    bool changes = false;
    for (uint32_t i = 0; i < me->touches; i++) {
        struct thing *thing = find_thing(me->touched[i].id);
        hash = mix(mix(hash, thing->id), thing->write);
        if (me->touched[i].changes)
            hash = mix(hash, thing->reads);
    }
    for (uint32_t i = 0; i < me->touches; i++) {
        struct thing *thing = find_thing(me->touched[i].id);
        const bool before = is_contended(thing);
        if (me->touched[i].changes) {
            thing->write = hash;
            thing->reads = 0;
            thing->writes++;
            thing->writers |= 1u << self;
            changes = true;
        } else {
            thing->reads += hash;
            thing->readers |= 1u << self;
        }
        if (!before && is_contended(thing))
            control->grown = 1;
    }
    me->hash = hash;
    if (changes) {
        control->changes++;
        me->own_changes++;
    }
}

void note_change(uint64_t id, int process)
{
    struct thing *thing = find_thing(id);
    const bool before = is_contended(thing);
    thing->write = mix(control->process[process].hash, thing->reads);
    thing->reads = 0;
    thing->writes++;
    thing->writers |= 1u << process;
    if (!before && is_contended(thing))
        control->grown = 1;
}

void leave_step(int64_t result, int error)
{
    current_step->result = result;
    current_step->error = error;
    commit();
    if (is_call(current_step))
        weak_acquire();
}

void switch_point(void)
{
    enter_step();
    commit();
}

bool wait_for(struct waiting waiting)
{
    struct process *me = &control->process[self];
    if (!waiting.timed && timer_interrupts())
        unsupported("a timer whose signal interrupts a wait");
    current_step->waits = 1;
    me->waits_for = waiting.thing;
    me->waits_writes = find_thing(waiting.thing)->writes;
    me->timed = waiting.timed;
    me->deadline_ns = waiting.deadline_ns;
    me->private_wait = (uint32_t)waiting.private;
    me->timed_out = me->woken = 0;
    if (waiting.asleep || waiting.private) {
        me->hash = mix(me->hash, mix(waiting.thing, find_thing(waiting.thing)->write));
        find_thing(waiting.thing)->write =
            me->hash; /* whoever wakes comes before it or after it: that differs */
    }
    me->state = waiting.asleep || waiting.private ? ASLEEP : BLOCKED;
    decide(self, AT_WAIT);
    me->state = READY;
    me->timed = 0;
    log_step();
    if (me->timed_out)
        me->hash = mix(me->hash, 1);
    else if (waiting.asleep || waiting.private)
        me->hash = mix(me->hash, find_thing(waiting.thing)->write);
    return !me->timed_out;
}

void pause_step(void)
{
    struct process *me = &control->process[self];
    static uint32_t last = UINT32_MAX;
    const uint32_t others = changes_of_others(me);
    me->idle_changes =
        others == last ? others : others - 1; /* the first look after a change may go on at once */
    last = others;
    weak_begin(true, true); /* some day all that is stored gets out, and in */
    me->contended = 0;
    me->pauses++;
    me->state = IDLE;
    decide(self, AT_PAUSE);
    me->state = READY;
    log_step();
    weak_release();
    commit();
    weak_acquire();
}
