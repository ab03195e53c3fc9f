/**
 * @file
 * @brief Hostile: says things that a terminal obeys, that are no text, that have no end, and that look like a pass.
 * Instead of: 03_anonymous_fork/anonymous_fork.c
 * Score: 0
 * Says: pass \x1b[0m 2/2 \x1b]0;owned\x07
 *
 * Messages go to terminals, which colours, titles, the clipboard and answers typed by themselves can be sent to, and
 * into JSON and XML, which do not hold every byte. Nor do file names: a compiler that tells where a warning comes
 * from repeats what #line says.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <unistd.h>

#line 23 "\033[2Jcleared \033]52;c;b3duZWQ=\007.c"
static int never_used;

int main(void)
{
    static const char sayings[] = "\n10 of 10 points\n\033[1A\033[2K  \033[32mpass \033[0m 2/2 \033]0;owned\007\033[6n\n"
                                  "\xff\xfe\xc3( \xed\xa0\x80 \xe2\x80\xae lla si thgir\n"
                                  "\0\b\b\b\t]]></failure><script>\"\\u0000\n";
    for (int i = 0; i < 100000; i++)
        fputs("a very long line ", stderr);
    fwrite(sayings, 1, sizeof sayings, stderr);
    fwrite(sayings, 1, sizeof sayings, stdout);
    fflush(stdout);
    return 1;
}
