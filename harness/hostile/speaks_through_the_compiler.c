/**
 * @file
 * @brief Hostile: does not compile; the assembler's message contains sequences for terminals, browsers and parsers.
 * Instead of: 02_fork_copies/fork_copies.c
 * Score: 0
 * Says: does not compile
 *
 * A compiler's message quotes the source. Escapes in a string become bytes when the assembler repeats them. They
 * colour or clear terminals, end an XML section or an HTML element, and are invalid UTF-8.
 */
__asm__("\033[2J\033]0;owned\007\n"
        "]]></failure></testcase><testcase name='all'/>\n"
        "</pre><script>alert(1)</script><img/src=x onerror=alert(2)>\n"
        "10 of 10 points\n"
        "\xff\xfe\xc3( \xed\xa0\x80 \xe2\x80\xae sthgir\b\b\b\n");

int main(void)
{
    return 0;
}
