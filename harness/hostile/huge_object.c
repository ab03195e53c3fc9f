/**
 * @file
 * @brief Hostile: one line of source whose compiled program has 64 gigabytes.
 * Instead of: 03_anonymous_fork/anonymous_fork.c
 * Score: 0
 * Says: does not compile
 *
 * It would fill the disk that the compiler writes to, and the memory of a grader that reads the whole program.
 */
char large[64L << 30] = {1};

int main(void)
{
    return large[0];
}
