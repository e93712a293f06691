// Starts a program whose standard error is of the kind that the first argument names: unix, tcp, pipe, file or
// closed; with `leftover` it is the own one, and sockets of a library are left open above all else. A process beside
// it passes on to the own standard error what the program writes.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace {

struct Ends {
    int ours = -1, theirs = -1;
};

Ends make_tcp() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    bind(listener, reinterpret_cast<sockaddr*>(&address), length);
    listen(listener, 1);
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
    Ends ends;
    ends.theirs = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(ends.theirs, reinterpret_cast<sockaddr*>(&address), length) != 0) _exit(1);
    ends.ours = accept(listener, nullptr, nullptr);
    close(listener);
    return ends;
}

Ends make_ends(std::string_view kind) {
    int pair[2];
    if (kind == "tcp") return make_tcp();
    if (kind == "pipe") return pipe(pair) == 0 ? Ends{pair[0], pair[1]} : Ends{};
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? Ends{pair[0], pair[1]} : Ends{};
}

// A child of nobody here: the program would wait for it.
void relay(int from, int other_end) {
    const pid_t between = fork();
    if (between != 0) {
        waitpid(between, nullptr, 0);
        return;
    }
    if (fork() != 0) _exit(0);
    close(other_end);
    char buffer[65536];
    for (ssize_t got; (got = read(from, buffer, sizeof buffer)) > 0;) {
        if (write(STDERR_FILENO, buffer, static_cast<size_t>(got)) != got) break;
    }
    _exit(0);
}

void leave_sockets_over() {
    const Ends ends = make_tcp();
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) _exit(1);
    int to = 17;
    for (const int fd : {ends.ours, ends.theirs, pair[0], pair[1]}) {
        dup2(fd, to);
        to += 40;
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 64;
    const std::string_view kind = argv[1];
    if (kind == "closed") {
        close(STDERR_FILENO);
    } else if (kind == "leftover") {
        leave_sockets_over();
    } else if (kind != "file") {
        const Ends ends = make_ends(kind);
        relay(ends.ours, ends.theirs);
        close(ends.ours);
        dup2(ends.theirs, STDERR_FILENO);
        close(ends.theirs);
    }
    execvp(argv[2], argv + 2);
    return 127;
}
