#include "master/control_server.h"

#include <ev.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <optional>

#include "daemon/base/clock.h"
#include "daemon/base/net/address.h"
#include "daemon/base/process.h"
#include "master/reexec/state.h"
#include "tests/unit/folder.h"
#include "tests/unit/worker/forked_child.h"

using namespace tcpd;
using namespace tcpd::master;

namespace {

struct Client {
    UniqueFd fd{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0)};
    explicit Client(const std::string& path) {
        auto address = Address::parse("unix:" + path, false);
        BOOST_REQUIRE(::connect(fd.get(), address->get(), address->length()) == 0);
    }
    void ask(const std::string& verb) {
        BOOST_REQUIRE(::send(fd.get(), verb.data(), verb.size(), 0) == static_cast<ssize_t>(verb.size()));
    }
    // The next message; "" at the end of file, nothing if there is none yet.
    std::optional<std::string> read() {
        std::string message(control::kMaxReplyBytes + 1, '\0');
        const ssize_t got = ::recv(fd.get(), message.data(), message.size(), 0);
        if (got < 0) return std::nullopt;
        message.resize(static_cast<size_t>(got));
        return message;
    }
};

constexpr uint64_t kSixSeconds = 6'000'000'000;

boost::test_tools::assertion_result this_is_root(boost::unit_test::test_unit_id) {
    return has_capability(CAP_SYS_ADMIN) && ::geteuid() == 0;
}

// 0: answered; 2: not.
int ask_from_here(const std::string& path, bool waits = true) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    auto address = Address::parse("unix:" + path, false);
    if (::connect(fd.get(), address->get(), address->length()) != 0) return 1;
    (void)::send(fd.get(), "status", 6, MSG_NOSIGNAL);
    char reply = 0;
    return !waits || (::recv(fd.get(), &reply, 1, 0) == 1 && reply == 'k') ? 0 : 2;
}

// A process that does not descend from this one: its parent has ended at once.
class Stranger {
public:
    template <typename Body>
    explicit Stranger(Body body) {
        int ends[2];
        BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        end_.reset(ends[0]);
        test::ForkedChild parent([&] {
            const pid_t mother = ::getpid();
            if (::fork() != 0) return 0;
            ::alarm(test::kChildSeconds);
            while (::getppid() == mother) ::sched_yield();
            ::_exit(body());
        });
        ::close(ends[1]);
        parent.wait();
    }
    bool has_ended() const {
        pollfd end{end_.get(), POLLIN, 0};
        return ::poll(&end, 1, 0) != 0;
    }
    void wait_end() const {
        BOOST_REQUIRE(test::comes_true([this] { return has_ended(); }));
    }

private:
    UniqueFd end_;
};

struct Office : Requests {
    test::Folder folder;
    std::string path = folder / "ctl";
    struct ev_loop* loop = ev_loop_new(unsigned{EVBACKEND_EPOLL} | unsigned{EVFLAG_NOENV});
    std::unique_ptr<ControlServer> server = open();
    std::vector<std::pair<RequestId, std::string>> requests;

