/**
 * @file
 * @brief Hostile: computes for ever.
 * Instead of: 12_first_comer/first_comer.c
 * Score: 0
 * Says: had not ended
 *
 * Without a time limit, the first student who writes for (;;) stops the grading of the whole course.
 */
int main(void)
{
    for (volatile unsigned turns = 0;; turns++)
        ;
}
