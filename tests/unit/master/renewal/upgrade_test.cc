#include "master/renewal/upgrade.h"

#include <boost/test/unit_test.hpp>
#include <vector>

using namespace tcpd::master;
using State = UpgradeState;
using Act = UpgradeAct;

namespace {

enum class Event { begin, checked, probed, rolled_out, execute_failed, crew_free, abandon };
constexpr Event kEvents[] = {Event::begin,          Event::checked,   Event::probed, Event::rolled_out,
                             Event::execute_failed, Event::crew_free, Event::abandon};
constexpr State kStates[] = {State::idle,         State::checking,  State::trying,    State::rolling_out,
                             State::trying_again, State::executing, State::going_back};
const std::string kFine, kWhy = "it hung", kWhyBack = "it could not follow";

UpgradeAction happens(Upgrade& upgrade, Event event, const std::string& reason) {
    switch (event) {
        case Event::begin: return upgrade.begin();
        case Event::checked: return upgrade.on_checked(reason);
        case Event::probed: return upgrade.on_probed(reason);
        case Event::rolled_out: return upgrade.on_rolled_out(reason);
        case Event::execute_failed: return upgrade.on_execute_failed(reason);
        case Event::crew_free: return upgrade.on_crew_free();
        case Event::abandon: return upgrade.abandon(reason);
    }
    return {};
}

struct Row {
    State from;
    Event event;
    std::string reason;
    UpgradeAction action;
    State to;
    Act first;  // what `to` begins with once the crew is free
};

const std::vector<Row> kTable = {
    {State::idle, Event::begin, kFine, {Act::check, {}}, State::checking, Act::none},
    {State::checking, Event::checked, kFine, {}, State::trying, Act::probe},
    {State::checking, Event::checked, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::trying, Event::probed, kFine, {}, State::rolling_out, Act::roll_out},
    {State::trying, Event::probed, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::rolling_out, Event::rolled_out, kFine, {}, State::trying_again, Act::probe},
    {State::rolling_out, Event::rolled_out, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::trying_again, Event::probed, kFine, {}, State::executing, Act::execute},
    {State::trying_again, Event::probed, kWhy, {Act::turned_back, kWhy}, State::going_back, Act::roll_out},
    {State::executing,
     Event::execute_failed,
     kWhy,
     {Act::turned_back, kWhy},
     State::going_back,
     Act::roll_out},
    {State::going_back, Event::rolled_out, kFine, {Act::finished, kWhyBack}, State::idle, Act::none},
    {State::going_back, Event::rolled_out, kWhy, {Act::finished, kWhyBack}, State::idle, Act::none},
    {State::checking, Event::abandon, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::trying, Event::abandon, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::rolling_out, Event::abandon, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::trying_again, Event::abandon, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::executing, Event::abandon, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
    {State::going_back, Event::abandon, kWhy, {Act::finished, kWhy}, State::idle, Act::none},
};

// Just entered: but for `checking`, what it begins with has yet to come.
Upgrade entered(State state) {
    Upgrade upgrade;
    const std::pair<Event, std::string> way[] = {{Event::begin, kFine},  {Event::checked, kFine},
                                                 {Event::probed, kFine}, {Event::rolled_out, kFine},
                                                 {Event::probed, kFine}, {Event::execute_failed, kWhyBack}};
    for (const auto& [event, reason] : way) {
        if (upgrade.state() == state) break;
        (void)upgrade.on_crew_free();
        (void)happens(upgrade, event, reason);
    }
    BOOST_REQUIRE((upgrade.state() == state));
    return upgrade;
}

Upgrade begun(State state) {
    Upgrade upgrade = entered(state);
    (void)upgrade.on_crew_free();
    return upgrade;
}

bool is_in_table(State state, Event event) {
    for (const Row& row : kTable) {
        if (row.from == state && row.event == event) return true;
    }
    return false;
}

void check_changes_nothing(Upgrade upgrade, Event event) {
    const State before = upgrade.state();
    for (const std::string& reason : {kFine, kWhy}) {
        BOOST_TEST_CONTEXT("state " << int(before) << ", event " << int(event) << ", reason " << reason) {
            BOOST_TEST((happens(upgrade, event, reason) == UpgradeAction{}));
            BOOST_TEST((upgrade.state() == before));
        }
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(upgrade)

BOOST_AUTO_TEST_CASE(each_row) {
    for (size_t i = 0; i < kTable.size(); ++i) {
        const Row& row = kTable[i];
        Upgrade upgrade = begun(row.from);
        BOOST_TEST_CONTEXT("row " << i) {
            BOOST_TEST((happens(upgrade, row.event, row.reason) == row.action));
            BOOST_TEST((upgrade.state() == row.to));
            BOOST_TEST((upgrade.on_crew_free() == UpgradeAction{row.first, {}}));
            BOOST_TEST((upgrade.state() == row.to));
        }
    }
}

BOOST_AUTO_TEST_CASE(no_other_event_changes_anything) {
    for (const State state : kStates) {
        for (const Event event : kEvents) {
            if (!is_in_table(state, event)) check_changes_nothing(begun(state), event);
        }
    }
}

BOOST_AUTO_TEST_CASE(nothing_ends_a_state_that_waits_for_the_crew_but_the_end_of_all) {
    for (const State state : kStates) {
        if (state == State::idle || state == State::checking) continue;
        for (const Event event : kEvents) {
            if (event != Event::crew_free && event != Event::abandon)
                check_changes_nothing(entered(state), event);
        }
        Upgrade upgrade = entered(state);
        BOOST_TEST((upgrade.abandon(kWhy) == UpgradeAction{Act::finished, kWhy}));
        BOOST_TEST((upgrade.on_crew_free() == UpgradeAction{}));
    }
}

BOOST_AUTO_TEST_CASE(the_next_one_knows_nothing_of_a_way_back) {
    Upgrade upgrade = begun(State::going_back);
    BOOST_TEST((upgrade.on_rolled_out(kFine) == UpgradeAction{Act::finished, kWhyBack}));
    BOOST_TEST((upgrade.begin() == UpgradeAction{Act::check, {}}));
    for (const Event event : {Event::checked, Event::probed, Event::rolled_out}) {
        BOOST_TEST((happens(upgrade, event, kFine) == UpgradeAction{}));
        (void)upgrade.on_crew_free();
    }
    BOOST_TEST((upgrade.on_probed(kWhy) == UpgradeAction{Act::turned_back, kWhy}));
    (void)upgrade.on_crew_free();
    BOOST_TEST((upgrade.on_rolled_out(kFine) == UpgradeAction{Act::finished, kWhy}));
}

BOOST_AUTO_TEST_SUITE_END()