    std::unique_ptr<ControlServer> open() {
        auto opened = ControlServer::open(loop, path, *this);
        BOOST_REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().text()));
        return std::move(*opened);
    }
    ~Office() override {
        server.reset();
        ev_loop_destroy(loop);
    }
    void on_request(RequestId id, std::string_view verb) override { requests.emplace_back(id, verb); }
    void turn() {
        ev_run(loop, EVRUN_NOWAIT);
        server->forget_done();
    }
    template <typename Condition>
    void turn_until(Condition condition) {
        BOOST_REQUIRE(test::comes_true([&] {
            turn();
            return condition();
        }));
    }
    RequestId receive(Client& client, const std::string& verb) {
        client.ask(verb);
        for (int i = 0; i < 3; ++i) turn();
        BOOST_REQUIRE(!requests.empty());
        BOOST_TEST(requests.back().second == verb);
        return requests.back().first;
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(control_server)

BOOST_AUTO_TEST_CASE(only_its_owner_may_connect) {
    Office office;
    struct stat status {};
    BOOST_REQUIRE(::stat(office.path.c_str(), &status) == 0);
    BOOST_TEST((status.st_mode & 07777) == 0600U);
}

BOOST_AUTO_TEST_CASE(an_answer_is_output_and_then_its_end) {
    Office office;
    Client client(office.path);
    const RequestId id = office.receive(client, "status");
    office.server->print(id, "one\ntwo\n");
    office.server->finish(id, "fine");
    office.turn();
    BOOST_TEST(client.read().value() == "oone\ntwo\n");
    BOOST_TEST(client.read().value() == "kfine");
    BOOST_TEST(client.read().value() == "");
}

BOOST_AUTO_TEST_CASE(a_failure_says_why) {
    Office office;
    Client client(office.path);
    office.server->fail(office.receive(client, "dance"), {.code = ErrorCode::refused, .reason = "no music"});
    office.turn();
    BOOST_TEST(client.read().value() == "eno music");
    BOOST_TEST(client.read().value() == "");
}

BOOST_AUTO_TEST_CASE(long_output_is_cut_and_waits_for_a_slow_reader) {
    Office office;
    Client client(office.path);
    const RequestId id = office.receive(client, "status");
    std::string text;
    for (int i = 0; text.size() < 2'000'000; ++i) text += "line " + std::to_string(i) + "\n";
    office.server->print(id, text);
    office.server->finish(id, "");
    std::string got;
    bool ended = false;
    for (int i = 0; i < 1'000 && !ended; ++i) {
        const auto message = client.read();
        if (!message) {
            office.turn();
            continue;
        }
        BOOST_REQUIRE(!message->empty());
        BOOST_TEST(message->size() <= control::kMaxReplyBytes);
        ended = message->front() == 'k';
        if (!ended) got += message->substr(1);
    }
    BOOST_TEST(ended);
    BOOST_TEST((got == text));
}

BOOST_AUTO_TEST_CASE(an_answer_may_come_much_later) {
    Office office;
    Client client(office.path);
    const RequestId id = office.receive(client, "stop");
    for (int i = 0; i < 5; ++i) office.turn();
    BOOST_TEST(!client.read().has_value());
    office.server->finish(id, "ok");
    BOOST_TEST(client.read().value() == "kok");
}

BOOST_AUTO_TEST_CASE(two_clients_get_their_own_answers) {
    Office office;
    Client one(office.path), two(office.path);
    const RequestId first = office.receive(one, "stop");
    const RequestId second = office.receive(two, "status");
    office.server->finish(second, "2");
    office.server->finish(first, "1");
    BOOST_TEST(one.read().value() == "k1");
    BOOST_TEST(two.read().value() == "k2");
}

BOOST_AUTO_TEST_CASE(a_client_that_left_is_passed_over) {
    Office office;
    RequestId id = 0;
    {
        Client client(office.path);
        id = office.receive(client, "stop");
    }
    office.turn();
    office.server->print(id, "text");
    office.server->finish(id, "ok");
    office.turn();
    Client next(office.path);
    office.server->finish(office.receive(next, "status"), "still here");
    BOOST_TEST(next.read().value() == "kstill here");
}

BOOST_AUTO_TEST_CASE(a_second_request_of_a_connection_is_not_taken) {
    Office office;
    Client client(office.path);
    office.receive(client, "stop");
    client.ask("status");
    for (int i = 0; i < 3; ++i) office.turn();
    BOOST_TEST(office.requests.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_bad_configuration_is_marked_behind_the_reason) {
    Office office;
    Client client(office.path);
    office.server->fail(office.receive(client, "reload"),
                        {.code = ErrorCode::bad_config, .reason = "a typo"});
    BOOST_TEST(client.read().value() == "ea typo" + std::string(control::kBadConfigMark));
}

BOOST_AUTO_TEST_CASE(who_asks_nothing_is_told_so_after_a_while) {
    Office office;
    Client silent(office.path), late(office.path), waiting(office.path);
    for (int i = 0; i < 3; ++i) office.turn();
    const RequestId id = office.receive(waiting, "stop");
    late.ask("status");  // not read yet when its time is over
    office.server->on_tick(monotonic_ns() + kSixSeconds);
    BOOST_TEST(silent.read().value_or("").starts_with("enothing was asked within 5s"));
    BOOST_TEST(office.requests.back().second == "status");
    BOOST_TEST(!waiting.read().has_value());
    office.turn();
    BOOST_TEST(silent.read().value() == "");
    office.server->finish(id, "ok");
    BOOST_TEST(waiting.read().value() == "kok");
    office.turn();
    BOOST_TEST(office.server->next_wake() > monotonic_ns() + kSixSeconds);
}

BOOST_AUTO_TEST_CASE(who_does_not_read_his_answer_is_let_go) {
    Office office;
    Client client(office.path);
    const RequestId id = office.receive(client, "status");
    office.server->print(id, std::string(2'000'000, 'x'));
    office.server->finish(id, "");
    BOOST_TEST(office.server->next_wake() < monotonic_ns() + kSixSeconds);
    office.server->on_tick(monotonic_ns() + kSixSeconds);
    office.turn();
    BOOST_TEST(office.server->next_wake() == ~uint64_t{0});
}

BOOST_AUTO_TEST_CASE(in_a_full_house_the_oldest_silent_one_makes_room) {
    Office office;
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 32; ++i) {
        clients.push_back(std::make_unique<Client>(office.path));
        office.turn();
    }
    const RequestId asked = office.receive(*clients[0], "stop");
    clients[1]->ask("reload");  // not read yet
    Client next(office.path);
    office.server->finish(office.receive(next, "status"), "here");
    BOOST_TEST(next.read().value() == "khere");
    BOOST_TEST(clients[2]->read().value_or("").find("another asker needs the place") != std::string::npos);
    BOOST_TEST(!clients[1]->read().has_value());
    BOOST_TEST(!clients[3]->read().has_value());
    office.server->finish(asked, "ok");
    BOOST_TEST(clients[0]->read().value() == "kok");
}

BOOST_AUTO_TEST_CASE(where_all_wait_for_an_answer_the_oldest_makes_room) {
    Office office;
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 32; ++i) {
        clients.push_back(std::make_unique<Client>(office.path));
        office.receive(*clients.back(), "drain");
    }
    Client next(office.path);
    office.server->finish(office.receive(next, "stop"), "stopped");
    BOOST_TEST(next.read().value() == "kstopped");
    BOOST_TEST(clients[0]->read().value_or("").find("goes on without one") != std::string::npos);
    BOOST_TEST(!clients[1]->read().has_value());
}

