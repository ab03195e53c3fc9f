/**
 * @file
 * @brief API cards: mappings and pages.
 */
/**
 * @defgroup cards_mapping Mappings and pages
 * @brief What puts memory into the address space of a process, protects it, writes it back and takes it
 * out.
 * @{
 */

/**
 * @brief Maps a file, an object or new memory into this process.
 *
 * A child inherits its parent's mappings by fork; exec and the end of the process drop them. Closing the
 * descriptor does not.
 *
 * @param address     where it should be; NULL leaves that to the kernel
 * @param length      bytes, more than 0; the mapping has whole pages
 * @param protection  `PROT_READ`, `PROT_WRITE`, `PROT_EXEC`, or `PROT_NONE`
 * @param flags       `MAP_SHARED` or `MAP_PRIVATE`, and `MAP_ANONYMOUS`, `MAP_FIXED`, …
 * @param descriptor  what is mapped; -1 with `MAP_ANONYMOUS`: Linux ignores it there, other systems insist on -1
 * @param offset      where in the file the mapping begins: a multiple of the page size
 * @return            the address; `MAP_FAILED` on failure
 *
 * @par Errors
 * - `EINVAL`: the length is 0, the offset is not a multiple of the page size, or neither or both of shared and
 *   private are set.
 * - `EACCES`: the descriptor is not open for reading, or the mapping would be shared and writable and the
 *   descriptor is not open for both.
 * - `ENOMEM`: no room in the address space, or too many mappings.
 * - `EBADF`: the descriptor is not open.
 * - `ENODEV`: what the descriptor stands for cannot be mapped.
 * - `EPERM`: a seal forbids it: `F_SEAL_WRITE`, `F_SEAL_FUTURE_WRITE`.
 *
 * @par Pitfalls
 * - Failure is `MAP_FAILED`, not NULL.
 * - It may reach past the end of the object. Beyond the last page with a byte of the object an access is a SIGBUS;
 *   the rest of that page reads as zero bytes; stores there never reach the file.
 * - It reserves no memory, not even with `MAP_POPULATE`.
 *
 * @see mmap(2), mmap(3p)
 */
void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset);

/**
 * @brief Takes pages out of the address space. An access to them is a SIGSEGV from then on.
 *
 * @param address  where it begins: a multiple of the page size
 * @param length   bytes, more than 0; every page that has one of them goes
 * @return         0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: the address is not a multiple of the page size, or the length is 0.
 * - `ENOMEM`: a mapping would be cut in two, and there are too many already.
 *
 * @par Pitfalls
 * - It is not an error if nothing is mapped there.
 * - A length that is too short leaves pages behind.
 * - The object, its name and its bytes stay.
 *
 * @see munmap(2), munmap(3p)
 */
int munmap(void *address, size_t length);

/**
 * @brief Writes the changed pages of a shared file mapping back to the file.
 *
 * Other processes that have the file mapped need no `msync`: they see each store at once. It is for the
 * disk.
 *
 * @param address  where it begins: a multiple of the page size
 * @param length   bytes
 * @param flags    `MS_SYNC` or `MS_ASYNC`
 * @return         0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: the address is not a multiple of the page size, or the flags make no sense.
 * - `ENOMEM`: part of the range is not mapped.
 * - `EIO`: the disk could not be written.
 *
 * @par Pitfalls
 * - A text that begins in the middle of a page and ends in the next needs the length counted from the
 *   page's start.
 *
 * @see msync(2), msync(3p)
 */
int msync(void *address, size_t length, int flags);

/**
 * @brief Changes what may be done with mapped pages.
 *
 * @param address     where it begins: a multiple of the page size
 * @param length      bytes
 * @param protection  as for `mmap`
 * @return            0; -1 on failure
 *
 * @par Errors
 * - `EACCES`: the mapping cannot get that permission: a shared one of a file that was opened for reading only, say.
 * - `EINVAL`: the address is not a multiple of the page size.
 * - `ENOMEM`: part of the range is not mapped.
 *
 * @par Pitfalls
 * - It changes this process only. The others keep their permissions.
 *
 * @see mprotect(2), mprotect(3p)
 */
int mprotect(void *address, size_t length, int protection);

/**
 * @brief Asks the system for a value that is fixed while it runs, the size of a page above all.
 *
 * @param name  `_SC_PAGESIZE`, `_SC_NPROCESSORS_ONLN`, …
 * @return      the value; -1 if there is none or the name is unknown
 *
 * @par Errors
 * - `EINVAL`: the name is unknown. For a limit that does not exist the result is -1 as well, and `errno` is
 *   unchanged.
 *
 * @par Pitfalls
 * - 4096 in the source is right on one machine and wrong on the next: pages of 16 and 64 KiB are common on
 *   ARM.
 *
 * @see sysconf(3), sysconf(3p)
 */
long sysconf(int name);

/**
 * @brief `sysconf`: bytes in a page.
 *
 * @see sysconf(3), unistd.h(0p)
 */
#define _SC_PAGESIZE

/**
 * @brief `mmap`: stores go to the memory that all who map it share, and to the file.
 *
 * In `/proc/PID/maps` such a mapping has an `s`.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define MAP_SHARED

/**
 * @brief `mmap`: a store makes a copy of the page for this process alone. No other process sees it, and the file
 * does not change.
 *
 * In `/proc/PID/maps` such a mapping has a `p`. What others store may or may not be seen, until the page
 * was copied.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define MAP_PRIVATE

/**
 * @brief `mmap`: new memory, all zero bytes, with no file behind it.
 *
 * If shared, it is shared with the processes that this one forks. In POSIX since 2024; `-std=c17` needs
 * `_DEFAULT_SOURCE`.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define MAP_ANONYMOUS

/**
 * @brief `mmap`: exactly at this address. A mapping that is already there is silently replaced.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define MAP_FIXED

/**
 * @brief `mmap`, Linux: get the pages at once. It is not an error if they are not available.
 *
 * @see mmap(2)
 */
#define MAP_POPULATE

/**
 * @brief What `mmap` returns if it fails: `(void *)-1`.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define MAP_FAILED

/**
 * @brief `mmap`, `mprotect`: the pages may be read.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define PROT_READ

/**
 * @brief `mmap`, `mprotect`: the pages may be written. On most machines that lets them be read, too: ask
 * for both.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define PROT_WRITE

/**
 * @brief `mmap`, `mprotect`: the pages may be run as code.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define PROT_EXEC

/**
 * @brief `mmap`, `mprotect`: any access is a SIGSEGV.
 *
 * @see mmap(2), sys_mman.h(0p)
 */
#define PROT_NONE

/**
 * @brief `msync`: return when everything has been written, and report a failure.
 *
 * @see msync(2), sys_mman.h(0p)
 */
#define MS_SYNC

/**
 * @brief `msync`: write it some time soon. On Linux the call does nothing: that is what happens anyway.
 *
 * @see msync(2), sys_mman.h(0p)
 */
#define MS_ASYNC

/** @} */
