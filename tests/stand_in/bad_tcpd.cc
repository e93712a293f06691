// A program that looks like tcpd until it is trusted: what it does wrong stands in the file `mode` in the
// folder of the environment's TCPD_BAD_FOLDER; all else is done by the real one. Tests put it where the new
// program is.

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

namespace {

std::string folder() {
    const char* named = getenv("TCPD_BAD_FOLDER");
    return named != nullptr ? named : ".";
}

std::string mode() {
    std::string word;
    std::ifstream(folder() + "/mode") >> word;
    return word;
}

// How often it was asked to try a take-over.
int count_probe() {
    int count = 0;
    std::ifstream(folder() + "/probes") >> count;
    std::ofstream(folder() + "/probes") << ++count;
    return count;
}

// As a child of the master, which no control socket may obey. The answer goes into the file `answer`.
void order_stop() {
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder() + "/tcpd.pid.ctl";
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    std::string answer = "no connection";
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        (void)send(fd, "stop", 4, MSG_NOSIGNAL);
        answer.assign(1000, '\0');
        const ssize_t got = recv(fd, answer.data(), answer.size(), 0);
        answer.resize(got > 0 ? static_cast<size_t>(got) : 0);
    }
    std::ofstream(folder() + "/answer") << answer;
}

[[noreturn]] void fail_as(const std::string& how) {
    if (how.ends_with("orders_stop")) {
        order_stop();
        _exit(3);
    }
    if (how.ends_with("waits")) {
        while (access((folder() + "/fail_now").c_str(), F_OK) != 0) usleep(1000);
        _exit(3);
    }
    if (how.ends_with("exits")) _exit(3);
    if (how.ends_with("aborts")) abort();
    if (how.ends_with("segfaults")) {
        raise(SIGSEGV);
    }
    for (;;) pause();
}

}  // namespace

// Its own words for what it can, but for `from`, which is `to`.
int say_version_with(const char* program, const std::string& from, const std::string& to) {
    FILE* answer = popen((std::string(program) + " -V").c_str(), "r");
    std::string text;
    char part[512];
    while (answer != nullptr && fgets(part, sizeof part, answer) != nullptr) text += part;
    if (answer != nullptr) pclose(answer);
    if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
    fputs(text.c_str(), stdout);
    return 0;
}

int main(int, char** argv) {
    const std::string task = argv[1] != nullptr ? argv[1] : "", wrong = mode();
    if (task == "-V" && wrong == "other_formats") {
        puts("formats: slot 99, birth 99, master 99");
        return 0;
    }
    if (task == "-V" && wrong.starts_with("version_")) fail_as(wrong);
    if (task == "-t" && wrong.starts_with("check_")) fail_as(wrong);
    if (task == "--image" && wrong.starts_with("image_")) fail_as(wrong);
    if (task == "--resume-probe" && wrong.starts_with("probe_")) fail_as(wrong);
    if (task == "--resume-probe" && wrong.starts_with("second_probe_") && count_probe() == 2) fail_as(wrong);
    const char* named = getenv("TCPD_BINARY");
    const char* tested = named != nullptr ? named : TCPD_BINARY;
    if (task == "-V" && wrong == "older_level") return say_version_with(tested, " level 1 ", " level 0 ");
    if (task == "-V" && wrong == "large_parts")
        return say_version_with(tested, " board ", " board 999999999");
    execv(tested, argv);
    return 127;
}
