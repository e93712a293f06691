// A successor may die, too, at any of its stores into slot memory, and so may the next one. Whatever they leave, a
// stream lives on whole or ends: none goes on with a hole or a byte twice. Each process here shares the descriptor
// table, as standbys do, and slot memory is read-only for it: each store is a fault, is counted and then carried out.

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include <algorithm>

#include "tests/unit/worker/slot_fixture.h"

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)

namespace tcpd::worker {

using slot::JournalWord;
using slot::Phase;

namespace {

constexpr int kDied = 1, kDone = 2;
constexpr greg_t kTrapFlag = 0x100;

char* guarded = nullptr;
size_t guarded_bytes = 0;
int stores_left = 0;

void on_store(int, siginfo_t* info, void* context) {
    const auto* at = static_cast<char*>(info->si_addr);
    if (at < guarded || at >= guarded + guarded_bytes || --stores_left == 0)
        ::_exit(at < guarded ? 3 : kDied);
    ::mprotect(guarded, guarded_bytes, PROT_READ | PROT_WRITE);
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] |= kTrapFlag;
}

void on_step(int, siginfo_t*, void* context) {
    ::mprotect(guarded, guarded_bytes, PROT_READ);
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
}

void guard(slot::SlotMemory& memory, int stores) {
    guarded = memory.base();
    guarded_bytes = memory.bytes();
    stores_left = stores;
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = on_store;
    ::sigaction(SIGSEGV, &action, nullptr);
    action.sa_sigaction = on_step;
    ::sigaction(SIGTRAP, &action, nullptr);
    ::mprotect(guarded, guarded_bytes, PROT_READ);
}

struct Deaths : SlotFixture {
    // In a process of its own that dies at the n-th store; false: it came to its end before.
    bool die_in_adoption(int stores) {
        const auto pid = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
        if (pid == 0) {
            Seated* seated = seat().release();
            guard(memory, stores);
            Recovery(seated->connections, counts, seated->listeners)
                .adopt(false, slot::Cause::crash, after_fault);
            ::_exit(kDone);
        }
        int status = 0;
        ::waitpid(pid, &status, 0);
        BOOST_REQUIRE_MESSAGE(WIFEXITED(status) && WEXITSTATUS(status) != 3,
                              "it died of something else: " << status);
        return WEXITSTATUS(status) == kDied;
    }

    // All that comes until the client is answered, or its connection is over.
    std::string read_all(int fd, bool* is_over) {
        std::string all;
        for (;;) {
            worker->turn();
            const std::string now = read_now(fd);
            *is_over = now == "EOF" || now == "RST";
            if (now.empty() || *is_over) return all;
            all += now;
        }
    }

    // The worker had "hello" in hand when it died, as `prepare` says.
    template <typename Prepare>
    void check(const char* what, Prepare&& prepare) {
        int died = 0, ended = 0;
        for (int first = 1;; ++first) {
            bool dies = true;
            for (const int second : {0, 1, 2, 5, 9, 14, 20, 27}) {
                Ends e = echo_client();
                Ends other = echo_client();
                write_all(e.client.get(), "hello");
                prepare(at(e.server));
                dies = die_in_adoption(first);
                if (second != 0) die_in_adoption(second);
                worker = seat();
                Recovery(worker->connections, counts, worker->listeners)
                    .adopt(false, slot::Cause::crash, after_fault);
                check_stream(e, what, first, second, &ended);
                write_all(other.client.get(), "well");
                bool is_over = false;
                BOOST_TEST(read_all(other.client.get(), &is_over) == "well", what << first << second);
                int next = 0;
                BOOST_REQUIRE(worker->connections.end_some(slot::CloseReason::stopped, &next, ~uint64_t{0}));
                if (!dies) break;
                ++died;
            }
            if (!dies) break;
        }
        BOOST_TEST(died > 0, what);
        BOOST_TEST_MESSAGE(what << ": " << died << " deaths, " << ended << " connections ended");
    }

    void check_stream(Ends& e, const char* what, int first, int second, int* ended) {
        bool is_over = false;
        std::string got = read_all(e.client.get(), &is_over);
        if (!is_over) {
            write_all(e.client.get(), "world");
            got += read_all(e.client.get(), &is_over);
        }
        *ended += is_over;
        const std::string whole = "helloworld";
        const bool is_right = is_over ? whole.starts_with(got) : got == whole;
        BOOST_TEST(is_right, what << ", deaths at stores " << first << " and " << second << ": \"" << got
                                  << "\"" << (is_over ? ", over" : ""));
    }

    // As much as the predecessor had received, and in which phase.
    void in_hand(Connection c, Phase phase) {
        slot::JournalPage& page = memory.journal();
        BOOST_REQUIRE(worker->connections.have_receive_chunk());
        char* buffer = worker->connections.chunks().data(static_cast<slot::ChunkId>(page.receive_chunk));
        page.buffer_at = memory.offset_of(buffer);
        page.buffer_bytes = slot::kLargeChunkBytes;
        page.handled_bytes = 0;
        page.recovery_tries = 0;
        page.last_place = 0;
        worker->connections.take_in_hand(c);
        BOOST_REQUIRE(::recv(c.fd(), buffer, 65536, 0) == 5);
        page.received_bytes = phase == Phase::receiving ? 0 : 5;
        page.word.store(JournalWord{phase, phase == Phase::receiving ? 0u : 5u}.pack());
    }

    bool after_fault = false;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(worker_recovery_deaths, Deaths)

BOOST_AUTO_TEST_CASE(of_who_goes_on_with_what_was_received) {
    check("receiving", [&](Connection c) { in_hand(c, Phase::receiving); });
    check("received", [&](Connection c) { in_hand(c, Phase::received); });
}

BOOST_AUTO_TEST_CASE(of_who_gives_a_connection_up) {
    check("too many tries", [&](Connection c) {
        in_hand(c, Phase::received);
        memory.journal().recovery_tries = 200;
        memory.journal().last_place = memory.journal().word.load();
    });
    check("a buffer that is none", [&](Connection c) {
        in_hand(c, Phase::received);
        memory.journal().buffer_at += 1;
    });
    check("a redo log that is none", [&](Connection c) {
        in_hand(c, Phase::received);
        memory.journal().redo[0] = {1, 1};
        memory.journal().word.store(JournalWord{Phase::redo, 1}.pack());
    });
    check("a record that is not to be trusted", [&](Connection c) {
        in_hand(c, Phase::received);
        c->out = uint64_t{7} << 32 | 7;
        c->out_bytes = 5;
    });
}

BOOST_AUTO_TEST_CASE(of_who_closes_what_brings_workers_down) {
    after_fault = true;
    check("quarantine", [&](Connection c) {
        in_hand(c, Phase::received);
        c->faults = 1;
        c->faulted_at = static_cast<uint32_t>(c->received);
    });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace tcpd::worker

#endif
