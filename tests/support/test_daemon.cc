#include "tests/support/test_daemon.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <boost/test/results_collector.hpp>
#include <boost/test/unit_test.hpp>
#include <exception>
#include <iostream>

#include "tests/support/process_view.h"

namespace tcpd::test {
namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
    }
    return text;
}

std::string full_config(const std::string& text, const TempDir& directory) {
    const bool has_pid_file = text.find("pid_file:") != std::string::npos;
    return replaced((has_pid_file ? "" : "pid_file: $DIR/tcpd.pid\n") + text, "$DIR", directory.path());
}

bool test_has_failed() {
    using namespace boost::unit_test;
    return std::uncaught_exceptions() > 0 ||
           !results_collector.results(framework::current_test_case().p_id).passed();
}

std::vector<std::string> command_line(const DaemonOptions& options, const std::string& config_path) {
    std::vector<std::string> words = options.prefix;
    for (const std::string& word : {options.program, std::string("-c"), config_path,
                                    std::string("--notify-fd"), std::to_string(kPassedFd)}) {
        words.push_back(word);
    }
    words.insert(words.end(), options.arguments.begin(), options.arguments.end());
    return words;
}

}  // namespace

TestDaemon::TestDaemon(const DaemonOptions& options) {
    directory_.write("tcpd.yaml", full_config(options.config, directory_));
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw Failed("pipe2 failed");
    ready_.reset(ends[0]);
    UniqueFd ready_writer(ends[1]);

    Start start{.argv = command_line(options, config_path()), .environment = options.environment};
    start.out_path = start.err_path = directory_ / "stderr";
    start.pass_fd = ready_writer.get();
    start.open_files = options.open_files;
    start.core_bytes = options.core_bytes;
    child_ = std::make_unique<ChildProcess>(start);
    guard_ = std::make_unique<GroupGuard>(child_->pid());
    ready_writer.reset();
    if (options.wait_ready) wait_ready();
}

TestDaemon::~TestDaemon() {
    if (!any_exit_ && child_) check_exit();
    BOOST_CHECK_MESSAGE(!guard_ || !guard_->has_acted(), "its processes multiplied and were ended");
    guard_.reset();
    for (const char* report : {"AddressSanitizer", "runtime error:", "LeakSanitizer"}) {
        BOOST_CHECK_MESSAGE(count_in_err(report) == 0, "a sanitizer reported something");
    }
    if (test_has_failed()) show_output();
}

void TestDaemon::wait_ready() {
    pollfd poller{ready_.get(), POLLIN, 0};
    const int events = poll(&poller, 1, static_cast<int>(kPatience.count()));
    char byte = 0;
    if (events == 1 && read(ready_.get(), &byte, 1) == 1 && byte == '\n') return;
    any_exit_ = true;
    show_output();
    throw Failed(events == 0 ? "tcpd was not ready in time" : "tcpd ended before it was ready");
}

void TestDaemon::check_exit() {
    if (!has_ended()) {
        child_->send(SIGINT);
        try {
            child_->wait_exit();
        } catch (const Failed& failed) {
            BOOST_ERROR(std::string("after SIGINT: ") + failed.what());
            return;
        }
    }
    BOOST_CHECK_EQUAL(*child_->poll_exit(), 0);
    BOOST_CHECK_MESSAGE(processes().empty(), "processes outlived the master");
}

void TestDaemon::stop() {
    send(SIGINT);
    BOOST_CHECK_EQUAL(wait_exit(), 0);
}

void TestDaemon::show_output() const {
    std::string text = err();
    constexpr size_t kMost = 60'000;
    if (text.size() > kMost) text = "[...]" + text.substr(text.size() - kMost);
    std::cerr << "---- what tcpd wrote ----\n" << text << "-------------------------\n";
}

std::string TestDaemon::err() const { return read_text(directory_ / "stderr"); }

size_t TestDaemon::count_in_err(const std::string& text) const {
    const std::string all = err();
    size_t count = 0;
    for (size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) ++count;
    return count;
}

Output TestDaemon::verb(const std::string& verb) const {
    return run({tested_program(), "-c", config_path(), "-s", verb});
}

