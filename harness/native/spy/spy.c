/**
 * @file
 * @brief Records a program's shared-memory calls, stops the program after a call, or makes a call fail.
 *
 * This file includes the parts, so they are one translation unit. It is built in two ways:
 *
 *     cc -c spy.c -o spy.o            linked into a lab's program with -Wl,--wrap=mmap,--wrap=shmget…:
 *                                     sees exactly the calls that the program itself makes
 *     ld -r --wrap=mmap --wrap=shmget… program.o spy.o -o wrapped.o; cc -static wrapped.o
 *                                     the same for a static program, where -Wl,--wrap would also redirect
 *                                     the calls that the C library makes internally
 *     cc -shared -fPIC -DSPY_PRELOAD spy.c -o spy.so -ldl
 *                                     LD_PRELOAD for any dynamic program; calls from its libraries are
 *                                     recorded too, and marked
 *
 * The environment controls it. Without SHMLAB_RING nothing is recorded.
 *
 *     SHMLAB_RING   file that contains the ring, see struct ring
 *     SHMLAB_STOPS  datagram socket on which each stop is announced before it happens
 *
 * Beside that socket, as `rules`, the box answers with the rules: `stop CALL N WHO` and `fail CALL N ERRNO WHO`,
 * separated by `;`.
 *
 * A `stop` stops the process after the call, a `fail` makes the call fail with ERRNO. N is the number of the
 * call, counted from 1 in each process; 0 means every call. WHO is `p` (the program), `c` (the children that it
 * creates) or `a` (both). CALL may be `*`, for every call and the `start` and `end` below. For write(), an ERRNO of -K is not an error: the call writes at most K bytes. Three
 * values of CALL are not function calls:
 *
 *     start  before main()
 *     end    the end of the process, unless a signal ends it; if it fails, ERRNO is the exit status
 *     store  the first store to a shared mapping; the process stops before it. A load that belongs to the store,
 *            but is a separate instruction, is already done by then.
 *
 * Of the rules the program finds nothing before the recorder has asked: one that knew which call will fail could
 * pretend to have noticed. The box notices who asks a second time. A program that searches the recorder's memory can
 * still find them. execve(2) ends them.
 *
 * All processes of a run append to one ring in shared memory with one atomic addition. When it is full, the
 * newest record overwrites the oldest. A record is in the ring before its call returns. A program can write to
 * the ring as well, so records explain what happened but prove nothing.
 */
#include "spy.h"

/* In the order in which they depend on each other. */
#ifdef SPY_PRELOAD
#include "preload.c"
#endif
#include "record.c"
#include "rules.c"
#include "stores.c"
#include "mappings.c"
#include "init.c"
#include "wrappers.c"
#include "processes.c"
#include "vfork.c"
