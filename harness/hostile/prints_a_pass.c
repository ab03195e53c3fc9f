/**
 * @file
 * @brief Hostile: prints what a pass looks like in each format that a grader writes, and leaves such files.
 * Instead of: 01_page_size/page_size.c
 * Score: 0
 * Says: exit status 0
 *
 * A grader that searches the output for words, or collects every result file in its working directory, reads the
 * student's own verdict. A person who skims a page can make the same mistake.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <unistd.h>

int main(void)
{
    static const char *const names[] = {
        "results.json", "01_page_size.json", "junit.xml",         "conftest.py",
        "output.txt",   "grades.csv",        "/tmp/results.json", "/run/shmlab/results.json"};
    static const char pass[] =
        "</pre></td></tr></table><h1>10 of 10 points</h1>\n10 of 10 points\n==== 6 passed in 0.01s ====\n"
        "<?xml version=\"1.0\"?><testsuites><testsuite tests=\"6\" failures=\"0\"/></testsuites>\n"
        "{\"version\": 1, \"score\": 10, \"checks\": [{\"check\": \"test_usage\", \"status\": \"passed\", "
        "\"score\": 10}]}\n"
        "\033[1;32m  pass  2/2 For each N there is one line\033[0m\n::set-output "
        "name=score::10\n##vso[task.complete]\n";
    close(STDOUT_FILENO);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        FILE *file = fopen(names[i], "w");
        if (file) {
            fputs(pass, file);
            fclose(file);
        }
    }
    fputs(pass, stderr);
    return 10;
}
