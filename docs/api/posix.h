/**
 * @file
 * @brief API cards: POSIX shared memory objects and files.
 */
/**
 * @defgroup cards_posix POSIX: objects with a name and a size
 * @brief Objects that are named by a path, and the calls that name, measure and size what has a descriptor.
 * @{
 */

/**
 * @brief Opens or creates a shared memory object by its name, and returns a descriptor.
 *
 * A new object has size 0 and no memory. On Linux it is a file in `/dev/shm`. The descriptor is closed on
 * exec.
 *
 * @param name   a slash, and after it no other slash
 * @param flags  `O_RDONLY` or `O_RDWR`, and `O_CREAT`, `O_EXCL`, `O_TRUNC`
 * @param mode   permissions of a new object, less the umask; always required; 0 without `O_CREAT`
 * @return       the descriptor; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: no object has the name, and `O_CREAT` was not given.
 * - `EEXIST`: an object has the name, and `O_CREAT` and `O_EXCL` were given.
 * - `EACCES`: the mode of the object does not allow it, or `O_TRUNC` was given without the right to write.
 * - `EINVAL`: the name is not valid: empty, or with a second slash.
 * - `ENAMETOOLONG`: the name has more than 255 bytes.
 * - `EMFILE`, `ENFILE`: this process, or the whole system, has too many open files.
 *
 * @par Pitfalls
 * - A new object is empty: to map it and store is a SIGBUS until `ftruncate` has given it a size.
 * - `O_WRONLY` is of no use: a mapping has to be able to read.
 * - A program that is killed leaves the name behind. The next run gets `EEXIST`, or uses the old object.
 * - `-lrt` is needed before glibc 2.34, and does no harm after it.
 *
 * @see shm_open(3), shm_overview(7), shm_open(3p)
 */
int shm_open(const char *name, int flags, mode_t mode);

/**
 * @brief Removes the name of an object. The object exists until its last mapping and descriptor are gone.
 *
 * @param name  the name, as for `shm_open`
 * @return      0; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: no object has the name.
 * - `EACCES`: the object belongs to another user.
 *
 * @par Pitfalls
 * - A process that then opens or creates the name gets another object; those that have the old one do not notice.
 * - The permission to remove a name comes from its directory, `/dev/shm`, not from the mode of the object.
 *
 * @see shm_unlink(3), shm_unlink(3p)
 */
int shm_unlink(const char *name);

/**
 * @brief Gives a file or an object exactly this size: cuts off what is beyond it, or adds zero bytes.
 *
 * @param descriptor  open for writing
 * @param length      the new size in bytes
 * @return            0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: the descriptor is not open for writing, or the size is negative.
 * - `EFBIG`: the size is more than the system or a limit of the process allows (then also SIGXFSZ).
 * - `EPERM`: a seal forbids it: `F_SEAL_SHRINK`, `F_SEAL_GROW`.
 *
 * @par Pitfalls
 * - It reserves no memory. With `/dev/shm` full it succeeds, and the first store is a SIGBUS: see
 *   `posix_fallocate`.
 * - A process that has the removed pages mapped gets a SIGBUS at its next access.
 *
 * @see ftruncate(2), ftruncate(3p)
 */
int ftruncate(int descriptor, off_t length);

/**
 * @brief Reserves memory or disk space for a range, and makes the file longer where the range goes past its
 * end.
 *
 * What is in the range already stays as it is. It never makes a file shorter.
 *
 * @param descriptor  open for writing
 * @param offset      where the range begins
 * @param length      its bytes, more than 0
 * @return            0; on failure the error number. `errno` is not set
 *
 * @par Errors
 * - `ENOSPC`: there is not that much room.
 * - `EINVAL`: the range is empty or begins before the file.
 * - `EBADF`: the descriptor is not open for writing.
 * - `EFBIG`: the file would be too large.
 * - `EINTR`: a signal came in between.
 *
 * @par Pitfalls
 * - The result is never -1. `if (posix_fallocate(…) == -1)` never detects a failure.
 *
 * @see posix_fallocate(3), posix_fallocate(3p)
 */
int posix_fallocate(int descriptor, off_t offset, off_t length);

