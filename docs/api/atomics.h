/**
 * @file
 * @brief API cards: C11 atomics and the futex.
 */
/**
 * @defgroup cards_atomics Atomics and the futex
 * @brief Single words that several processes read and write at once, and how to sleep on one.
 *
 * The functions are generic: `A` stands for any atomic type, `C` for the plain type that belongs to it. In shared
 * memory an atomic must be lock-free, because a lock inside one process does not exclude another process. It is
 * then also address-free: each process may map it at a different address. Two accesses that are not both atomic,
 * one of them a store, are a data race unless one happens before the other: undefined behaviour. None of the
 * functions can fail, except the last two, which call the kernel.
 * @{
 */

/**
 * @brief Reads an atomic as a whole, with `memory_order_seq_cst`.
 *
 * @param object  the atomic
 * @return        its value
 *
 * @par Pitfalls
 * - Between two loads, another process may store.
 *
 * @see stdatomic.h(0p)
 */
C atomic_load(const volatile A *object);

/**
 * @brief Reads an atomic as a whole.
 *
 * @param object  the atomic
 * @param order   `memory_order_acquire`, `memory_order_relaxed` or `memory_order_seq_cst`
 * @return        its value
 *
 * @par Pitfalls
 * - With `memory_order_relaxed` the value says nothing about other data: use `memory_order_acquire` before you read
 *   that data.
 *
 * @see stdatomic.h(0p)
 */
C atomic_load_explicit(const volatile A *object, memory_order order);

/**
 * @brief Stores to an atomic as a whole, with `memory_order_seq_cst`.
 *
 * @param object  the atomic
 * @param value   what is stored
 *
 * @par Pitfalls
 * - A load, a sum and a store are three steps, and what others store in between is lost: use `atomic_fetch_add`.
 *
 * @see stdatomic.h(0p)
 */
void atomic_store(volatile A *object, C value);

/**
 * @brief Stores to an atomic as a whole.
 *
 * @param object  the atomic
 * @param value   what is stored
 * @param order   `memory_order_release`, `memory_order_relaxed` or `memory_order_seq_cst`
 *
 * @par Pitfalls
 * - With `memory_order_relaxed` the value may be seen before the data that was stored ahead of it: use
 *   `memory_order_release`.
 *
 * @see stdatomic.h(0p)
 */
void atomic_store_explicit(volatile A *object, C value, memory_order order);

/**
 * @brief Adds to an atomic in one indivisible step.
 *
 * @param object  the atomic
 * @param value   what is added
 * @return        the value before the addition
 *
 * @par Pitfalls
 * - Unsigned atomics wrap around, and so do signed ones, without being undefined.
 * - No addition is lost, but the total is final only after all others have finished.
 *
 * @see stdatomic.h(0p)
 */
C atomic_fetch_add(volatile A *object, M value);

/**
 * @brief As `atomic_fetch_add`, with a memory order of your choice; `memory_order_relaxed` is enough for a plain
 * count.
 *
 * @param object  the atomic
 * @param value   what is added
 * @param order   the order
 * @return        the value before the addition
 *
 * @par Pitfalls
 * - With `memory_order_relaxed` the count is right, but it says nothing about other memory.
 *
 * @see stdatomic.h(0p)
 */
C atomic_fetch_add_explicit(volatile A *object, M value, memory_order order);

/**
 * @brief In one step, stores a value if the atomic has the expected one; otherwise returns the one it has.
 *
 * @param object    the atomic
 * @param expected  the expected value; receives the value found
 * @param value     what is stored
 * @return          whether it was stored
 *
 * @par Pitfalls
 * - When it fails, it has overwritten `expected` with what it found. In a loop, compute the new value
 *   again from that.
 *
 * @see stdatomic.h(0p)
 */
_Bool atomic_compare_exchange_strong(volatile A *object, C *expected, C value);

