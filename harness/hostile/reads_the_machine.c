/**
 * @file
 * @brief Hostile: includes the grader's mail, so that a compiler's message would show it; there is none.
 * Instead of: 05_sysv_create/sysv_create.c
 * Score: 0
 * Says: No such file or directory
 *
 * A list of hidden directories forgets some: /var/mail, /var/spool, /etc/ssh, another disk. Here nothing of them is
 * there, neither for a program nor for the compiler.
 */
#if __has_include("/etc/ssh/sshd_config") ||                                                                 \
                  __has_include("/etc/shadow") ||                                                            \
                                __has_include("/etc/hostname") ||                                            \
                                              __has_include("/var/lib/dpkg/status") ||                       \
                                                            __has_include("/boot/config") ||                 \
                                                                          __has_include("/sys/kernel/notes")
#error "something of the machine is here"
#endif
#include "/var/mail/other"
int main(void)
{
    return 0;
}
