/**
 * @file
 * @brief Hostile: a source of one line whose program is 64 gigabytes large, from the compiler on.
 * Instead of: 03_anonymous_fork/anonymous_fork.c
 * Score: 0
 * Says: does not compile
 *
 * It would fill the disk on which the compiler's output lies, and the memory of whoever reads the program whole.
 */
char large[64L << 30] = {1};

int main(void)
{
    return large[0];
}