/**
 * @brief Asks about an open file or object: its size (`st_size`), kind and mode (`st_mode`), links, blocks.
 *
 * @param descriptor  any open descriptor
 * @param status      where the answer goes
 * @return            0; -1 on failure
 *
 * @par Errors
 * - `EBADF`: the descriptor is not open.
 *
 * @par Pitfalls
 * - The size is that of this moment. Another process can change it, unless seals forbid that.
 * - A size of 0 may mean that the object's creator has not called `ftruncate` yet.
 *
 * @see fstat(2), fstat(3p)
 */
int fstat(int descriptor, struct stat *status);

/**
 * @brief Opens or creates a file, and returns a descriptor.
 *
 * @param path   the file
 * @param flags  `O_RDONLY`, `O_WRONLY` or `O_RDWR`, and `O_CREAT`, `O_EXCL`, `O_TRUNC`, …
 * @param mode   permissions of a new file, less the umask; only with `O_CREAT`
 * @return       the descriptor; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: there is no such file, and `O_CREAT` was not given.
 * - `EEXIST`: there is one, and `O_CREAT` and `O_EXCL` were given.
 * - `EACCES`: the file, or a directory in its path, does not permit it.
 *
 * @par Pitfalls
 * - A shared mapping for writing needs `O_RDWR`: with `O_WRONLY`, `mmap` fails with `EACCES`.
 *
 * @see open(2), open(3p)
 */
int open(const char *path, int flags, mode_t mode);

/**
 * @brief Closes a descriptor. A mapping made with it stays.
 *
 * @param descriptor  an open descriptor
 * @return            0; -1 on failure; on Linux it is closed in both cases
 *
 * @par Errors
 * - `EBADF`: it is not open.
 * - `EIO`: an earlier write went wrong.
 *
 * @par Pitfalls
 * - Closing any descriptor of a file drops all record locks (`F_SETLKW`) that the process holds on that
 *   file.
 *
 * @see close(2), close(3p)
 */
int close(int descriptor);

/**
 * @brief Gives a file a second name. Fails if the new name exists already: of several processes one succeeds, and
 * all others get an error.
 *
 * That makes it the last step of a race-free start: an object that was set up under another name gets the common
 * name only when it is complete.
 *
 * @param old  a name of the file
 * @param name the name that it gets
 * @return     0; -1 on failure
 *
 * @par Errors
 * - `EEXIST`: the new name is taken.
 * - `ENOENT`: the file, or a directory of either name, does not exist.
 * - `EXDEV`: the names are on different file systems.
 *
 * @par Pitfalls
 * - Both names have to be on one file system. It is never a copy: what is stored under one name is seen
 *   under the other.
 *
 * @see link(2), link(3p)
 */
int link(const char *old, const char *name);

/**
 * @brief Removes a name of a file or of a socket. The file exists until its last descriptor and mapping are gone.
 *
 * @param path  the name
 * @return      0; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: there is no such name.
 * - `EACCES`, `EPERM`: the directory does not permit it.
 *
 * @par Pitfalls
 * - It removes whatever has the name now, perhaps another process's new file: unlink only what you created.
 * - The space is freed only with the last descriptor and mapping.
 *
 * @see unlink(2), unlink(3p)
 */
int unlink(const char *path);

/**
 * @brief `shm_open`, `open`: for reading only.
 *
 * @see open(2), fcntl.h(0p)
 */
#define O_RDONLY

/**
 * @brief `open`: for writing only. No mapping can be made with such a descriptor.
 *
 * @see open(2), fcntl.h(0p)
 */
#define O_WRONLY

/**
 * @brief `shm_open`, `open`: for reading and writing.
 *
 * @see open(2), fcntl.h(0p)
 */
#define O_RDWR

/**
 * @brief `shm_open`, `open`: make it if it is not there.
 *
 * @see open(2), fcntl.h(0p)
 */
#define O_CREAT

/**
 * @brief `shm_open`, `open`, with `O_CREAT`: fail with `EEXIST` if it is there. Test and creation are one step.
 *
 * @see open(2), fcntl.h(0p)
 */
#define O_EXCL

/**
 * @brief `shm_open`, `open`: make it empty. A process that has it mapped gets a SIGBUS at its next access.
 *
 * @see open(2), fcntl.h(0p)
 */
#define O_TRUNC

/**
 * @brief `open`, Linux: creates a file without a name in a directory, which `linkat` can give one later.
 *
 * @see open(2)
 */
#define O_TMPFILE

/** @} */
