/**
 * @file
 * @brief API cards: memory without a name, and how to pass a descriptor to an unrelated process.
 */
/**
 * @defgroup cards_passing Memfds, seals and passing descriptors
 * @brief Memory that has no name, handed to another process through a socket, and what keeps both safe.
 * @{
 */

/**
 * @brief Creates an object like those of `shm_open` but without a name, and returns its descriptor. Linux, not
 * POSIX.
 *
 * @param label  what `/proc` shows after `/memfd:`; any number of objects may have the same
 * @param flags  `MFD_CLOEXEC`, `MFD_ALLOW_SEALING`, `MFD_NOEXEC_SEAL`
 * @return       the descriptor; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: an unknown flag, or a label of more than 249 bytes.
 * - `EMFILE`, `ENFILE`: this process, or the whole system, has too many open files.
 * - `ENOMEM`: no memory.
 * - `EACCES`: it should be executable (`MFD_EXEC`), and `vm.memfd_noexec` is 2.
 *
 * @par Pitfalls
 * - Without `MFD_ALLOW_SEALING` the object has `F_SEAL_SEAL` from the start (unless `vm.memfd_noexec` is set).
 * - It has size 0: see `ftruncate`. No limit of `/dev/shm` holds it, only memory does.
 *
 * @see memfd_create(2)
 */
int memfd_create(const char *label, unsigned int flags);

/**
 * @brief Does several things to a descriptor; in the labs: adds and reads seals, and locks a file.
 *
 * @param descriptor  the descriptor
 * @param command     `F_ADD_SEALS`, `F_GET_SEALS`, `F_SETLK`, `F_SETLKW`, …
 * @return            depends on the command; -1 on failure
 *
 * @par Errors
 * - `EPERM`: `F_ADD_SEALS` after `F_SEAL_SEAL`, or the descriptor is not open for writing.
 * - `EBUSY`: `F_SEAL_WRITE` while a shared mapping for writing exists.
 * - `EINVAL`: what the descriptor stands for can have no seals (a file on a disk), or the command is
 *   unknown.
 * - `EAGAIN`, `EACCES`: `F_SETLK`, and another process has a lock.
 * - `EINTR`: `F_SETLKW` was waiting when a signal handler ran.
 * - `EDEADLK`: `F_SETLKW` would wait in a circle.
 *
 * @par Pitfalls
 * - A record lock belongs to the process, not to the descriptor, and goes when *any* descriptor of the file
 *   is closed. A child does not inherit it. `F_OFD_SETLKW` has neither trait.
 *
 * @see fcntl(2), fcntl(3p)
 */
int fcntl(int descriptor, int command, ...);

/**
 * @brief `memfd_create`: close the descriptor on exec.
 *
 * @see memfd_create(2)
 */
#define MFD_CLOEXEC

/**
 * @brief `memfd_create`: seals may be added.
 *
 * @see memfd_create(2)
 */
#define MFD_ALLOW_SEALING

/**
 * @brief `memfd_create`, since Linux 6.3: the object cannot be executed or made executable; seals may be added.
 *
 * With the sysctl `vm.memfd_noexec` at 1 or 2 it applies to every memfd without `MFD_EXEC`, and at 2 `MFD_EXEC` fails
 * with `EACCES`.
 *
 * @see memfd_create(2)
 */
#define MFD_NOEXEC_SEAL

/**
 * @brief `fcntl`: add seals. They cannot be taken off again.
 *
 * @see fcntl(2)
 */
#define F_ADD_SEALS

/**
 * @brief `fcntl`: which seals are there? The only way to know whether memory from an untrusted process can shrink.
 *
 * @see fcntl(2)
 */
#define F_GET_SEALS

/**
 * @brief A seal: no process can make the object smaller, so no reader gets a SIGBUS.
 *
 * @see fcntl(2)
 */
#define F_SEAL_SHRINK

/**
 * @brief A seal: no process can make the object larger.
 *
 * @see fcntl(2)
 */
#define F_SEAL_GROW

/**
 * @brief A seal: no process can write, not even through a mapping. Refused (`EBUSY`) while a shared mapping for
 * writing exists.
 *
 * @see fcntl(2)
 */
#define F_SEAL_WRITE

/**
 * @brief A seal: no `write` and no new mapping for writing, while those that exist stay as they are. Since
 * Linux 5.1.
 *
 * @see fcntl(2)
 */
