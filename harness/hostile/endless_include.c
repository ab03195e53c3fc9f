/**
 * @file
 * @brief Hostile: includes itself twice, to the depth that the compiler allows: 2 to the power of 200 times.
 * Instead of: 01_page_size/page_size.c
 * Score: 0
 * Says: the compiler did not finish
 *
 * A grader with a time limit for programs only waits here, while the compiler's memory grows with each inclusion.
 */
#if __INCLUDE_LEVEL__ < 190
#include __FILE__
#include __FILE__
#endif

int main(void)
{
    return 0;
}