BOOST_AUTO_TEST_CASE(no_process_below_the_master_is_heard) {
    Office office;
    const test::ForkedChild child([&] { return ask_from_here(office.path); });
    office.turn_until([&] { return child.is_dead(); });
    BOOST_TEST(office.requests.empty());
    BOOST_TEST(office.server->refused() == 1U);
    const test::ForkedChild mother(
        [&] { return test::ForkedChild([&] { return ask_from_here(office.path); }).wait(); });
    office.turn_until([&] { return mother.is_dead(); });
    BOOST_TEST(office.requests.empty());
    BOOST_TEST(office.server->refused() == 2U);
}

BOOST_AUTO_TEST_CASE(who_has_ended_before_his_request_is_read_is_not_heard) {
    Office office;
    Stranger([&] { return ask_from_here(office.path, false); }).wait_end();
    for (int i = 0; i < 3; ++i) office.turn();
    BOOST_TEST(office.requests.empty());
    BOOST_TEST(office.server->refused() == 1U);
}

BOOST_AUTO_TEST_CASE(a_stranger_of_the_same_user_is_heard) {
    Office office;
    const Stranger stranger([&] { return ask_from_here(office.path); });
    office.turn_until([&] { return !office.requests.empty(); });
    BOOST_TEST(office.requests.back().second == "status");
    office.server->finish(office.requests.back().first, "");
    stranger.wait_end();
}

