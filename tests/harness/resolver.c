/* Preloaded into a process: names are looked up in the file $RESOLVER_ZONE, which may change meanwhile. Its lines are
 * `NAME ADDRESS[,ADDRESS]`, `NAME gone` (the resolver can't be asked) and `NAME hangs` (it does not answer for a minute).
 * Other names are looked up as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup *true_one = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *zone = getenv("RESOLVER_ZONE");
    FILE *file = zone && node ? fopen(zone, "re") : NULL;
    char name[256], answer[256] = "";
    while (file && fscanf(file, "%255s %255s", name, answer) == 2) {
        if (strcmp(name, node) == 0) break;
        answer[0] = 0;
    }
    if (file) fclose(file);
    if (!answer[0]) return true_one(node, service, hints, found);
    if (strcmp(answer, "gone") == 0) return EAI_AGAIN;
    if (strcmp(answer, "hangs") == 0) {
        sleep(60);
        return EAI_AGAIN;
    }
    struct addrinfo **end = found;
    for (char *rest = answer, *address; (address = strsep(&rest, ","));) {
        int failed = true_one(address, service, hints, end);
        if (failed) return failed;
        while (*end) end = &(*end)->ai_next;
    }
    return 0;
}