#define F_SEAL_FUTURE_WRITE

/**
 * @brief A seal: no more seals. It goes on last.
 *
 * @see fcntl(2)
 */
#define F_SEAL_SEAL

/**
 * @brief `fcntl`: lock a range of a file (a `struct flock`), and sleep until it can be had.
 *
 * The kernel drops the lock when the process ends, however it ends: that makes it good for a race at the
 * start.
 *
 * @see fcntl(2), fcntl.h(0p)
 */
#define F_SETLKW

/**
 * @brief `fcntl`: lock a range of a file, as `F_SETLKW`, but fail at once if another process has it.
 *
 * A process that holds a lock is alive. So a lock held for as long as a program serves tells a second one, or the next
 * one, whether the first is still there.
 *
 * @see fcntl(2), fcntl.h(0p)
 */
#define F_SETLK

/**
 * @brief `fcntl`: as `F_SETLKW`, with a lock that belongs to the open file description (OFD). In POSIX since 2024.
 *
 * Closing another descriptor of the file leaves it, and a child has it, too. It goes with the last descriptor of the
 * description. `l_pid` has to be 0.
 *
 * @see fcntl(2), fcntl.h(0p)
 */
#define F_OFD_SETLKW

/**
 * @brief `struct flock`: a lock for writing, which one process has at a time.
 *
 * @see fcntl(2), fcntl.h(0p)
 */
#define F_WRLCK

/**
 * @brief Creates a socket and returns its descriptor.
 *
 * @param domain    `AF_UNIX`: for processes of this machine
 * @param type      `SOCK_STREAM`, and `SOCK_CLOEXEC`
 * @param protocol  0
 * @return          the descriptor; -1 on failure
 *
 * @par Errors
 * - `EMFILE`, `ENFILE`: this process, or the whole system, has too many open files.
 *
 * @par Pitfalls
 * - Without `SOCK_CLOEXEC` a program that is started by exec has it, too.
 *
 * @see socket(2), unix(7), socket(3p)
 */
int socket(int domain, int type, int protocol);

/**
 * @brief Gives a socket its name; for `AF_UNIX` that makes a file.
 *
 * @param descriptor  the socket
 * @param address     a `struct sockaddr_un` with the path
 * @param length      its size
 * @return            0; -1 on failure
 *
 * @par Errors
 * - `EADDRINUSE`: there is something under that name, perhaps an old socket, which is not removed automatically.
 * - `ENOENT`, `EACCES`: the directory does not exist, or does not permit it.
 *
 * @par Pitfalls
 * - A path has room for 107 bytes. If you unlink the name first, you take it from a process that may be using it.
 *
 * @see bind(2), unix(7), bind(3p)
 */
int bind(int descriptor, const struct sockaddr *address, socklen_t length);

/**
 * @brief Lets others connect to a socket that has a name.
 *
 * @param descriptor  the socket
 * @param waiting     how many may wait for `accept`
 * @return            0; -1 on failure
 *
 * @par Errors
 * - `EINVAL`: it has no name, or is connected.
 *
 * @par Pitfalls
 * - Before it, `connect` fails with `ECONNREFUSED`, though the file is there already.
 *
 * @see listen(2), listen(3p)
 */
int listen(int descriptor, int waiting);

/**
 * @brief Waits for a connection, and returns a descriptor for it.
 *
 * @param descriptor  the socket that listens
 * @param address     where the other's address goes; NULL will do
 * @param length      its size; NULL will do
 * @return            a new descriptor; -1 on failure
 *
 * @par Errors
 * - `EINTR`: a signal handler has run.
 * - `EMFILE`: this process has too many open files.
 *
 * @par Pitfalls
 * - The new descriptor does not inherit `SOCK_CLOEXEC`.
 *
 * @see accept(2), accept(3p)
 */
int accept(int descriptor, struct sockaddr *address, socklen_t *length);

/**
 * @brief Connects a socket to one that listens.
 *
 * @param descriptor  the socket
 * @param address     a `struct sockaddr_un` with the path
 * @param length      its size
 * @return            0; -1 on failure
 *
 * @par Errors
 * - `ENOENT`: there is no such file.
 * - `ECONNREFUSED`: there is one, but no process listens: its creator has ended.
 * - `EACCES`: the mode of the file does not allow it.
 *
 * @par Pitfalls
 * - When it returns, the other side may not have called `accept`, and may never do so.
 *
 * @see connect(2), connect(3p)
 */
