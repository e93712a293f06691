#include "master/control_server.h"

#include <ev.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <optional>

#include "daemon/base/net/address.h"
#include "master/reexec/state.h"
#include "tests/unit/folder.h"

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
    office.server->fail(office.receive(client, "dance"), "no music");
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

BOOST_AUTO_TEST_CASE(clients_that_say_nothing_do_not_keep_others_out_for_good) {
    Office office;
    std::vector<std::unique_ptr<Client>> idle;
    for (int i = 0; i < 8; ++i) {
        for (int k = 0; k < 5; ++k) idle.push_back(std::make_unique<Client>(office.path));
        for (int k = 0; k < 6; ++k) office.turn();
    }
    idle.clear();
    for (int i = 0; i < 40; ++i) office.turn();
    office.server->on_tick();
    for (int i = 0; i < 40; ++i) office.turn();
    Client client(office.path);
    office.server->finish(office.receive(client, "status"), "here");
    BOOST_TEST(client.read().value() == "khere");
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
