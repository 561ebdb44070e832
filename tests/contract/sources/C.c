#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
    const char *mode = words[1];
    puts("grün €");
    fflush(stdout);
    if (!strcmp(mode, "echo")) {
        for (int c; (c = getchar()) != EOF;) putchar(c);
        putchar('\n');
        for (int n = 2; n < count; n++) puts(words[n]);
    } else if (!strcmp(mode, "exit")) {
        return 7;
    } else if (!strcmp(mode, "fail")) {
        fputs("boom\n", stderr);
        abort();
    } else if (!strcmp(mode, "loop")) {
        for (volatile int n = 0;; n++);
    } else if (!strcmp(mode, "eat")) {
        for (;;) {
            char *volatile eaten = malloc(100000);
            if (eaten) memset(eaten, 'x', 100000);
        }
    } else if (!strcmp(mode, "flood")) {
        for (int n = 0; n < 1048566; n++) putchar('x');
    }
}
