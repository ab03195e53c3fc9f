/**
 * @file
 * @brief Hostile: prints terminal escapes, bytes that are not text, endless lines, and text that looks like a pass.
 * Instead of: 03_anonymous_fork/anonymous_fork.c
 * Score: 0
 * Says: pass \x1b[0m 2/2 \x1b]0;owned\x07
 *
 * Messages go to terminals, where they could set colours, titles and the clipboard or simulate input, and to JSON and
 * XML, which cannot contain every byte. File names are a risk too: a compiler's warning repeats the file name from
 * #line.
 */
#define _DEFAULT_SOURCE

#include <stdio.h>
#include <unistd.h>

#line 23 "\033[2Jcleared \033]52;c;b3duZWQ=\007.c"
static int never_used;

int main(void)
{
    static const char sayings[] =
        "\n10 of 10 points\n\033[1A\033[2K  \033[32mpass \033[0m 2/2 \033]0;owned\007\033[6n\n"
        "\xff\xfe\xc3( \xed\xa0\x80 \xe2\x80\xae lla si thgir\n"
        "\0\b\b\b\t]]></failure><script>\"\\u0000\n";
    for (int i = 0; i < 100000; i++)
        fputs("a very long line ", stderr);
    fwrite(sayings, 1, sizeof sayings, stderr);
    fwrite(sayings, 1, sizeof sayings, stdout);
    fflush(stdout);
    return 1;
}