/**
 * @brief Keeps memory accesses before it and after it in order, as the memory order requires.
 *
 * With `memory_order_seq_cst` a load behind it cannot overtake a store before it, which release and acquire
 * allow.
 *
 * @param order  the order
 *
 * @par Pitfalls
 * - A fence in one process alone orders nothing for the other: both sides need one, or an atomic with
 *   an order.
 *
 * @see stdatomic.h(0p), membarrier(2)
 */
void atomic_thread_fence(memory_order order);

/**
 * @brief The access is indivisible, but provides no order with other memory.
 *
 * @see stdatomic.h(0p)
 */
#define memory_order_relaxed

/**
 * @brief Of a load: what was stored before the release store of the value that is read happens before what
 * follows the load.
 *
 * @see stdatomic.h(0p)
 */
#define memory_order_acquire

/**
 * @brief Of a store: a process that reads the value with acquire sees all that was stored before.
 *
 * @see stdatomic.h(0p)
 */
#define memory_order_release

/**
 * @brief Acquire and release, and a single order of all such accesses, the same for all threads.
 *
 * @see stdatomic.h(0p)
 */
#define memory_order_seq_cst

/**
 * @brief 2 if an atomic `int` is always lock-free, so that it works between processes. Assert it.
 *
 * @see stdatomic.h(0p)
 */
#define ATOMIC_INT_LOCK_FREE

/**
 * @brief 2 if an atomic `long long` is always lock-free, so that it works between processes. Assert it.
 *
 * @see stdatomic.h(0p)
 */
#define ATOMIC_LLONG_LOCK_FREE

/**
 * @brief Sleeps on a 32-bit word of shared memory, or wakes those that sleep on it. Linux; the C library has no
 * function for it.
 *
 * One system call with several operations, written `syscall(SYS_futex, …)`. Comparing and falling asleep are one
 * step: a wake-up in between is not lost. Semaphores, mutexes and condition variables of glibc and musl are built
 * on it.
 *
 * @param word       the word, aligned; where it is mapped does not matter, the memory behind it does
 * @param operation  `FUTEX_WAIT` or `FUTEX_WAKE`, and `FUTEX_PRIVATE_FLAG`
 * @param value      to wait: the value that the word has to have; to wake: how many
 * @param timeout    to wait: how long at most; NULL: as long as it takes
 * @return           to wait: 0; to wake: how many were woken; -1 on failure
 *
 * @par Errors
 * - `EAGAIN`: the word does not have the value. Test your condition again: it has changed.
 * - `ETIMEDOUT`: the time is up.
 * - `EINTR`: a signal handler has run.
 * - `EINVAL`: the word is not aligned, or the operation is unknown.
 *
 * @par Pitfalls
 * - It may return 0 without a wake-up: test the condition again.
 * - `FUTEX_PRIVATE_FLAG` looks for sleepers in this process only.
 *
 * @see futex(2), futex(7)
 */
long futex(uint32_t *word, int operation, uint32_t value, const struct timespec *timeout);

/**
 * @brief Calls the kernel by a call's number: for those calls that the C library has no function for, such
 * as `futex`.
 *
 * @param number  `SYS_futex`, `SYS_gettid`, …
 * @return        what the call returns; -1 on failure, with the reason in `errno`
 *
 * @par Errors
 * - `ENOSYS`: this kernel has no such call.
 * - Else those of the call.
 *
 * @par Pitfalls
 * - Numbers and arguments differ from one kind of machine to another: take the `SYS_` name, and see the
 *   call's own man page.
 *
 * @see syscall(2)
 */
long syscall(long number, ...);

/**
 * @brief `futex`: sleep if the word has this value.
 *
 * @see futex(2)
 */
#define FUTEX_WAIT

/**
 * @brief `futex`: wake some of those that sleep on the word.
 *
 * @see futex(2)
 */
#define FUTEX_WAKE

/**
 * @brief `futex`: only the threads of this process. Between processes no sleeper is ever found.
 *
 * @see futex(2)
 */
#define FUTEX_PRIVATE_FLAG

/** @} */
