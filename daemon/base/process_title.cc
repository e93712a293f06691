#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "daemon/base/process.h"

namespace tcpd {

namespace {

// The kernel shows as a process's command line whatever lies where argv was at the exec; if its last byte is
// no longer a NUL, it reads on into what was environ.
char* title_area = nullptr;
size_t title_bytes = 0;

// `end` moves over `text` if it begins there.
void extend(const char*& end, const char* text) {
    if (text == end) end = text + strlen(text) + 1;
}

void copy_strings(char** strings) {
    for (; *strings; ++strings) *strings = strdup(*strings);
}

// The array as well: setenv and putenv of libc write into it.
char** copy_environ(char** from) {
    size_t count = 0;
    while (from[count]) ++count;
    auto** copy = static_cast<char**>(calloc(count + 1, sizeof(char*)));
    std::copy_n(from, count, copy);
    copy_strings(copy);
    return copy;
}

}  // namespace

void keep_argv(int argc, char** argv) {
    if (argc < 1) return;
    const char* end = argv[0];
    for (char** text = argv; *text; ++text) extend(end, *text);
    for (char** text = environ; *text; ++text) extend(end, *text);
    title_area = argv[0];
    title_bytes = static_cast<size_t>(end - argv[0]);

    copy_strings(argv);
    environ = copy_environ(environ);
    program_invocation_name = argv[0];
    const char* slash = strrchr(argv[0], '/');
    program_invocation_short_name = slash ? argv[0] + (slash - argv[0]) + 1 : argv[0];
}

void set_process_title(std::string_view title) {
    if (title_bytes > 0) {
        size_t used = std::min(title.size(), title_bytes - 1);
        memcpy(title_area, title.data(), used);
        memset(title_area + used, 0, title_bytes - used);
    }
    char name[16] = "";
    memcpy(name, title.data(), std::min(title.size(), sizeof name - 1));
    prctl(PR_SET_NAME, name, 0, 0, 0);
}

}  // namespace tcpd
