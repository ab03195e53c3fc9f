/**
 * @file
 * @brief Hostile: makes the compiler work for ever, in a few lines: each macro stands for eight of the one before.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 0
 * Says: the compiler did not finish
 *
 * A grader that has a limit for programs and none for the compiler never comes to the program; one that compiles
 * again for each check comes there late.
 */
#define A(x) x x x x x x x x
#define B(x) A(A(A(A(x))))
#define C(x) B(B(B(B(x))))
#define D(x) C(C(C(C(x))))

int main(void)
{
    D(;)
    return 0;
}