Status TestDaemon::status() const {
    const Output output = verb("status");
    if (output.exit != 0) throw Failed(fmt::format("-s status exited with {}: {}", output.exit, output.err));
    return Status::parse(output.out);
}

Address TestDaemon::address(const std::string& listener, size_t n) const {
    Result<Address> address = Address::parse(status().address(listener, n), false);
    if (!address) throw Failed(address.error().text());
    return *address;
}

uint64_t TestDaemon::open_connections() const {
    uint64_t open = 0;
    for (const std::string& line : lines_of(status().text())) {
        const size_t at = line.find(" open ");
        if (line.starts_with("listener ") && at != std::string::npos)
            open += std::stoull(line.substr(at + 6));
    }
    return open;
}

std::vector<pid_t> TestDaemon::processes() const { return members_of_group(child_->pid()); }

Pids TestDaemon::pids(unsigned slot) const {
    Pids pids;
    for (const pid_t child : children_of(master())) {
        if (!is_running(child)) continue;
        const std::string title = title_of(child);
        if (title == fmt::format("tcpd: worker {}", slot)) pids.worker = child;
        if (title == fmt::format("tcpd: standby {}", slot)) pids.standby = child;
    }
    return pids;
}

void TestDaemon::wait_complete(unsigned slots) const {
    wait_for("all slots to be complete", [&] {
        const Status now = status();
        unsigned complete = 0;
        for (const SlotStatus& slot : now.slots()) {
            complete += slot.worker && slot.standby && slot.state == "serving";
        }
        return complete == slots && now.slots().size() == slots;
    });
}

void TestDaemon::kill_worker(unsigned slot, int signal_number) const {
    SlotStatus before;  // as the master sees it: during a renewal there are two pairs
    const auto look = [&] { return status().slots().at(slot); };
    wait_for("a worker and a standby", [&] { return (before = look()).standby != 0; });
    if (kill(before.worker, signal_number) != 0) throw Failed("the worker to kill was gone");
    wait_for("the standby to succeed", [&] {
        const SlotStatus now = look();
        return now.standby != 0 && now.worker != before.worker && now.standby != before.standby;
    });
}

void TestDaemon::change_hands() const {
    wait_complete(static_cast<unsigned>(status().slots().size()));
    kill_worker(0);
    for (const char* what : {"reload", "upgrade"}) {
        const Output output = verb(what);
        BOOST_REQUIRE_MESSAGE(output.exit == 0, what << ": " << output.err);
        kill_worker(0);
    }
}

// By titles, which are there sooner than an answer of the master.
TwoDeaths TestDaemon::kill_two_workers(unsigned slot) const {
    TwoDeaths deaths;
    Pids first, next;
    wait_for("a worker and a standby", [&] { return (first = pids(slot)).both(); });
    const auto begin = SteadyClock::now();
    kill(first.worker, SIGKILL);
    wait_for("the standby to succeed", [&] {
        next = pids(slot);
        return next.worker == first.standby && next.standby != 0;
    });
    deaths.second = SteadyClock::now();
    kill(next.worker, SIGKILL);
    wait_for("its standby to succeed", [&] {
        const pid_t third = pids(slot).worker;
        return third != 0 && third != next.worker && third != first.worker;
    });
    deaths.was_short_life = SteadyClock::now() - begin < 200ms;
    return deaths;
}

size_t TestDaemon::descriptors(unsigned slot) const { return descriptors_of(pids(slot).worker); }

uint64_t TestDaemon::pss_bytes(unsigned slot) const {
    const Pids now = pids(slot);
    return pss_bytes_of(now.worker) + pss_bytes_of(now.standby);
}

void TestDaemon::check_nothing_lost() const {
    BOOST_CHECK_EQUAL(count_in_err("QUARANTINE"), 0U);
    const Status now = status();
    BOOST_CHECK_EQUAL(now.total("lost"), 0U);
    for (const std::string& line : lines_of(now.text())) {
        for (const char* reason : {" closed untrusted_record ", " closed stuck_recovery "}) {
            BOOST_CHECK_MESSAGE(line.find(reason) == std::string::npos || line.ends_with(" 0"), line);
        }
    }
}

}  // namespace tcpd::test
