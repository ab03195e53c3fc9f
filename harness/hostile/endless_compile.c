/**
 * @file
 * @brief Hostile: makes the compiler work for hours with a few lines: each macro expands to eight of the previous one.
 * Instead of: 08_posix_create/posix_create.c
 * Score: 0
 * Says: the compiler did not finish
 *
 * A grader with a time limit for programs but none for the compiler never runs the program. One that compiles again
 * for each check runs it late.
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
