// Who is gone, who is slow and who only has nothing to say: by what the kernel knows, and on real sockets.

#include "worker/net/silence.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <functional>

#include "daemon/base/net/address.h"
#include "daemon/base/unique_fd.h"
#include "worker/net/socket_counts.h"

using namespace tcpd;
using namespace tcpd::worker;
using What = PeerVerdict::What;

namespace {

constexpr Patience kPatience{.gone = 1000, .slow_reader = 0}, kStrict{.gone = 1000, .slow_reader = 300};
constexpr slot::Tick kLong = kAnswerTicks;

PeerSigns in_flight(slot::Tick heard) { return {.is_known = true, .is_unanswered = true, .heard = heard}; }
PeerSigns shut(slot::Tick heard, slot::Tick sent, bool is_probed = false) {
    return {.is_known = true, .is_unanswered = is_probed, .is_shut = true, .heard = heard, .sent = sent};
}
PeerVerdict waits(slot::Tick again) { return {What::waits, again}; }

bool comes(const std::function<bool()>& holds) {
    for (int looks = 0; looks < 10'000 && !holds(); ++looks) poll(nullptr, 0, 2);
    return holds();
}

// Connected over loopback; `near` sends.
struct Pair {
    Pair() {
        const UniqueFd listener(socket(AF_INET, SOCK_STREAM, 0));
        const int small = 4096;
        setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        const Address any = *Address::parse("127.0.0.1:0", true);
        BOOST_REQUIRE(bind(listener.get(), any.get(), any.length()) == 0 && listen(listener.get(), 1) == 0);
        const Address at = *Address::of_socket(listener.get());
        near.reset(socket(AF_INET, SOCK_STREAM, 0));
        BOOST_REQUIRE(connect(near.get(), at.get(), at.length()) == 0);
        far.reset(accept(listener.get(), nullptr, nullptr));
        BOOST_REQUIRE(far);
    }
    void fill() const {
        const std::string text(65536, 'x');
        while (send(near.get(), text.data(), text.size(), MSG_DONTWAIT) > 0) {
        }
    }
    // Nothing that comes in reaches it any more.
    void vanish() const {
        sock_filter drop[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
        const sock_fprog program{1, drop};
        BOOST_REQUIRE(setsockopt(far.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0);
    }
    PeerSigns signs() const { return read_signs(near.get()); }
    UniqueFd near, far;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(worker_silence)

BOOST_AUTO_TEST_CASE(who_has_all_of_it_is_left_alone) {
    BOOST_CHECK(
        (judge({.is_known = true, .is_settled = true, .heard = 5000}, kPatience, 0).what == What::settled));
    BOOST_CHECK((judge({}, kPatience, 0).what == What::settled));
}

BOOST_AUTO_TEST_CASE(who_was_not_heard_for_the_whole_time_is_gone) {
    BOOST_CHECK((judge(in_flight(1000), kPatience, kLong).what == What::gone));
    BOOST_CHECK((judge(in_flight(999), kPatience, kLong) == waits(1)));
    BOOST_CHECK((judge(in_flight(700), kPatience, kLong) == waits(300)));
    BOOST_CHECK((judge(in_flight(10), kPatience, kLong) == waits(500)));
    BOOST_CHECK((judge(shut(1000, 1000, true), kPatience, kLong).what == What::gone));
}

// Of a probe that went out just now after a long time the answer is on its way.
BOOST_AUTO_TEST_CASE(an_answer_gets_its_time) {
    BOOST_CHECK((judge(in_flight(5000), kPatience, 0) == waits(kAnswerTicks)));
    BOOST_CHECK((judge(in_flight(5000), kPatience, kAnswerTicks - 1) == waits(1)));
    BOOST_CHECK((judge(in_flight(5000), kPatience, kAnswerTicks).what == What::gone));
}

BOOST_AUTO_TEST_CASE(a_closed_window_that_answers_is_slow_readers_alone) {
    BOOST_CHECK((judge(shut(5000, 9000), kPatience, 0) == waits(500)));
    BOOST_CHECK((judge(shut(0, 300), kStrict, 0).what == What::slow));
    BOOST_CHECK((judge(shut(0, 299), kStrict, 0) == waits(1)));
    BOOST_CHECK((judge(shut(0, 0), kStrict, 0) == waits(300)));
    BOOST_CHECK((judge(in_flight(400), kStrict, kLong) == waits(300)));
    BOOST_CHECK((judge(shut(1000, 1000, true), kStrict, kLong).what == What::gone));
}

BOOST_AUTO_TEST_CASE(looks_are_no_further_apart_than_a_record_can_tell) {
    BOOST_TEST((Patience{.gone = ~slot::Tick{0}, .slow_reader = 0}.period()) < 1U << 15);
    BOOST_TEST((Patience{.gone = 1, .slow_reader = 0}.period()) == 1U);
}

BOOST_AUTO_TEST_CASE(the_kernel_tells_them_apart) {
    const Pair pair;
    BOOST_TEST(pair.signs().is_settled);
    pair.fill();
    BOOST_REQUIRE(comes([&] {
        const PeerSigns signs = pair.signs();
        return signs.is_known && !signs.is_settled && signs.is_shut && !signs.is_unanswered;
    }));
    // Probes are answered, long after the last byte.
    BOOST_REQUIRE(comes([&] {
        const PeerSigns signs = pair.signs();
        return signs.sent > 20 && signs.heard < 10;
    }));
    pair.vanish();
    BOOST_REQUIRE(comes([&] { return pair.signs().is_unanswered; }));
    BOOST_REQUIRE(comes([&] { return pair.signs().heard > 30; }));
    BOOST_TEST(pair.signs().is_unanswered);
    BOOST_TEST(!read_signs(-1).is_known);
}

BOOST_AUTO_TEST_CASE(bytes_that_nobody_acknowledges) {
    const Pair pair;
    pair.vanish();
    BOOST_REQUIRE(send(pair.near.get(), "x", 1, 0) == 1);
    const PeerSigns signs = pair.signs();
    BOOST_TEST((signs.is_unanswered && !signs.is_settled && !signs.is_shut));
}

BOOST_AUTO_TEST_SUITE_END()