BOOST_AUTO_TEST_CASE(root_without_its_rights_is_not_heard, *boost::unit_test::precondition(this_is_root)) {
    Office office;
    const Stranger stranger([&] {
        if (!drop_capabilities()) return 1;
        return ask_from_here(office.path);
    });
    office.turn_until([&] { return stranger.has_ended(); });
    BOOST_TEST(office.requests.empty());
    BOOST_TEST(office.server->refused() == 1U);
}

BOOST_AUTO_TEST_CASE(a_stale_socket_is_replaced_and_its_file_ends_with_the_server) {
    Office office;
    office.server.reset();
    BOOST_TEST(!std::filesystem::exists(office.path));
    const UniqueFd stale(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    auto address = Address::parse("unix:" + office.path, false);
    BOOST_REQUIRE(::bind(stale.get(), address->get(), address->length()) == 0);
    office.server = office.open();
    Client client(office.path);
    office.server->finish(office.receive(client, "status"), "new");
    BOOST_TEST(client.read().value() == "knew");
}

BOOST_AUTO_TEST_CASE(a_file_that_is_gone_is_bound_anew_and_nobody_lost) {
    Office office;
    auto done = office.server->restore();
    BOOST_TEST((done && !*done));
    Client waiting(office.path), asking(office.path);
    asking.ask("status");
    std::filesystem::remove(office.path);
    done = office.server->restore();
    BOOST_TEST((done && *done));
    office.turn_until([&] { return !office.requests.empty(); });
    office.server->finish(office.requests.back().first, "old");
    BOOST_TEST(asking.read().value() == "kold");
    Client client(office.path);
    office.server->finish(office.receive(client, "status"), "new");
    BOOST_TEST(client.read().value() == "knew");
    office.server->finish(office.receive(waiting, "status"), "late");
    BOOST_TEST(waiting.read().value() == "klate");
    office.server.reset();
    BOOST_TEST(!std::filesystem::exists(office.path));
}

BOOST_AUTO_TEST_CASE(where_it_can_not_be_bound_anew_it_goes_on_as_it_is) {
    Office office;
    const std::string away = office.folder / "away";
    std::filesystem::rename(office.path, away);
    std::ofstream(office.path) << "precious";
    const auto done = office.server->restore();
    BOOST_REQUIRE(!done);
    BOOST_TEST(done.error().text().find("no socket") != std::string::npos);
    Client client(away);
    office.server->finish(office.receive(client, "status"), "old");
    BOOST_TEST(client.read().value() == "kold");
    BOOST_TEST(std::filesystem::file_size(office.path) == 8U);
}

// Connected, asked, answered as far as the socket took it: each goes on after an exec of the process.
BOOST_AUTO_TEST_CASE(clients_go_over_an_exec_in_any_state) {
    Office office;
    Client silent(office.path), waiting(office.path);
    const RequestId id = office.receive(waiting, "reload");
    MasterState state;
    office.server->save(state);
    BOOST_REQUIRE(state.clients.size() == 2U);
    state.control_fd = ::dup(state.control_fd);
    for (SavedClient& client : state.clients) client.fd = ::dup(client.fd);
    office.server = ControlServer::take_over(office.loop, state, office);
    office.server->finish(id, "reloaded");
    BOOST_TEST(waiting.read().value() ==
               static_cast<char>(control::ReplyKind::done) + std::string("reloaded"));
    const RequestId later = office.receive(silent, "status");
    BOOST_TEST(later != id);
    office.server->finish(later, "");
    BOOST_TEST(silent.read().has_value());
}

BOOST_AUTO_TEST_SUITE_END()