int connect(int descriptor, const struct sockaddr *address, socklen_t length);

/**
 * @brief Sends a message: data, and beside it control data, such as descriptors.
 *
 * @param descriptor  the socket
 * @param message     where the data and the control data lie
 * @param flags       0, `MSG_NOSIGNAL`
 * @return            how many bytes of data were sent; -1 on failure
 *
 * @par Errors
 * - `EPIPE`: the other side has hung up. Without `MSG_NOSIGNAL` a SIGPIPE comes with it.
 * - `EBADF`: a descriptor that should be sent is not open.
 * - `EINTR`: a signal handler has run before anything was sent.
 *
 * @par Pitfalls
 * - Descriptors need at least one byte of ordinary data beside them.
 *
 * @see sendmsg(2), unix(7), cmsg(3), sendmsg(3p)
 */
ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags);

/**
 * @brief Receives a message, with the descriptors that come beside it.
 *
 * @param descriptor  the socket
 * @param message     where the data and the control data go
 * @param flags       0, `MSG_CMSG_CLOEXEC`
 * @return            how many bytes of data came; 0: the other side has hung up; -1 on failure
 *
 * @par Errors
 * - `EINTR`: a signal handler has run before anything came.
 * - `ECONNRESET`: the other side is gone, with data unread.
 *
 * @par Pitfalls
 * - Every descriptor that comes is open in this process, wanted or not. Count them, and close what you
 *   refuse.
 * - What found no room is closed, and `msg_flags` has `MSG_CTRUNC`.
 *
 * @see recvmsg(2), unix(7), cmsg(3), recvmsg(3p)
 */
ssize_t recvmsg(int descriptor, struct msghdr *message, int flags);

/**
 * @brief Control data of this type holds descriptors. The kernel adds descriptors in the receiver that lead to the same
 * open file descriptions, as `dup` does within a process.
 *
 * @see unix(7), sys_socket.h(0p)
 */
#define SCM_RIGHTS

/**
 * @brief The level of control data that belongs to sockets as such; it goes with `SCM_RIGHTS`.
 *
 * @see unix(7), sys_socket.h(0p)
 */
#define SOL_SOCKET

/**
 * @brief The first header of control data in a message, or NULL.
 *
 * @see cmsg(3), sys_socket.h(0p)
 */
#define CMSG_FIRSTHDR

/**
 * @brief Where the data of a header begins. It may not be aligned for an `int`: copy with memcpy.
 *
 * @see cmsg(3), sys_socket.h(0p)
 */
#define CMSG_DATA

/**
 * @brief What a header states as its length for so many bytes of data, itself included.
 *
 * @see cmsg(3), sys_socket.h(0p)
 */
#define CMSG_LEN

/**
 * @brief The room that so many bytes of data take in the buffer, header and padding included.
 *
 * The padding may have room for one more descriptor than you have asked for.
 *
 * @see cmsg(3), sys_socket.h(0p)
 */
#define CMSG_SPACE

/**
 * @brief `sendmsg`: fail with `EPIPE`, and send no SIGPIPE.
 *
 * @see sendmsg(2), sys_socket.h(0p)
 */
#define MSG_NOSIGNAL

/**
 * @brief In `msg_flags` after `recvmsg`: control data was cut off, and what was in it closed.
 *
 * @see recvmsg(2), sys_socket.h(0p)
 */
#define MSG_CTRUNC

/**
 * @brief `recvmsg`: descriptors that come are closed on exec.
 *
 * @see recvmsg(2), sys_socket.h(0p)
 */
#define MSG_CMSG_CLOEXEC

/**
 * @brief Sockets of this machine, named by a path or not at all.
 *
 * @see unix(7), sys_socket.h(0p)
 */
#define AF_UNIX

/**
 * @brief A socket that carries a stream of bytes, without borders between messages.
 *
 * @see socket(2), sys_socket.h(0p)
 */
#define SOCK_STREAM

/**
 * @brief `socket`: close the descriptor on exec.
 *
 * @see socket(2), sys_socket.h(0p)
 */
#define SOCK_CLOEXEC

/** @} */
