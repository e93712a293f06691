#include "master/listen/roster.h"

#include <boost/test/unit_test.hpp>
#include <set>

#include "daemon/slot/layout.h"

using namespace tcpd;
using namespace tcpd::master;

namespace {

conf::Listener listener(const std::string& name, conf::HandlerKind kind = conf::HandlerKind::echo,
                        size_t upstream = 0) {
    conf::Listener made;
    made.name = name;
    made.handler = {kind, upstream};
    return made;
}

conf::Config config(std::vector<conf::Listener> listeners, std::vector<std::string> upstreams = {}) {
    conf::Config made;
    made.listeners = std::move(listeners);
    for (const std::string& name : upstreams) {
        made.upstreams.emplace_back();
        made.upstreams.back().name = name;
    }
    return made;
}

struct Desk {
    conf::Config in_force;
    Roster roster;
    uint32_t generation = kFirstGeneration;
    uint32_t given_ids = 0;
    std::set<uint32_t> busy;  // ids that have connections

    explicit Desk(conf::Config first) : in_force(std::move(first)), roster(first_roster(in_force)) {
        given_ids = static_cast<uint32_t>(roster.size());
    }
    Result<Roster> next(const conf::Config& wanted) {
        return next_roster({roster, in_force, wanted, generation + 1, 1'000, given_ids,
                            [this](uint32_t id) { return busy.contains(id); }});
    }
    void change(const conf::Config& wanted) {
        auto made = next(wanted);
        BOOST_REQUIRE(made);
        roster = std::move(*made);
        for (const RosterListener& entry : roster) given_ids = std::max(given_ids, entry.id + 1);
        in_force = wanted;
        ++generation;
    }
    const RosterListener* find(uint32_t id) const {
        for (const RosterListener& entry : roster) {
            if (entry.id == id) return &entry;
        }
        return nullptr;
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(roster)

BOOST_AUTO_TEST_CASE(names_keep_their_ids_in_any_order) {
    Desk desk(config({listener("a"), listener("b")}));
    desk.change(config({listener("b"), listener("c"), listener("a")}));
    BOOST_TEST(id_of(desk.roster, 0) == 1U);
    BOOST_TEST(id_of(desk.roster, 1) == 2U);
    BOOST_TEST(id_of(desk.roster, 2) == 0U);
    BOOST_TEST(desk.find(0)->generation == 2U);
    BOOST_TEST(desk.find(0)->is_in_force());
}

BOOST_AUTO_TEST_CASE(a_removed_listener_goes_on_with_its_old_stanza) {
    Desk desk(config({listener("a"), listener("b")}));
    conf::Config wanted = config({listener("a")});
    wanted.drain.replaced = std::chrono::seconds(2);
    desk.change(wanted);
    BOOST_REQUIRE(desk.find(1) != nullptr);
    BOOST_TEST(desk.find(1)->generation == 1U);
    BOOST_TEST(desk.find(1)->index == 1U);
    BOOST_TEST(desk.find(1)->drain.begin_ns == 1'000U);
    BOOST_TEST(desk.find(1)->drain.end_ns == 2'000'001'000U);
}

BOOST_AUTO_TEST_CASE(it_is_forgotten_once_it_is_empty) {
    Desk desk(config({listener("a"), listener("b")}));
    desk.change(config({listener("a")}));
    desk.busy = {1};
    desk.change(config({listener("a")}));
    BOOST_REQUIRE(desk.find(1) != nullptr);
    BOOST_TEST(desk.find(1)->generation == 1U);
    desk.busy.clear();
    desk.change(config({listener("a")}));
    BOOST_TEST(desk.find(1) == nullptr);
}

BOOST_AUTO_TEST_CASE(no_limit_stays_no_limit) {
    Desk desk(config({listener("a")}));
    conf::Config wanted = config({listener("z")});
    wanted.drain.replaced = Duration(0);
    desk.change(wanted);
    BOOST_TEST(!desk.find(0)->is_in_force());
    BOOST_TEST(desk.find(0)->drain.end_ns == 0U);
}

BOOST_AUTO_TEST_CASE(another_handler_is_another_listener) {
    Desk desk(config({listener("a")}));
    desk.change(config({listener("a", conf::HandlerKind::discard)}));
    BOOST_TEST(id_of(desk.roster, 0) == 1U);
    BOOST_TEST(!desk.find(0)->is_in_force());
}

BOOST_AUTO_TEST_CASE(another_way_to_cut_is_another_listener_another_limit_is_not) {
    conf::Listener framed = listener("a");
    framed.framing.kind = conf::FramingKind::tcpd;
    Desk desk(config({framed}));
    framed.framing.max_frame_bytes = 5;
    desk.change(config({framed}));
    BOOST_TEST(desk.find(0)->is_in_force());
    framed.framing.kind = conf::FramingKind::line;
    desk.change(config({framed}));
    BOOST_TEST(!desk.find(0)->is_in_force());
    BOOST_TEST(id_of(desk.roster, 0) == 1U);
}

// By whatever name.
BOOST_AUTO_TEST_CASE(another_way_to_cut_replies_is_another_listener) {
    conf::Listener framed = listener("a");
    framed.framing.kind = conf::FramingKind::length;
    Desk desk(config({framed}));
    framed.replies = framed.framing;
    framed.replies->name = framed.framing.replies = "another";
    desk.change(config({framed}));
    BOOST_TEST(desk.find(0)->is_in_force());
    framed.replies->kind = conf::FramingKind::line;
    desk.change(config({framed}));
    BOOST_TEST(!desk.find(0)->is_in_force());
    BOOST_TEST(id_of(desk.roster, 0) == 1U);
    framed.replies->kind = conf::FramingKind::raw;
    desk.change(config({framed}));
    BOOST_TEST(id_of(desk.roster, 0) == 2U);
}

BOOST_AUTO_TEST_CASE(the_upstream_counts_by_its_name) {
    Desk desk(config({listener("a", conf::HandlerKind::proxy, 0)}, {"x", "y"}));
    desk.change(config({listener("a", conf::HandlerKind::proxy, 1)}, {"y", "x"}));
    BOOST_TEST(id_of(desk.roster, 0) == 0U);
    desk.change(config({listener("a", conf::HandlerKind::proxy, 0)}, {"y", "x"}));
    BOOST_TEST(id_of(desk.roster, 0) == 1U);
}

BOOST_AUTO_TEST_CASE(an_id_in_use_is_not_given_out) {
    Desk desk(config({listener("a")}));
    desk.change(config({listener("b")}));
    desk.busy = {0, 2};
    desk.change(config({listener("b"), listener("c")}));
    BOOST_TEST(id_of(desk.roster, 1) == 3U);
    BOOST_TEST(desk.find(0) != nullptr);
}

// Counters go by the id.
BOOST_AUTO_TEST_CASE(an_id_that_nobody_had_comes_first) {
    Desk desk(config({listener("a"), listener("b")}));
    desk.change(config({listener("a")}));
    desk.change(config({listener("a")}));
    BOOST_TEST(desk.find(1) == nullptr);
    desk.change(config({listener("a"), listener("c")}));
    BOOST_TEST(id_of(desk.roster, 1) == 2U);
    for (uint32_t id = 3; id < slot::kMaxListeners; ++id) {
        desk.change(config({listener("a"), listener("c" + std::to_string(id))}));
        BOOST_REQUIRE_EQUAL(id_of(desk.roster, 1), id);
    }
    desk.change(config({listener("a"), listener("z")}));
    BOOST_TEST(id_of(desk.roster, 1) == 1U);
}

BOOST_AUTO_TEST_CASE(more_than_there_are_ids_is_refused) {
    Desk desk(config({listener("a")}));
    std::vector<conf::Listener> many;
    for (int i = 0; i < 255; ++i) many.push_back(listener("l" + std::to_string(i)));
    desk.change(config(many));
    many.push_back(listener("more"));
    auto refused = desk.next(config(many));
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code == ErrorCode::exhausted));
}

BOOST_AUTO_TEST_SUITE_END()
