#include "daemon/ask_master.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "daemon/base/control_request.h"

using namespace tcpd;

namespace {

// A folder with a pid file, and a process in the master's place that holds its lock and answers one request.
struct PidFile {
    PidFile() {
        char name[] = "/tmp/ask_master_XXXXXX";
        folder = mkdtemp(name);
        path = folder + "/tcpd.pid";
    }
    ~PidFile() {
        if (master > 0) kill(master, SIGKILL);
        wait_for_master();
        std::filesystem::remove_all(folder);
    }

    int listen_at_control() const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        strcpy(address.sun_path, (path + ".ctl").c_str());
        int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return -1;
        return listen(fd, 4) == 0 ? fd : -1;
    }

    static void lock(const std::string& path) {
        int fd = open(path.c_str(), O_RDWR | O_CREAT, 0644);
        struct flock whole {};
        whole.l_type = F_WRLCK;
        if (fcntl(fd, F_SETLK, &whole) != 0) _exit(1);
    }

    // The child runs `life` with a connected socket once somebody asks; the request's text is its second
    // argument.
    void start_master(std::function<void(int, const std::string&)> life, bool listens = true) {
        int ready[2];
        BOOST_REQUIRE(pipe(ready) == 0);
        master = fork();
        if (master == 0) {
            lock(path);
            int fd = listens ? listen_at_control() : -1;
            if (write(ready[1], "x", 1) != 1) _exit(1);
            int client = listens ? accept(fd, nullptr, nullptr) : pause();
            char request[256];
            ssize_t size = recv(client, request, sizeof request, 0);
            life(client, std::string(request, size > 0 ? static_cast<size_t>(size) : 0));
            _exit(0);
        }
        close(ready[1]);
        char byte;
        BOOST_REQUIRE(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
    }

    void wait_for_master() {
        if (master > 0) waitpid(master, nullptr, 0);
        master = 0;
    }

    Result<void> ask(const std::string& verb, Duration limit = Duration{0}) {
        char* text = nullptr;
        size_t size = 0;
        FILE* out = open_memstream(&text, &size);
        auto outcome = ask_master(path, verb, limit, out);
        fclose(out);
        printed.assign(text, size);
        free(text);
        return outcome;
    }

    std::string folder, path, printed;
    pid_t master = 0;
};

void say(int client, const std::string& message) {
    if (send(client, message.data(), message.size(), MSG_NOSIGNAL) < 0) _exit(1);
}

bool failed(const Result<void>& outcome, ErrorCode code, std::string_view part) {
    if (outcome) return false;
    BOOST_TEST_INFO_SCOPE(outcome.error().text());
    BOOST_TEST((outcome.error().code == code));
    return outcome.error().text().find(part) != std::string::npos;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(ask_master_, PidFile)

BOOST_AUTO_TEST_CASE(no_file_is_no_master) {
    BOOST_TEST(failed(ask("status"), ErrorCode::unavailable, "no such file"));
}

BOOST_AUTO_TEST_CASE(a_file_that_nobody_holds_is_no_master_whatever_it_says) {
    std::ofstream(path) << getppid() << "\n";
    BOOST_TEST(failed(ask("stop"), ErrorCode::unavailable, "no process holds it"));
}

BOOST_AUTO_TEST_CASE(output_is_printed_as_it_comes_and_the_last_line_ends) {
    start_master([](int client, const std::string& request) {
        say(client, "olistener echo\n");
        say(client, "oasked: " + request + "\n");
        say(client, "kup 3s");
    });
    BOOST_TEST(static_cast<bool>(ask("status")));
    BOOST_TEST(printed == "listener echo\nasked: status\nup 3s\n");
}

BOOST_AUTO_TEST_CASE(a_refusal_is_an_error_with_its_reason) {
    start_master([](int client, const std::string&) { say(client, "ethere is no such verb"); });
    BOOST_TEST(failed(ask("status"), ErrorCode::refused, "there is no such verb"));
}

BOOST_AUTO_TEST_CASE(a_master_that_ends_without_an_answer_is_reported) {
    start_master([](int, const std::string&) {});
    BOOST_TEST(failed(ask("status"), ErrorCode::unavailable, "ended before it had answered"));
}

BOOST_AUTO_TEST_CASE(stop_returns_when_the_master_is_gone) {
    start_master([](int client, const std::string&) {
        say(client, "k");
        poll(nullptr, 0, 50);  // the answer is there well before the end
    });
    BOOST_TEST(static_cast<bool>(ask("stop")));
    siginfo_t ended{};
    BOOST_TEST(waitid(P_PID, static_cast<id_t>(master), &ended, WEXITED | WNOHANG | WNOWAIT) == 0);
    BOOST_TEST(ended.si_pid == master);
}

BOOST_AUTO_TEST_CASE(a_socket_of_another_process_is_not_asked) {
    int fd = listen_at_control();
    start_master([](int, const std::string&) {}, false);
    BOOST_TEST(failed(ask("status"), ErrorCode::refused, "nothing was asked"));
    close(fd);
}

BOOST_AUTO_TEST_CASE(a_master_without_a_socket_is_named_by_its_pid) {
    start_master([](int, const std::string&) {}, false);
    BOOST_TEST(failed(ask("status"), ErrorCode::unavailable, "pid " + std::to_string(master)));
}

BOOST_AUTO_TEST_CASE(each_request_has_a_time_limit_that_it_names) {
    start_master([](int, const std::string&) { pause(); });
    BOOST_TEST(failed(ask("reload", Duration{20}), ErrorCode::timed_out, "\"reload\" in 20ms"));
}

BOOST_AUTO_TEST_CASE(output_that_goes_on_and_on_does_not_extend_the_limit) {
    start_master([](int client, const std::string&) {
        for (;;) {
            say(client, "odrip\n");
            poll(nullptr, 0, 5);
        }
    });
    BOOST_TEST(failed(ask("drain", Duration{60}), ErrorCode::timed_out, "in 60ms"));
}

BOOST_AUTO_TEST_CASE(a_master_that_answers_stop_and_stays_is_late) {
    start_master([](int client, const std::string&) {
        say(client, "kstopped");
        pause();
    });
    BOOST_TEST(failed(ask("stop", Duration{50}), ErrorCode::timed_out, "\"stop\" in 50ms"));
}

BOOST_AUTO_TEST_CASE(a_full_queue_at_the_socket_is_late_as_well) {
    start_master([](int client, const std::string&) {
        say(client, "k");
        pause();
    });
    BOOST_TEST(static_cast<bool>(ask("status")));
    std::vector<int> waiting;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, (path + ".ctl").c_str());
    do {
        waiting.push_back(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0));
    } while (connect(waiting.back(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    BOOST_TEST(failed(ask("status", Duration{20}), ErrorCode::timed_out, "in 20ms"));
    for (const int fd : waiting) close(fd);
}

BOOST_AUTO_TEST_CASE(a_mark_behind_the_reason_means_a_bad_configuration) {
    start_master([](int client, const std::string&) {
        say(client, "ethe file is wrong" + std::string(control::kBadConfigMark));
    });
    BOOST_TEST(failed(ask("reload"), ErrorCode::bad_config, "the file is wrong"));
}

BOOST_AUTO_TEST_CASE(a_limit_fits_what_the_request_may_take) {
    BOOST_TEST(usual_limit("status", Duration{30'000}).count() == 10'000);
    BOOST_TEST(usual_limit("reload", Duration{30'000}).count() == 120'000);
    BOOST_TEST(usual_limit("stop", Duration{60'000}).count() == 90'000);
    BOOST_TEST(usual_limit("drain", Duration{0}).count() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
