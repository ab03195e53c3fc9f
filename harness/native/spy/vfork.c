/**
 * @file
 * @brief The wrapper of vfork(2).
 *
 * A vfork child runs on its parent's stack while the parent waits. It returns from the wrapper first and then
 * overwrites the stack below its caller's frame, so the parent must find nothing there that it needs. No C
 * function can guarantee that. The wrapper is therefore in assembly:
 *
 * 1. before_vfork() applies the rules and returns a struct vfork_call, which is not on the stack.
 * 2. The wrapper moves its return address and one callee-saved register there, and keeps the address of the
 *    structure in that register. The C library's vfork() restores the register in both processes.
 * 3. After vfork() returns, in either process, the wrapper puts both back. It continues in after_vfork(), as if
 *    the program had called that, which records the call and returns to the program.
 */
#include "spy.h"

#if (defined __x86_64__ && defined __LP64__) || defined __aarch64__

/** A call of vfork(). The assembly below knows the offsets of the first three members. */
struct vfork_call {
    uintptr_t return_address;
    uintptr_t saved_register;
    pid_t (*function)(void); /**< the C library's vfork(), or fail_vfork() */
    int32_t vfork_child_pid; /**< of the process that made the call */
    int error;               /**< not 0: the call is made to fail */
};

_Static_assert(offsetof(struct vfork_call, saved_register) == 8 &&
                   offsetof(struct vfork_call, function) == 16,
               "as the assembly below has it");

/* A vfork child may call vfork() while its parent still waits. The last element is for a call that is too deep. */
enum { DEPTH = 15 };
static _Thread_local struct vfork_call vfork_calls[DEPTH + 1] __attribute__((tls_model("initial-exec")));
static _Thread_local int vfork_depth __attribute__((tls_model("initial-exec")));

static pid_t fail_vfork(void)
{
    return -1;
}

__attribute__((used)) static struct vfork_call *before_vfork(uintptr_t caller)
{
    DECLARE_REAL(pid_t, vfork, (void))
    struct vfork_call *call = &vfork_calls[vfork_depth];
    call->vfork_child_pid = vfork_child_pid;
    call->error = count_call(CALL_vfork, caller);
    if (vfork_depth < DEPTH)
        vfork_depth++;
    else
        call->error = EAGAIN;
    call->function = call->error ? fail_vfork : real;
    return call;
}

/** Runs in the child first, if there is one, then in the parent. */
__attribute__((used)) static pid_t after_vfork(pid_t result, struct vfork_call *call)
{
    if (call->error)
        errno = call->error;
    const int call_errno = errno;
    if (result == 0) {
        after_vfork_in_child();
    } else {
        vfork_child_pid = call->vfork_child_pid;
        vfork_depth = (int)(call - vfork_calls);
    }
    record(CALL_vfork, CALLER, (call->error ? INJECTED : 0) | (result < 0 ? FAILED : 0), result,
           result < 0 ? call_errno : 0, NULL, 0, 0, 0, 0, 0);
    stop_after(CALL_vfork, CALLER);
    errno = call_errno;
    return result;
}

#define STRING(x) #x
#define SYMBOL(x) STRING(x)
#define VFORK     SYMBOL(WRAPPER(vfork))

__asm__(".pushsection .text\n"
        ".balign 16\n"
        ".globl " VFORK "\n"
        ".type " VFORK ", %function\n" VFORK ":\n"
#ifdef __x86_64__
        "    endbr64\n"
        "    movq (%rsp), %rdi\n" /* before_vfork(return address) */
        "    subq $8, %rsp\n"     /* the stack pointer is a multiple of 16 at each call */
        "    call before_vfork\n"
        "    addq $8, %rsp\n"
        "    popq (%rax)\n" /* call->return_address */
        "    movq %rbx, 8(%rax)\n"
        "    movq %rax, %rbx\n"
        "    call *16(%rax)\n" /* call->function() */
        "    pushq (%rbx)\n"   /* from here on in both processes */
        "    movl %eax, %edi\n"
        "    movq %rbx, %rsi\n"
        "    movq 8(%rbx), %rbx\n"
        "    jmp after_vfork\n"
#else
        "    hint #34\n" /* bti c */
        "    stp x29, x30, [sp, #-16]!\n"
        "    mov x0, x30\n" /* before_vfork(return address) */
        "    bl before_vfork\n"
        "    ldp x29, x30, [sp], #16\n"
        "    stp x30, x19, [x0]\n" /* call->return_address, call->saved_register */
        "    mov x19, x0\n"
        "    ldr x1, [x0, #16]\n"
        "    blr x1\n"      /* call->function() */
        "    mov x1, x19\n" /* from here on in both processes */
        "    ldp x30, x19, [x1]\n"
        "    b after_vfork\n"
#endif
        ".size " VFORK ", .-" VFORK "\n"
        ".popsection\n");

#else

/* There is no assembly for this machine, so the child gets memory of its own. */
pid_t WRAPPER(vfork)(void)
{
    return WRAPPER(fork)();
}

#endif
